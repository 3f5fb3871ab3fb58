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

# The address after the one that was given last: a Service remembers addresses
# for a while, so one that was just given back would not be a new user's.
next_address() (
  mkdir -p "$state/clients"
  exec 8>"$state/clients/.lock"
  flock 8
  local last=1 host
  [[ ! -f $state/clients/.last ]] || last=$(<"$state/clients/.last")
  for ((host = last % 253 + 2; host != last; host = (host - 1) % 253 + 2)); do
    ! grep -qsxF "$client_network.$host" "$state/clients"/* || continue
    echo $((host - 1)) >"$state/clients/.last"
    echo "$client_network.$host" | tee "$state/clients/$1"
    return
  done
  die "no address is left for a client"
)

add_client() {
  local address
  address=$(next_address "$1")
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
