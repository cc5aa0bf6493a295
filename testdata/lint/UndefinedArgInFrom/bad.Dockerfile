ARG MY_ARCH=amd64
ARG TAG
FROM --platform=linux/${MYARCH} alpine:${TAG:-1}${version}
FROM --platform=$BULIDPLATFORM alpine
FROM alpine
ARG LATE=1
FROM alpine:$LATE
