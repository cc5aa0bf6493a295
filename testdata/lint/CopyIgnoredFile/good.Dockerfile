FROM alpine AS a
COPY other.txt /
COPY --from=a ignored.txt /
ADD https://example.org/ignored.txt /
COPY <<ignored.txt /
ignored.txt
