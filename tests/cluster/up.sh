# Starts and ends the node; read by `cluster`.
# shellcheck shell=bash

. "$here/parts.sh"

up() {
  if foreign; then
    kubectl get nodes >/dev/null || die "no answer from the cluster that KUBECONFIG names"
    echo "taking the cluster that KUBECONFIG names" >&2
    return
  fi
  ! alive || { echo "it runs already" >&2; return; }
  . "$here/build.sh"
  build
  local begun=$SECONDS
  down
  # Where the start ends early, half a node is of no use.
  trap 'status=$?; [[ $status == 0 ]] || { tail -n 5 "$state"/log/*.log >&2 || true; down; }' EXIT
  mkdir -p "$state"/{pki,log,run,cni}
  make_keys
  write_settings
  make_cgroups
  # No signal of the terminal's reaches it, and no open file is left to it.
  setsid unshare --net --mount --pid --fork --kill-child \
    bash "$here/node.sh" "$state" "$here" >"$state/log/node.log" 2>&1 </dev/null &
  local _
  for _ in $(seq 100); do
    [[ ! -f $state/pid ]] || break
    sleep 0.05
  done
  alive || die "the node's namespaces could not be set up: $(<"$state/log/node.log")"

  start etcd
  start apiserver
  start containerd
  await containerd in_node ctr version
  in_node ctr -n k8s.io images import - <"$k8s/pause.tar" >/dev/null
  await "the API server" kubectl get --raw /readyz
  start controllers
  start scheduler
  start kubelet
  start proxy
  start dns
  make_volumes
  await "the node" node_is_ready
  # Without it no pod is admitted.
  await "the default service account" kubectl get serviceaccount default
  trap - EXIT
  echo "Kubernetes $kubernetes is up after $((SECONDS - begun)) s: tests/cluster/cluster kubectl get nodes" >&2
}

node_is_ready() { kubectl get node node --no-headers | grep -q ' Ready '; }

# Ends all of it by ending its first process.
down() {
  ! foreign || return 0
  if alive; then
    local pid _
    pid=$(<"$state/pid")
    # `unshare` outside waits for its child, and ends with it.
    kill -KILL "$pid"
    for _ in $(seq 200); do
      [[ -e /proc/$pid ]] || break
      sleep 0.05
    done
  fi
  remove_cgroups
  rm -rf "$state"
}

# Storage: as many volumes as tests may claim, of the default class. There is
# nothing here that would make them on demand.
make_volumes() {
  local number
  {
    cat <<YAML
apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata: {name: standard, annotations: {storageclass.kubernetes.io/is-default-class: "true"}}
provisioner: kubernetes.io/no-provisioner
volumeBindingMode: WaitForFirstConsumer
YAML
    for number in $(seq 48); do
      mkdir -p "$state/volumes/$number"
      cat <<YAML
---
apiVersion: v1
kind: PersistentVolume
metadata: {name: volume-$number}
spec:
  storageClassName: standard
  capacity: {storage: 100Gi}
  accessModes: [ReadWriteOnce]
  persistentVolumeReclaimPolicy: Retain
  # Not hostPath: of a local volume the kubelet sets the group (fsGroup).
  local: {path: $state/volumes/$number}
  nodeAffinity: {required: {nodeSelectorTerms: [{matchExpressions: [
    {key: kubernetes.io/hostname, operator: In, values: [node]}]}]}}
YAML
    done
  } | kubectl create -f - >/dev/null
}

# === settings ===

# Makes keys and certificates, all of one day and one authority.
make_keys() {
  local pki=$state/pki
  openssl_key() { openssl ecparam -genkey -noout -name prime256v1 -out "$pki/$1.key"; }
  openssl_key ca
  openssl req -x509 -new -key "$pki/ca.key" -days 30 -subj /CN=pushcluster-tests -out "$pki/ca.crt"
  openssl_key accounts
  certificate apiserver /CN=kube-apiserver \
    "IP:127.0.0.1,IP:$node_address,IP:${service_network%.0/16}.1,DNS:localhost,DNS:kubernetes.default.svc"
  certificate admin /O=system:masters/CN=admin DNS:admin
  certificate kubelet /O=system:nodes/CN=system:node:node "IP:$node_address,DNS:node"
}

