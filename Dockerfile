# The gateway as a container image: one static binary and the certificates of
# public authorities, nothing else. See docs/image.md.
#
#   docker build -t pushcluster/gateway .
#
# `--target packaged` makes the same image around a binary that is already
# built, from the folder that holds it; nothing is compiled then.

ARG RUST_IMAGE=docker.io/library/rust:1.95-bookworm

FROM ${RUST_IMAGE} AS build
WORKDIR /src
# The C library is linked in, so that the image needs none.
ENV RUSTFLAGS="-C target-feature=+crt-static"
COPY . .
RUN cargo build --release --locked -p gateway --target "$(uname -m)-unknown-linux-gnu" \
 && cp "target/$(uname -m)-unknown-linux-gnu/release/push-gateway" /push-gateway

FROM scratch AS packaged
LABEL org.opencontainers.image.title="pushcluster gateway" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY push-gateway /push-gateway
COPY ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
USER 65532:65532
EXPOSE 8080 8081 9090
ENTRYPOINT ["/push-gateway"]

FROM scratch AS gateway
LABEL org.opencontainers.image.title="pushcluster gateway" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /push-gateway /push-gateway
# Keys of token issuers (`auth.jwt.jwksUrl`) are fetched over https.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
# Nobody: no name in an /etc/passwd that isn't there, a number that Kubernetes
# can check (`runAsNonRoot`).
USER 65532:65532
EXPOSE 8080 8081 9090
ENTRYPOINT ["/push-gateway"]
