FROM alpine AS a
ARG D=/app
WORKDIR $D
FROM a
WORKDIR sub
