# Builds what the cluster consists of; read by `cluster`.
# shellcheck shell=bash

# Debian packages, and a file or command by which each is known to be there.
packages=(
  containerd:containerd runc:runc containernetworking-plugins:/usr/lib/cni/bridge nftables:nft
  iproute2:ip buildah:buildah openssl:openssl gcc:gcc libc6-dev:/usr/include/stdlib.h
  binutils:strip ca-certificates:/etc/ssl/certs/ca-certificates.crt
)

# The packages that are not there.
absent() {
  local entry
  for entry in "${packages[@]}"; do
    [[ -e ${entry#*:} ]] || command -v "${entry#*:}" >/dev/null || echo "${entry%%:*}"
  done
}

built() {
  [[ -x $k8s/k8s && -x $cache/helm-$helm/helm && -x $cache/nats-server-$nats/nats-server &&
    -x $cache/coredns-$coredns/coredns ]]
}

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
    why="Go 1.24 or later (https://go.dev/dl)"
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
  [[ $version =~ ^go1\.([0-9]+) && ${BASH_REMATCH[1]} -ge 24 ]]
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
  [[ $# != 0 ]] || set -- kubernetes helm nats coredns pause
  for part in "$@"; do
    case $part in
      kubernetes) build_kubernetes ;;
      helm) build_helm ;;
      nats) build_go nats-server "$nats" "github.com/nats-io/nats-server/v2@v$nats" "" ;;
      coredns) build_go coredns "$coredns" "github.com/coredns/coredns@v$coredns" "" ;;
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
    export CGO_ENABLED=0 GOFLAGS=
    "$@"
  ) >"$log" 2>&1 || {
    tail -n 20 "$log" >&2
    rm -f "$log"
    die "$what could not be built"
  }
  rm -f "$log"
  echo "built $what in $((SECONDS - start)) s" >&2
}

# A module whose binary is installed as it is: `build_go NAME VERSION MODULE FLAGS`.
build_go() {
  local folder=$cache/$1-$2
  [[ -x $folder/$1 ]] || timed "$1 $2" install_go "$folder" "$3" "$4"
}

# Without a cluster, helm renders for the Kubernetes that it is told here.
build_helm() {
  local package flags="-X helm.sh/helm/v3/internal/version.version=v$helm" minor=${kubernetes#*.}
  for package in chartutil lint/rules; do
    flags+=" -X helm.sh/helm/v3/pkg/$package.k8sVersionMajor=1 -X helm.sh/helm/v3/pkg/$package.k8sVersionMinor=${minor%%.*}"
  done
  build_go helm "$helm" "helm.sh/helm/v3/cmd/helm@v$helm" "$flags"
}

install_go() {
  local folder=$1 new=$1.new
  rm -rf "$new"
  mkdir -p "$new"
  GOBIN=$new "$(go_command)" install -trimpath -ldflags "-s -w $3" "$2"
  rm -rf "$folder"
  mv "$new" "$folder"
}

build_kubernetes() {
  [[ -x $k8s/k8s ]] || timed "Kubernetes $kubernetes" link_kubernetes
  local program
  for program in kube-apiserver kube-controller-manager kube-scheduler kube-proxy kubelet kubectl etcd; do
    [[ -e $k8s/$program ]] || ln -s k8s "$k8s/$program"
  done
}

# Kubernetes' modules carry no versions of each other: each that is required as
# v0.0.0 is the one of the same release, 0.34.1 beside Kubernetes 1.34.1.
link_kubernetes() {
  local go source=$k8s.new/source staging=v0.${kubernetes#1.} requirements
  go=$(go_command)
  rm -rf "$k8s.new"
  mkdir -p "$source"
  cp "$here/k8s/main.go" "$source"
  # The answer's "GoMod" names the module's own list of requirements.
  requirements=$(cd / && "$go" mod download -json "k8s.io/kubernetes@v$kubernetes" |
    sed -n 's/.*"GoMod": "\(.*\)".*/\1/p')
  {
    printf 'module k8s\n\ngo 1.24.0\n\nrequire k8s.io/kubernetes v%s\n\nreplace (\n' "$kubernetes"
    awk -v to="$staging" '$1 ~ /^k8s\.io\// && $2 == "v0.0.0" { print "\t" $1 " => " $1 " " to }' "$requirements"
    echo ')'
  } >"$source/go.mod"
  local version=k8s.io/component-base/version minor=${kubernetes#*.}
  minor=${minor%%.*}
  (
    cd "$source"
    # Takes the requirements of the imports from Kubernetes' own list; sums come
    # from Go's database of them.
    "$go" mod tidy
    "$go" build -trimpath -o ../k8s -ldflags "-s -w -X $version.gitVersion=v$kubernetes \
      -X $version.gitMajor=1 -X $version.gitMinor=$minor" .
  )
  rm -rf "$source" "$k8s"
  mv "$k8s.new" "$k8s"
}

# The image of the process that holds a pod's namespaces.
build_pause() {
  local folder=$k8s/pause
  [[ -e $folder/image.tar ]] && return
  rm -rf "$folder"
  mkdir -p "$folder"
  gcc -O2 -static -s -o "$folder/pause" "$here/pause.c"
  printf 'FROM scratch\nCOPY pause /pause\nENTRYPOINT ["/pause"]\n' >"$folder/Dockerfile"
  . "$here/images.sh"
  archive "$folder/Dockerfile" "" "$folder" localhost/pause:1 "$folder/image.tar"
}
