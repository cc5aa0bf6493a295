FROM alpine AS a
COPY other.txt /
COPY --from=a ignored.txt /
ADD https://example.org/ignored.txt /
COPY <<ignored.txt /
ignored.txt
FROM scratch
ARG TARGETOS
COPY ignored${TARGETOS:+_}.txt /
