#!/usr/bin/env bash
# Unit, node-level, envtest and a short simulation: everything that needs no running Kubernetes.
set -euo pipefail
cd "$(dirname "$0")/.."
. hack/lib.sh
say "etcd and kube-apiserver for envtest (built once)"
KUBEBUILDER_ASSETS=$(assets)
export KUBEBUILDER_ASSETS KRAFTD=$BIN/kraftd
say "unit, node-level, envtest and simulation"
go test -timeout 25m ${GOTESTFLAGS:-} ./...
(cd hack/localkube && go test ./...)
(cd bench && go vet ./...)
say "a short simulation"
go run ./internal/quorum/sim/cmd -seeds "${SEEDS:-2000}" -seed0 "${SEED0:-1}"
