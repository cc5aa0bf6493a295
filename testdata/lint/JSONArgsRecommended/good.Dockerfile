FROM alpine AS a
SHELL ["/bin/bash", "-c"]
CMD app
FROM a
ENTRYPOINT app
FROM alpine
CMD ["app"]
HEALTHCHECK CMD app
RUN app
FROM shelled
CMD app
