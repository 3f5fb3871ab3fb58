#!/usr/bin/env bash
# The first process of the node's namespaces: `node.sh STATE`. It sets them up,
# then holds them open and buries the dead. When it ends, the kernel ends every
# process in them, and all their mounts, bridges and packet filters are gone.
set -euo pipefail
state=$1 here=$2
. "$here/common.sh"

# This process' number outside: /proc is still the machine's.
read -r pid _ </proc/self/stat

# Sockets, locks and the network plugins' memory must not be the machine's own.
# /var is read through, but what is written to it stays here; the state, which
# may be below it, is the real one.
mount -t proc proc /proc
mount -t tmpfs -o mode=755 run /run
mkdir -p /run/outside /run/var/upper /run/var/work
mount --bind "$state" /run/outside
mount -t overlay -o lowerdir=/var,upperdir=/run/var/upper,workdir=/run/var/work var /var
mount --bind /run/outside "$state"
umount /run/outside
# Containers may pass mounts on to each other, as on any node.
mount --make-rshared /

# The kubelet sets these for the whole machine (a panic would restart it). Here
# it sets files instead.
for setting in vm/overcommit_memory vm/panic_on_oom kernel/panic kernel/panic_on_oops \
  kernel/keys/root_maxkeys kernel/keys/root_maxbytes; do
  file=$state/sysctl/${setting//\//.}
  mkdir -p "$state/sysctl"
  cat "/proc/sys/$setting" >"$file"
  mount --bind "$file" "/proc/sys/$setting"
done

ip link set lo up
for bridge in "pods $node_address/24" "clients $client_network.1/24"; do
  ip link add name "${bridge% *}" type bridge
  ip address add "${bridge#* }" dev "${bridge% *}"
  ip link set "${bridge% *}" up
done
echo 1 >/proc/sys/net/ipv4/ip_forward
# Packets between pods pass the bridge alone; those to a Service's address must
# come back through its translation.
echo 1 >/proc/sys/net/bridge/bridge-nf-call-iptables 2>/dev/null || true

echo "$pid" >"$state/pid"
while :; do
  sleep 1000000 &
  wait $!
done
