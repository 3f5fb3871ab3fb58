# Images for the cluster: static binaries in images made from nothing, by the
# `packaged-…` targets of the project's own Dockerfile; read by `cluster`.
# shellcheck shell=bash

# The names that the operator and the chart use unless told otherwise: so the
# tests install what users install.
version=$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' "$root/Cargo.toml")
gateway_image=ghcr.io/pushcluster/gateway:$version
operator_image=ghcr.io/pushcluster/operator:$version
nats_image=ghcr.io/pushcluster/nats-server:$nats

# Builds one image into a file: `archive DOCKERFILE TARGET FOLDER NAME FILE`.
# Its storage is thrown away, so that nothing of the machine's is touched.
archive() {
  local dockerfile=$1 target=$2 folder=$3 name=$4 file=$5 store
  store=$(mktemp -d)
  local buildah=(buildah --storage-driver vfs --root "$store/root" --runroot "$store/run")
  # The daemons of other container tools are not asked, and no shell runs.
  "${buildah[@]}" bud --isolation chroot --quiet --timestamp 0 \
    ${target:+--target "$target"} -f "$dockerfile" -t "$name" "$folder" >/dev/null &&
    "${buildah[@]}" push --quiet "$name" "oci-archive:$file.new:$name" &&
    mv "$file.new" "$file"
  local status=$?
  rm -rf "$store"
  return $status
}

# Builds a target of the Dockerfile from a folder that holds its binary, and
# loads it into the cluster: `image TARGET FOLDER NAME`.
image() {
  need_ours
  local file
  file=$(mktemp --suffix=.tar)
  archive "$root/Dockerfile" "$1" "$2" "$3" "$file" && load "$file"
  local status=$?
  rm -f "$file"
  return $status
}

# Loads an image's file.
load() { in_node ctr -n k8s.io images import - <"$1" >/dev/null; }

# All that the tests need, under the names that the chart uses.
images() {
  if foreign; then
    # Its nodes pull what the chart names; the tests say so to the chart.
    echo "an own cluster: it must be able to pull the images; see docs/testing-kubernetes.md" >&2
    return
  fi
  need_ours
  local start=$SECONDS folder=$state/images
  mkdir -p "$folder"
  cp /etc/ssl/certs/ca-certificates.crt "$folder"
  cp "$cache/nats-server-$nats/nats-server" "$folder"
  binaries "$folder"
  image packaged-gateway "$folder" "$gateway_image"
  [[ ! -e $folder/push-operator ]] || image packaged-operator "$folder" "$operator_image"
  image packaged-nats "$folder" "$nats_image"
  rm -rf "$folder"
  echo "built and loaded the images in $((SECONDS - start)) s" >&2
}

# Static binaries of this work tree, without line tables.
binaries() {
  local target profile=${PUSHCLUSTER_PROFILE:-dev} built binary
  target=$(uname -m)-unknown-linux-gnu
  built=${CARGO_TARGET_DIR:-$root/target}/$target/${profile/#dev/debug}
  local crates=(-p gateway)
  [[ ! -d $root/operator ]] || crates+=(-p operator)
  # The target is named so that RUSTFLAGS do not reach macros and build
  # scripts, which cannot be static.
  (cd "$root" && RUSTFLAGS="-C target-feature=+crt-static" \
    cargo build --locked --profile "$profile" "${crates[@]}" --target "$target")
  for binary in push-gateway push-operator; do
    [[ ! -x $built/$binary ]] || strip --strip-debug -o "$1/$binary" "$built/$binary"
  done
}
