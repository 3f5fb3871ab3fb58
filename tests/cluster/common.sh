# Names, places and the ways into the node; read by the other scripts here.
# shellcheck shell=bash

root=$(cd "$here/../.." && pwd)

# The version of a module, of the many that go.mod names.
version_of() { awk -v module="$1" '$1 == module && $2 ~ /^v/ { print substr($2, 2); exit }' "$here/go.mod"; }
kubernetes=$(version_of k8s.io/kubernetes)
nats=$(version_of github.com/nats-io/nats-server/v2)

# Each work tree has a cluster of its own: two that are tested at once must
# not take, or end, each other's.
name=${PUSHCLUSTER_CLUSTER:-test-$(cksum <<<"$root" | cut -d' ' -f1)}
cache=${PUSHCLUSTER_CACHE:-$HOME/.cache/pushcluster}
state=${TMPDIR:-/tmp}/pushcluster-cluster-$name
# Where it is built: anew for every change of what it is built from, beside what
# others have built.
k8s=$cache/kubernetes-$kubernetes-$(cat "$here"/{go.mod,go.sum,k8s/main.go,pause.c} | sha256sum | cut -c1-12)

# The node's network. It is a namespace of its own, so the same addresses and
# ports serve every cluster and are free whatever else the machine does.
node_address=10.244.0.1
pod_network=10.244.0.0/24
client_network=10.245.0
service_network=10.96.0.0/16
# Pods and clients together: to both, a Service shows who calls.
inner_network=10.244.0.0/15

die() {
  echo "cluster: $*" >&2
  exit 1
}

# An own cluster was named. Ours is never named so: the tests' children may
# have KUBECONFIG set to it.
foreign() { [[ -n ${KUBECONFIG:-} && $KUBECONFIG != "$state"/* ]]; }

# Whether our cluster runs. The number alone could be another process' by now.
alive() {
  local pid
  [[ -f $state/pid ]] && pid=$(<"$state/pid") &&
    tr '\0' ' ' 2>/dev/null <"/proc/$pid/cmdline" | grep -qF "$state"
}

# One line that says which cluster there is, if there is one.
status() {
  if foreign; then
    kubectl get --raw /readyz >/dev/null && echo "foreign: KUBECONFIG is $KUBECONFIG"
  elif alive; then
    kubectl get --raw /readyz >/dev/null && echo "running in $state"
  else
    die "none runs here: tests/cluster/cluster up"
  fi
}

need_ours() {
  ! foreign || die "not to be had in the cluster that KUBECONFIG names"
  alive || die "none runs here: tests/cluster/cluster up"
}

# Runs a command as a process of the node: its network, mounts and processes.
in_node() { nsenter -t "$(<"$state/pid")" -m -n -p -- "$@"; }

# Runs a command with the node's network, or as it is for an own cluster.
in_network() {
  if foreign; then
    "$@"
  else
    need_ours
    KUBECONFIG=$state/admin.conf nsenter -t "$(<"$state/pid")" -n -- "$@"
  fi
}

# Where a program is: built for us, or the machine's.
tool() {
  case $1 in
    kubectl | helm) [[ ! -x $k8s/$1 ]] || { echo "$k8s/$1"; return; } ;;
  esac
  command -v "$1" || die "$1 is missing: tests/cluster/cluster build"
}

kubectl() { in_network "$(tool kubectl)" "$@"; }

# Waits up to 60 s until a command succeeds: `await WHAT COMMAND...`.
await() {
  local what=$1 _
  shift
  for _ in $(seq 600); do
    "$@" >/dev/null 2>&1 && return
    alive || die "the node ended while $what was awaited; see $state/log"
    sleep 0.1
  done
  die "waited 60 s in vain for $what; see $state/log"
}
