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

# Debian's ffmpeg comes with 600 MB of libraries for what is never asked of it. This one has what is, and nothing else;
# `rtms-recorder check` looks whether something is missing.
FROM debian:${DEBIAN}-slim AS ffmpeg
RUN sed -i 's/^Types: deb$/Types: deb deb-src/' /etc/apt/sources.list.d/debian.sources \
    && apt-get update \
    && apt-get install -y --no-install-recommends dpkg-dev gcc libc6-dev make nasm pkg-config libx264-dev zlib1g-dev
WORKDIR /src
RUN apt-get source ffmpeg \
    && cd ffmpeg-*/ \
    && ./configure --disable-everything --disable-autodetect --disable-network --disable-doc --disable-debug \
        --disable-ffplay --disable-ffprobe --enable-gpl --enable-libx264 --enable-zlib \
        --enable-protocol=file,pipe --enable-indev=lavfi --enable-demuxer=matroska,mov,pcm_s16le \
        --enable-muxer=mp4,ipod,flv,h264,framecrc,image2pipe \
        --enable-decoder=h264,mjpeg,png,aac,pcm_s16le,rawvideo,wrapped_avframe \
        --enable-encoder=libx264,aac,mjpeg,pcm_s16le,rawvideo,wrapped_avframe \
        --enable-parser=h264,mjpeg,png,aac \
        --enable-bsf=setts,filter_units,h264_metadata,h264_mp4toannexb,aac_adtstoasc,extract_extradata \
        --enable-filter=scale,pad,color,select,setsar,format,setparams,null,anull,trim,atrim,aformat,aresample \
    && make -j"$(nproc)" \
    && install -s ffmpeg /usr/local/bin/ffmpeg

FROM debian:${DEBIAN}-slim
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates libx264-164 \
    && rm -rf /var/lib/apt/lists/*
COPY --from=ffmpeg /usr/local/bin/ffmpeg /usr/local/bin/
COPY --from=build /usr/local/bin/rtms-recorder /usr/local/bin/
RUN useradd --uid 10001 --user-group --no-create-home --home-dir /var/lib/rtms-recorder --shell /usr/sbin/nologin rtms-recorder \
    && install -d -m 0700 -o rtms-recorder -g rtms-recorder /var/lib/rtms-recorder /var/lib/rtms-recorder/spool \
    && rtms-recorder --version \
    && ffmpeg -hide_banner -version
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
