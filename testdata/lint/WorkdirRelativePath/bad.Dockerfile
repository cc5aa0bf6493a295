FROM alpine AS a
WORKDIR app/
WORKDIR more
FROM alpine
ARG D=rel
WORKDIR $D
