ARG TAG
FROM --platform=$BUILDPLATFORM alpine:${TAG:-3}
FROM --platform=linux/$TARGETARCH alpine
