FROM alpine AS a
ARG F=secret.env
COPY ./ignored.txt other.txt /
ADD /ignored.txt /
COPY ["x/../ignored.txt", "/"]
