FROM alpine AS build-base
