FROM alpine AS b
FROM alpine AS c
FROM alpine AS B
