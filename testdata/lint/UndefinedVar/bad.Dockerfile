FROM alpine AS a
COPY $foo $foo .
ARG foo=bar
ARG DIR_ASSETS=assets/
ENV PATH=$PAHT:/tmp/bin
COPY \
  $DIR_ASSET .
ENV NEW=1 OTHER=$NEW
LABEL a=${b:-c}
RUN --mount=type=cache,target=$cache true
COPY <<EOF /x
$nothing ${foo}
EOF
EXPOSE $PORT
VOLUME $V
USER $U
WORKDIR /$W
STOPSIGNAL $S
ONBUILD USER $later
