# Builds what the cluster consists of; read by `cluster`.
# shellcheck shell=bash

# Debian packages, and a file or command by which each is known to be there.
packages=(
  containerd:containerd runc:runc containernetworking-plugins:/usr/lib/cni/bridge nftables:nft
  iproute2:ip buildah:buildah openssl:openssl gcc:gcc libc6-dev:/usr/include/stdlib.h
  binutils:strip ca-certificates:/etc/ssl/certs/ca-certificates.crt
)

# Go's second number, from the line `go 1.N.0`.
go_minor=$(sed -n 's/^go 1\.\([0-9]*\).*/\1/p' "$here/go.mod")

# The packages that are not there.
absent() {
  local entry
  for entry in "${packages[@]}"; do
    [[ -e ${entry#*:} ]] || command -v "${entry#*:}" >/dev/null || echo "${entry%%:*}"
  done
}

built() { [[ -x $k8s/kubectl && -x $k8s/helm && -x $k8s/nats-server ]]; }

# Prints in one line why there can be no cluster, and fails; or succeeds.
missing() {
  foreign && return
  local why="" packages_missing
  packages_missing=$(absent | tr '\n' ' ')
  if [[ $(uname -s) != Linux ]]; then
    why="not Linux"
  elif [[ $(id -u) != 0 ]]; then
    why="not root"
  elif ! unshare --net --mount --pid --fork --mount-proc true 2>/dev/null; then
    why="no right to make namespaces (CAP_SYS_ADMIN)"
  elif [[ ! -w /sys/fs/cgroup ]]; then
    why="/sys/fs/cgroup is read-only"
  elif [[ -n $packages_missing ]] && ! command -v apt-get >/dev/null; then
    why="these Debian packages: $packages_missing"
  elif ! built && ! go_is_recent; then
    why="Go 1.$go_minor or later (https://go.dev/dl)"
  else
    return 0
  fi
  echo "a Kubernetes cluster needs what is missing here: $why. An own one is taken from KUBECONFIG"
  return 1
}

# The Go command, also where only a tarball was unpacked.
go_command() { command -v go || { [[ ! -x /usr/local/go/bin/go ]] || echo /usr/local/go/bin/go; }; }

go_is_recent() {
  local go version
  go=$(go_command) && [[ -n $go ]] || return
  version=$("$go" env GOVERSION)
  [[ $version =~ ^go1\.([0-9]+) && ${BASH_REMATCH[1]} -ge $go_minor ]]
}

# `build [PART...]`; without one, all.
build() {
  ! foreign || return 0
  missing >&2 || exit 1
  mkdir -p "$cache"
  # Two runs at once must not build the same.
  exec 9>"$cache/.cluster-lock"
  flock 9
  local wanted part
  mapfile -t wanted < <(absent)
  if [[ ${#wanted[@]} != 0 ]]; then
    echo "installing ${wanted[*]}" >&2
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${wanted[@]}" >/dev/null 2>&1 ||
      die "apt-get could not install ${wanted[*]}"
  fi
  [[ $# != 0 ]] || set -- kubernetes helm nats pause
  mkdir -p "$k8s"
  for part in "$@"; do
    case $part in
      kubernetes) build_kubernetes ;;
      helm) build_helm ;;
      nats) build_go nats-server github.com/nats-io/nats-server/v2 "" ;;
      pause) build_pause ;;
      *) die "no such part to build: $part" ;;
    esac
  done
  exec 9>&-
}

# Says what is built, and how long it took; what it printed, if it fails:
# `timed WHAT COMMAND...`.
timed() {
  local what=$1 start=$SECONDS log
  shift
  log=$(mktemp)
  echo "building $what; this is done once" >&2
  (
    set -e
    # Go must not fetch another Go.
    export CGO_ENABLED=0 GOFLAGS= GOTOOLCHAIN=local GOGC=${GOGC:-400}
    "$@"
  ) >"$log" 2>&1 || {
    tail -n 20 "$log" >&2
    rm -f "$log"
    die "$what could not be built"
  }
  rm -f "$log"
  echo "built $what in $((SECONDS - start)) s" >&2
}

# Builds a program of this module or of one that it requires:
# `build_go NAME PACKAGE FLAGS`.
build_go() { [[ -x $k8s/$1 ]] || timed "$1" compile "$@"; }

compile() {
  # What is there is whole.
  "$(go_command)" -C "$here" build -trimpath -mod=readonly -gcflags all=-dwarf=false -ldflags "-s -w $3" -o "$k8s/$1.new" "$2"
  mv "$k8s/$1.new" "$k8s/$1"
}

build_kubernetes() {
  local version=k8s.io/component-base/version minor=${kubernetes#*.} program
  minor=${minor%%.*}
  build_go k8s ./k8s "-X $version.gitVersion=v$kubernetes -X $version.gitMajor=1 -X $version.gitMinor=$minor"
  for program in kube-apiserver kube-controller-manager kube-scheduler kube-proxy kubelet etcd coredns kubectl; do
    [[ -e $k8s/$program ]] || ln -s k8s "$k8s/$program"
  done
}

# Without a cluster, helm renders for the Kubernetes that it is told here.
build_helm() {
  local package flags minor=${kubernetes#*.}
  flags="-X helm.sh/helm/v3/internal/version.version=v$(version_of helm.sh/helm/v3)"
  for package in chartutil lint/rules; do
    flags+=" -X helm.sh/helm/v3/pkg/$package.k8sVersionMajor=1 -X helm.sh/helm/v3/pkg/$package.k8sVersionMinor=${minor%%.*}"
  done
  build_go helm helm.sh/helm/v3/cmd/helm "$flags"
}

# The image of the process that holds a pod's namespaces.
build_pause() {
  [[ ! -e $k8s/pause.tar ]] || return 0
  local folder
  folder=$(mktemp -d)
  gcc -O2 -static -s -o "$folder/pause" "$here/pause.c"
  printf 'FROM scratch\nCOPY pause /pause\nENTRYPOINT ["/pause"]\n' >"$folder/Dockerfile"
  . "$here/images.sh"
  archive "$folder/Dockerfile" "" "$folder" localhost/pause:1 "$k8s/pause.tar"
  rm -rf "$folder"
}
