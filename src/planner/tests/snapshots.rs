//! Whole graphs of Dockerfiles such as people write.

use super::*;

macro_rules! snapshots {
    ($($name:ident: $file:expr;)*) => {
        $(
            #[test]
            fn $name() {
                let graph = printed(&project($file).graph());
                insta::with_settings!({ omit_expression => true }, {
                    insta::assert_snapshot!(graph);
                });
            }
        )*
    };
}

snapshots! {
    a_python_application: "
        FROM python:3.12-slim
        WORKDIR /app
        RUN apt-get update && \\
            apt-get install -y libpq5
        COPY requirements.txt .
        RUN --mount=type=cache,target=/root/.cache/pip pip install -r requirements.txt
        COPY . .
        USER 1000:1000
        EXPOSE 8000
        CMD [\"gunicorn\", \"app:app\"]
    ";
    a_static_binary: "
        FROM rust:1 AS build
        WORKDIR /src
        COPY . .
        RUN cargo build --release
        FROM scratch
        COPY --from=build /src/target/release/app /app
        ENTRYPOINT [\"/app\"]
    ";
    a_cross_compilation: "
        FROM --platform=$BUILDPLATFORM golang:1.22 AS build
        ARG TARGETOS TARGETARCH
        WORKDIR /src
        RUN --mount=target=. --mount=type=cache,target=/root/.cache/go-build \\
            GOOS=$TARGETOS GOARCH=$TARGETARCH go build -o /out/app .
        FROM alpine
        COPY --link --from=build /out/app /bin/
    ";
    a_web_server: "
        FROM nginx:alpine
        COPY --chown=nginx:nginx --chmod=u=rwX,go=rX site /usr/share/nginx/html
        COPY <<EOF /etc/nginx/conf.d/app.conf
        listen 80;
        EOF
        HEALTHCHECK --interval=5s --timeout=3s CMD wget -q localhost || exit 1
        STOPSIGNAL SIGQUIT
    ";
    a_node_application: "
        ARG NODE=20
        FROM node:${NODE} AS base
        WORKDIR /app
        FROM base AS deps
        COPY package.json package-lock.json ./
        RUN --mount=type=secret,id=npmrc,target=/root/.npmrc npm ci
        FROM base AS test
        COPY --from=deps /app/node_modules node_modules
        RUN npm test
        FROM base
        ENV NODE_ENV=production
        COPY --from=deps /app/node_modules node_modules
        COPY src src
        CMD node src
    ";
    scripts_in_heredocs: "
        FROM debian
        SHELL [\"/bin/bash\", \"-o\", \"pipefail\", \"-c\"]
        RUN <<EOF
        set -e
        apt-get update
        EOF
        RUN <<PY
        #!/usr/bin/env python3
        print(1)
        PY
        RUN cat <<A > /a && cat <<B > /b
        a
        A
        b
        B
    ";
    private_repositories: "
        FROM alpine/git AS source
        RUN --mount=type=ssh,required git clone git@h:r.git /r
        ADD --keep-git-dir git@h:r.git#v1 /r2
        ADD https://example.com/tool.tar.gz /tmp/
        FROM scratch
        COPY --parents --exclude=*.md --from=source /r/./src/**/*.c /
    ";
    everything_that_only_changes_the_config: "
        FROM debian
        ENV A=1 B=\"two words\"
        LABEL version=\"$A\"
        ARG C
        EXPOSE $A 90-91/udp
        VOLUME [\"/data\"]
        USER nobody
        SHELL [\"/bin/bash\", \"-c\"]
        ENTRYPOINT exec top
        CMD -b
        STOPSIGNAL 9
        HEALTHCHECK NONE
        ONBUILD COPY . /app
        MAINTAINER me
    ";
    mounts_of_every_kind: "
        FROM debian AS tools
        RUN tools
        FROM debian
        RUN --mount=type=bind,from=tools,source=/opt,target=/opt \\
            --mount=type=cache,target=/c,sharing=locked,mode=0700 \\
            --mount=type=tmpfs,target=/t,size=1m \\
            --mount=type=secret,id=s,env=S \\
            --mount=type=ssh \\
            --network=none --security=insecure build
    ";
    images_as_sources: "
        FROM alpine
        COPY --from=busybox:1.36 /bin/busybox /bin/
        RUN --mount=type=bind,from=busybox:1.36,target=/busy x
    ";
}
