FROM alpine AS a
ARG foo
ARG bar=$foo baz=$bar
ENV P=$PATH B=$BASE_VAR
COPY $foo $P .
RUN echo $anything
CMD $anything
COPY <<'EOF' /x
$anything
EOF
ENV '$anything'=\$anything
FROM a
COPY $baz .
FROM unknown
USER $perhaps
FROM scratch
ENV A=$PATH
