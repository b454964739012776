#!/usr/bin/env bash
# The operator with 100 clusters of 6 modelled nodes on a real apiserver and etcd: its memory, and how soon it reacts.
set -euo pipefail
cd "$(dirname "$0")/.."
. hack/lib.sh
KUBEBUILDER_ASSETS=$(assets)
export KUBEBUILDER_ASSETS
mkdir -p "$BIN"
CGO_ENABLED=0 go build -ldflags '-s -w' -o "$BIN/manager" ./cmd/manager
say "bench-operator (two minutes on two idle cores)"
exec go run ./test/operatorbench -manager "$BIN/manager"
