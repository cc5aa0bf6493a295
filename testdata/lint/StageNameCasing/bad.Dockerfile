FROM alpine AS BuildBase
