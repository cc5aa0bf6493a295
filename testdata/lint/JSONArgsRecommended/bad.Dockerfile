FROM alpine
ENTRYPOINT app
FROM alpine
CMD app \
  --flag
