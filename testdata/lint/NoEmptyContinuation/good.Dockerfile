FROM alpine
COPY a \
  # why
  b
