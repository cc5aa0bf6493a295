FROM alpine
ENV key=value
LABEL key="value of it"
