FROM alpine
ARG PUBLIC_KEY
ENV KEYBOARD=a monkey=b TOKEN_FILE=/run/secrets/token KEY_VERSION=1
ARG public_token
