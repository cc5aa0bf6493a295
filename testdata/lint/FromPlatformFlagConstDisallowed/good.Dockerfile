FROM --platform=linux/amd64 alpine AS build-amd64
FROM --platform=linux/amd64 alpine AS linux
FROM --platform=$BUILDPLATFORM alpine
