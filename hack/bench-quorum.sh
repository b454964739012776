#!/usr/bin/env bash
# The quorum engine beside hashicorp/raft and Apache Kafka 4.3.1, on this machine's disk and loopback. bench/ has a go.mod of its own, so that the
# stores of the other engine stay out of the product's. BENCHFLAGS go to the program: make bench-quorum BENCHFLAGS=-quick
set -euo pipefail
cd "$(dirname "$0")/.."
. hack/lib.sh
mkdir -p "$CACHE" "$BIN"
kafka_jars
CGO_ENABLED=0 go build -trimpath -o "$BIN/kraftd" ./cmd/kraftd
(cd bench && CGO_ENABLED=0 go build -o "$BIN/bench-quorum" ./quorum)
say "bench-quorum (the full run takes about an hour on two cores; -quick two to five minutes)"
"$BIN/bench-quorum" -kraftd "$BIN/kraftd" -kafka "$CACHE/kafka-4.3.1/libs" -out docs/benchmarks ${BENCHFLAGS:-}
