FROM alpine
ENV key value of it
LABEL key value
