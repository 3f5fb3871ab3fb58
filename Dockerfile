# The images of pushcluster: each one static binary and the certificates of
# public authorities, nothing else. See docs/image.md.
#
#   docker build --target gateway -t pushcluster/gateway .
#   docker build --target operator -t pushcluster/operator .
#   docker build --target nats -t pushcluster/nats-server .
#
# `--target packaged-gateway` (`-operator`, `-nats`) makes the same image around
# a binary that is already built, from the folder that holds it; nothing is
# compiled then.

ARG RUST_IMAGE=docker.io/library/rust:1.95-bookworm
ARG GO_IMAGE=docker.io/library/golang:1.26-bookworm

FROM ${RUST_IMAGE} AS build
WORKDIR /src
# The C library is linked in, so that the image needs none.
ENV RUSTFLAGS="-C target-feature=+crt-static"
COPY . .

FROM build AS build-gateway
RUN cargo build --release --locked -p gateway --target "$(uname -m)-unknown-linux-gnu" \
 && strip --strip-debug -o /push-gateway "target/$(uname -m)-unknown-linux-gnu/release/push-gateway"

FROM build AS build-operator
RUN cargo build --release --locked -p operator --target "$(uname -m)-unknown-linux-gnu" \
 && strip --strip-debug -o /push-operator "target/$(uname -m)-unknown-linux-gnu/release/push-operator"

FROM ${GO_IMAGE} AS build-nats
# The version that tests/cluster/go.mod names and the operator starts.
ARG NATS_VERSION=2.15.2
RUN CGO_ENABLED=0 go install -trimpath -ldflags "-s -w" "github.com/nats-io/nats-server/v2@v${NATS_VERSION}"

FROM scratch AS base
# Nobody: no name in an /etc/passwd that isn't there, a number that Kubernetes
# can check (`runAsNonRoot`).
USER 65532:65532
LABEL org.opencontainers.image.licenses="Apache-2.0"

FROM base AS base-gateway
LABEL org.opencontainers.image.title="pushcluster gateway"
EXPOSE 8080 8081 8082 9090
ENTRYPOINT ["/push-gateway"]

FROM base AS base-operator
LABEL org.opencontainers.image.title="pushcluster operator"
EXPOSE 8080
ENTRYPOINT ["/push-operator"]

FROM base AS base-nats
LABEL org.opencontainers.image.title="NATS server, for pushcluster"
EXPOSE 4222 6222 8222
ENTRYPOINT ["/nats-server"]

FROM base-operator AS packaged-operator
COPY push-operator /push-operator
COPY ca-certificates.crt /etc/ssl/certs/ca-certificates.crt

FROM base-nats AS packaged-nats
COPY nats-server /nats-server
COPY ca-certificates.crt /etc/ssl/certs/ca-certificates.crt

FROM base-gateway AS packaged-gateway
COPY push-gateway /push-gateway
COPY ca-certificates.crt /etc/ssl/certs/ca-certificates.crt

FROM base-operator AS operator
COPY --from=build-operator /push-operator /push-operator
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt

FROM base-nats AS nats
COPY --from=build-nats /go/bin/nats-server /nats-server
COPY --from=build-nats /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt

FROM base-gateway AS gateway
COPY --from=build-gateway /push-gateway /push-gateway
# Keys of token issuers (`auth.jwt.jwksUrl`) are fetched over https.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
