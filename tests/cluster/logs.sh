# What helps to understand a failure; read by `cluster`.
# shellcheck shell=bash

# Collects it in a folder: `logs FOLDER`.
logs() {
  [[ $# == 1 ]] || die "logs FOLDER"
  local folder=$1
  mkdir -p "$folder"
  {
    kubectl get nodes,pods,services,endpointslices,deployments,statefulsets,events,leases -A -o wide
    kubectl get pushclusters -A -o yaml
  } >"$folder/objects.txt" 2>&1 || true
  kubectl describe pods -A >"$folder/pods.txt" 2>&1 || true
  kubectl get events -A --sort-by=.metadata.creationTimestamp >"$folder/events.txt" 2>&1 || true
  if ! foreign && [[ -d $state/log ]]; then
    cp -r "$state/log" "$folder/node"
    # Of every container, also of those that are gone.
    [[ ! -d $state/pods ]] || cp -rL "$state/pods" "$folder/containers" 2>/dev/null || true
  fi
  echo "logs are in $folder" >&2
}