certificate() {
  local file=$state/pki/$1
  openssl_key "$1"
  openssl req -new -key "$file.key" -subj "$2" -out "$file.csr"
  openssl x509 -req -in "$file.csr" -CA "$state/pki/ca.crt" -CAkey "$state/pki/ca.key" \
    -CAcreateserial -days 30 -extfile <(echo "subjectAltName=$3") -out "$file.crt" 2>/dev/null
}

kubeconfig() {
  cat >"$state/$1.conf" <<YAML
apiVersion: v1
kind: Config
clusters: [{name: test, cluster: {server: "https://$node_address:6443", certificate-authority: $state/pki/ca.crt}}]
users: [{name: $1, user: {client-certificate: $state/pki/$1.crt, client-key: $state/pki/$1.key}}]
contexts: [{name: test, context: {cluster: test, user: $1}}]
current-context: test
YAML
}

write_settings() {
  kubeconfig admin
  kubeconfig kubelet
  local plugins=/usr/lib/cni snapshotter=overlayfs
  [[ -e $plugins/bridge ]] || plugins=/opt/cni/bin
  # One overlay cannot hold another.
  [[ $(stat -f -c %T "$state") != overlayfs ]] || snapshotter=native
  cat >"$state/containerd.toml" <<TOML
version = 2
root = "$state/containerd"
[plugins."io.containerd.internal.v1.opt"]
path = "$state/opt"
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "localhost/pause:1"
# Lowering a process' score takes a right that containers' roots seldom have.
restrict_oom_score_adj = true
[plugins."io.containerd.grpc.v1.cri".containerd]
snapshotter = "$snapshotter"
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "$plugins"
conf_dir = "$state/cni"
TOML
  cat >"$state/cni/10-pods.conflist" <<JSON
{"cniVersion": "0.4.0", "name": "pods", "plugins": [
  {"type": "bridge", "bridge": "pods", "isGateway": true, "hairpinMode": true,
   "ipam": {"type": "host-local", "ranges": [[{"subnet": "$pod_network"}]], "routes": [{"dst": "0.0.0.0/0"}]}}]}
JSON
  cat >"$state/kubelet.yaml" <<YAML
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication: {anonymous: {enabled: false}, x509: {clientCAFile: $state/pki/ca.crt}}
containerRuntimeEndpoint: unix:///run/containerd/containerd.sock
# Below it are all pods' groups, apart from those of the machine's own kubelet.
cgroupRoot: /pushcluster-$name
cgroupDriver: cgroupfs
failCgroupV1: false
failSwapOn: false
enforceNodeAllocatable: []
localStorageCapacityIsolation: false
# A full disk of the machine's must not end pods.
imageGCHighThresholdPercent: 100
evictionHard: {memory.available: 0%, nodefs.available: 0%, nodefs.inodesFree: 0%, imagefs.available: 0%}
volumePluginDir: $state/volume-plugins
podLogsDir: $state/pods
resolvConf: ""
clusterDNS: [$node_address]
clusterDomain: cluster.local
# A changed ConfigMap is in its pods within seconds, where the default is a minute.
syncFrequency: 5s
YAML
  cat >"$state/Corefile" <<CONF
.:53 {
  bind $node_address
  errors
  kubernetes cluster.local {
    kubeconfig $state/admin.conf test
    ttl 1
  }
}
CONF
}

# === cgroups ===

# The hierarchies: one folder each in version 1, a single one in version 2.
hierarchies() {
  if [[ -e /sys/fs/cgroup/cgroup.controllers ]]; then
    echo /sys/fs/cgroup
  else
    awk '$3 == "cgroup" || $3 == "cgroup2" { print $2 }' /proc/mounts
  fi
}

make_cgroups() {
  local folder
  for folder in $(hierarchies); do mkdir -p "$folder/pushcluster-$name"; done
}

# Only empty groups can be removed, from the leaves up. Dying processes leave
# theirs a moment later.
remove_cgroups() {
  local folder _
  for folder in $(hierarchies); do
    folder=$folder/pushcluster-$name
    for _ in $(seq 50); do
      [[ -d $folder ]] || break
      find "$folder" -depth -type d -exec rmdir {} + 2>/dev/null || true
      [[ ! -d $folder ]] || sleep 0.1
    done
    [[ ! -d $folder ]] || echo "cluster: $folder could not be removed" >&2
  done
}
