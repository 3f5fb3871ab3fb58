# Clients outside the cluster, each with an address of its own; read by `cluster`.
# shellcheck shell=bash

# `client add|exec|path|del NAME [COMMAND...]`.
client() {
  [[ $# -ge 2 ]] || die "client add|exec|path|del NAME [COMMAND...]"
  need_ours
  local verb=$1 who=$2
  shift 2
  [[ $who =~ ^[a-z0-9]{1,10}$ ]] || die "a client's name is 1 to 10 small letters or digits, not: $who"
  case $verb in
    add) add_client "$who" ;;
    exec) nsenter "--net=$(client_path "$who")" -- "$@" ;;
    path) client_path "$who" ;;
    del)
      in_node ip netns delete "$who"
      rm -f "$state/clients/$who"
      ;;
    *) die "a client can be added and deleted, not: $verb" ;;
  esac
}

# The namespace's file, seen from outside the node.
client_path() {
  local path
  path=/proc/$(<"$state/pid")/root/run/netns/$1
  [[ -e $path ]] || die "no client $1: tests/cluster/cluster client add $1"
  echo "$path"
}

add_client() {
  local address host
  mkdir -p "$state/clients"
  # The first address that nobody has; making the link is what takes it.
  for host in $(seq 2 254); do
    address=$client_network.$host
    ! grep -qrxF "$address" "$state/clients" || continue
    (set -o noclobber && echo "$address" >"$state/clients/.$host") 2>/dev/null || continue
    mv "$state/clients/.$host" "$state/clients/$1"
    break
  done
  in_node bash -euc '
    ip netns add "$1"
    ip link add "c-$1" type veth peer name eth0 netns "$1"
    ip link set "c-$1" master clients up
    ip -n "$1" link set lo up
    ip -n "$1" address add "$2/24" dev eth0
    ip -n "$1" link set eth0 up
    ip -n "$1" route add default via "$3"' add "$1" "$address" "$client_network.1"
  echo "$address"
}
