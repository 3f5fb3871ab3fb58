# The node's programs and their flags; read by `up.sh` and `faults.sh`.
# shellcheck shell=bash

parts=(etcd apiserver controllers scheduler containerd kubelet proxy dns)

# The command of a part, in the array `command_line`.
describe() {
  local pki=$state/pki
  case $1 in
    etcd) command_line=("$k8s/etcd" --data-dir "$state/etcd"
      --listen-client-urls http://127.0.0.1:2379 --advertise-client-urls http://127.0.0.1:2379
      --listen-peer-urls http://127.0.0.1:2380
      # It lives no longer than the test.
      --unsafe-no-fsync) ;;
    apiserver) command_line=("$k8s/kube-apiserver" --etcd-servers=http://127.0.0.1:2379
      --bind-address=0.0.0.0 --secure-port=6443 --advertise-address="$node_address"
      --service-cluster-ip-range="$service_network"
      --tls-cert-file="$pki/apiserver.crt" --tls-private-key-file="$pki/apiserver.key"
      --client-ca-file="$pki/ca.crt" --authorization-mode=Node,RBAC
      --service-account-issuer=https://kubernetes.default.svc
      --service-account-key-file="$pki/accounts.key" --service-account-signing-key-file="$pki/accounts.key"
      # To the kubelet, for logs and exec.
      --kubelet-preferred-address-types=InternalIP
      --kubelet-client-certificate="$pki/admin.crt" --kubelet-client-key="$pki/admin.key") ;;
    controllers) command_line=("$k8s/kube-controller-manager" --kubeconfig="$state/admin.conf"
      --leader-elect=false --use-service-account-credentials
      --service-account-private-key-file="$pki/accounts.key" --root-ca-file="$pki/ca.crt"
      # An autoscaler looks every 5 s, where the default is 15.
      --horizontal-pod-autoscaler-sync-period=5s
      # It makes this folder.
      --flex-volume-plugin-dir="$state/volume-plugins") ;;
    scheduler) command_line=("$k8s/kube-scheduler" --kubeconfig="$state/admin.conf" --leader-elect=false) ;;
    containerd) command_line=(containerd -c "$state/containerd.toml") ;;
    kubelet) command_line=("$k8s/kubelet" --config="$state/kubelet.yaml" --kubeconfig="$state/kubelet.conf"
      --root-dir="$state/kubelet" --hostname-override=node --node-ip="$node_address") ;;
    proxy) command_line=("$k8s/kube-proxy" --kubeconfig="$state/admin.conf" --hostname-override=node
      --proxy-mode=nftables --cluster-cidr="$inner_network"
      # A limit for the whole machine stays as it is.
      --conntrack-max-per-core=0) ;;
    dns) command_line=("$k8s/coredns" -conf "$state/Corefile") ;;
    *) die "no such part: $1 (${parts[*]})" ;;
  esac
}

# Starts a part inside the node; its number there is kept.
start() {
  local command_line
  describe "$1"
  in_node bash -c '
    log=$1 number=$2
    shift 2
    setsid "$@" >>"$log" 2>&1 </dev/null 9>&- &
    echo $! >"$number"' start "$state/log/$1.log" "$state/run/$1" "${command_line[@]}"
}

# Sends a part a signal. Its number counts inside the node only, so no process
# outside can be hit.
signal() { in_node kill "-$2" "$(<"$state/run/$1")"; }
