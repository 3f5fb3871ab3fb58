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
  cp "$k8s/nats-server" "$folder"
  binaries "$root" "$folder"
  image packaged-gateway "$folder" "$gateway_image"
  [[ ! -e $folder/push-operator ]] || image packaged-operator "$folder" "$operator_image"
  image packaged-nats "$folder" "$nats_image"
  rm -rf "$folder"
  echo "built and loaded the images in $((SECONDS - start)) s" >&2
}

# Static binaries of a source tree, without line tables: `binaries SOURCE FOLDER`.
binaries() {
  local source=$1 folder=$2 target profile=${PUSHCLUSTER_PROFILE:-dev} everything built binary
  target=$(uname -m)-unknown-linux-gnu
  everything=${CARGO_TARGET_DIR:-$root/target}
  built=$everything/$target/${profile/#dev/debug}
  local crates=(-p gateway)
  [[ ! -d $source/operator ]] || crates+=(-p operator)
  # The target is named so that RUSTFLAGS do not reach macros and build
  # scripts, which cannot be static.
  (cd "$source" && RUSTFLAGS="-C target-feature=+crt-static" \
    cargo build --locked --config "$here/images.toml" --profile "$profile" "${crates[@]}" \
      --target "$target" --target-dir "$everything")
  for binary in push-gateway push-operator; do
    [[ ! -x $built/$binary ]] || strip --strip-debug -o "$folder/$binary" "$built/$binary"
  done
}

# What the images and the chart are made of.
made_of=(charts/pushcluster operator gateway Dockerfile Cargo.lock)

# The last commit whose images or chart are others than the work tree's.
previous_commit() {
  local last
  git -C "$root" rev-parse --git-dir >/dev/null 2>&1 || die "the previous version is not here: this is no git clone"
  if ! git -C "$root" diff --quiet HEAD -- "${made_of[@]}"; then
    git -C "$root" rev-parse HEAD
    return
  fi
  last=$(git -C "$root" log -1 --format=%H -- "${made_of[@]}")
  git -C "$root" rev-parse --quiet --verify "$last^" ||
    die "the previous version is not here: get the history with git fetch --unshallow"
}

# Its images, loaded as VERSION-previous; prints where its chart is. Binaries
# are kept by commit; its dependencies are mostly those of this work tree, and
# built already.
previous() {
  need_ours
  local commit folder profile=${PUSHCLUSTER_PROFILE:-dev} start=$SECONDS
  commit=$(previous_commit) || exit 1
  folder=$cache/previous/$commit
  mkdir -p "$folder/$profile"
  # Those that nobody has asked for in a week.
  touch "$folder"
  find "$cache/previous" -mindepth 1 -maxdepth 1 -mtime +7 -exec rm -rf {} +
  if [[ ! -e $folder/source/charts ]]; then
    rm -rf "$folder/source.new"
    mkdir "$folder/source.new"
    git -C "$root" archive "$commit" | tar -x -C "$folder/source.new"
    # With the version of this work tree, cargo would take its crates for these.
    sed -i '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/version = "\1-previous"/' \
      "$folder/source.new/Cargo.toml"
    (cd "$folder/source.new" && cargo update --quiet --workspace --offline)
    mv "$folder/source.new" "$folder/source"
  fi
  if [[ ! -e $folder/$profile/ca-certificates.crt ]]; then
    binaries "$folder/source" "$folder/$profile" >&2
    cp /etc/ssl/certs/ca-certificates.crt "$folder/$profile"
  fi
  if ! is_loaded "$commit"; then
    image packaged-gateway "$folder/$profile" "$gateway_image-previous"
    image packaged-operator "$folder/$profile" "$operator_image-previous"
    echo "$commit" >"$state/previous"
    echo "built and loaded the images of $commit in $((SECONDS - start)) s" >&2
  fi
  echo "$folder/source/charts/pushcluster"
}

# Whether the images of a commit are in the cluster.
is_loaded() { [[ -f $state/previous && $(<"$state/previous") == "$1" ]]; }

# Gives a loaded image another name, too: `tag NAME OTHER`.
tag() {
  [[ $# == 2 ]] || die "tag NAME OTHER"
  need_ours
  in_node ctr -n k8s.io images tag --force "$1" "$2" >/dev/null
}
