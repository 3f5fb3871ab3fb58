# Faults on demand; read by `cluster`.
# shellcheck shell=bash

. "$here/parts.sh"

# `part kill|start|pause|resume PART`.
part() {
  [[ $# == 2 ]] || die "part kill|start|pause|resume PART (${parts[*]})"
  need_ours
  local command_line
  describe "$2"
  case $1 in
    kill) signal "$2" KILL ;;
    start) start "$2" ;;
    pause) signal "$2" STOP ;;
    resume) signal "$2" CONT ;;
    *) die "a part can be killed, started, paused and resumed, not: $1" ;;
  esac
}

# `pod kill|pause|resume|cut|heal [NAMESPACE/]POD [ADDRESS...]`.
pod() {
  [[ $# -ge 2 ]] || die "pod kill|pause|resume|cut|heal [NAMESPACE/]POD [ADDRESS...]"
  need_ours
  local fault=$1 numbers number
  # shellcheck disable=SC2207 # numbers hold no blanks
  numbers=($(processes "$2"))
  [[ ${#numbers[@]} != 0 ]] || die "$2 has no running container"
  shift 2
  case $fault in
    kill) in_node kill -KILL "${numbers[@]}" ;;
    # Not the freezer of its group: the kubelet would see that and restart it.
    # This is what a stalled process looks like.
    pause) in_node kill -STOP "${numbers[@]}" ;;
    resume) in_node kill -CONT "${numbers[@]}" ;;
    cut)
      [[ $# != 0 ]] || die "pod cut [NAMESPACE/]POD ADDRESS..."
      number=${numbers[0]}
      in_pod "$number" nft -f - <<NFT
table inet cut {
  set lost { type ipv4_addr; elements = { $(IFS=,; echo "$*") } }
  chain in { type filter hook input priority 0; ip saddr @lost drop; }
  chain out { type filter hook output priority 0; ip daddr @lost drop; }
}
NFT
      ;;
    heal) in_pod "${numbers[0]}" nft delete table inet cut ;;
    *) die "a pod can be killed, paused, resumed, cut off and healed, not: $fault" ;;
  esac
}

# Runs a command in the network of a process of the node's.
in_pod() {
  local number=$1
  shift
  in_node nsenter -t "$number" -n -- "$@"
}

# The numbers, inside the node, of the first processes of a pod's containers.
processes() {
  local namespace=default pod=$1 ids
  [[ $pod != */* ]] || namespace=${pod%%/*} pod=${pod#*/}
  ids=$(kubectl -n "$namespace" get pod "$pod" \
    -o 'jsonpath={range .status.containerStatuses[*]}{.containerID}{"\n"}{end}')
  in_node ctr -n k8s.io tasks ls |
    awk -v ids="${ids//containerd:\/\//}" 'BEGIN { n = split(ids, wanted); for (i = 1; i <= n; i++) is[wanted[i]] = 1 }
      is[$1] && $3 != "STOPPED" { print $2 }'
}
