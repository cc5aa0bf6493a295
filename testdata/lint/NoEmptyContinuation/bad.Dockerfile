FROM alpine
COPY a \

  b \
  c
RUN <<EOF \

  cat

EOF
