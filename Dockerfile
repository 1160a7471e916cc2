# The recorder with an ffmpeg beside it, for a user without rights. Build it with the commit, which is not in the context:
#   docker build --build-arg COMMIT=$(git rev-parse HEAD) -t rtms-recorder .
# Debian's release decides about ffmpeg: the tests run with that of bookworm (5.1).
ARG DEBIAN=bookworm

FROM rust:1-${DEBIAN} AS build
WORKDIR /src
# `ring` needs a C compiler, which this image has.
COPY . .
ARG COMMIT=
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/src/target \
    RTMS_RECORDER_COMMIT=$COMMIT cargo build --release --locked --bin rtms-recorder \
    && cp target/release/rtms-recorder /usr/local/bin/ \
    && strip --strip-debug /usr/local/bin/rtms-recorder

# ffmpeg and the libraries that it is linked with. What these would load besides (drivers for screens and sound cards) is two
# thirds of what apt-get installs, and not needed.
FROM debian:${DEBIAN}-slim AS ffmpeg
RUN apt-get update \
    && apt-get install -y --no-install-recommends ffmpeg ca-certificates \
    && mkdir -p /out/usr/bin /out/etc/ssl/certs \
    && cp /etc/ssl/certs/ca-certificates.crt /out/etc/ssl/certs/ \
    && cp /usr/bin/ffmpeg /out/usr/bin/ \
    && ldd /usr/bin/ffmpeg | awk '$3 ~ /^\// { print $3 }' \
    | while read -r library; do \
        mkdir -p "/out/usr/lib/ffmpeg" && cp -L "$library" /out/usr/lib/ffmpeg/; \
    done \
    && rm -rf /var/lib/apt/lists/*

FROM debian:${DEBIAN}-slim
COPY --from=ffmpeg /out/ /
COPY --from=build /usr/local/bin/rtms-recorder /usr/local/bin/
RUN echo /usr/lib/ffmpeg > /etc/ld.so.conf.d/zz-ffmpeg.conf && ldconfig \
    && useradd --system --uid 10001 --user-group --no-create-home --home-dir /var/lib/rtms-recorder --shell /usr/sbin/nologin rtms-recorder \
    && install -d -m 0700 -o rtms-recorder -g rtms-recorder /var/lib/rtms-recorder /var/lib/rtms-recorder/spool \
    && rtms-recorder --version && ffmpeg -hide_banner -version | head -n 1
USER 10001:10001
WORKDIR /var/lib/rtms-recorder
ENV SPOOL_DIR=/var/lib/rtms-recorder/spool LOG_FORMAT=json
# Journals and work in progress: it has to outlive the container.
VOLUME /var/lib/rtms-recorder/spool
EXPOSE 3000
# Streams that run are handed over to the next container; see SHUTDOWN_GRACE for how long that may take.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=30s --retries=3 \
    CMD ["bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/${PORT:-3000} && printf 'GET /healthz HTTP/1.0\\r\\n\\r\\n' >&3 && grep -q '^HTTP/1.[01] 200' <&3"]
ENTRYPOINT ["rtms-recorder"]
CMD ["serve"]
