#!/usr/bin/env bash
# Apache Kafka 4.3.1's own tools, and clients of three families, against our clusters and our disks. What it needs is installed once: kcat
# (Debian), confluent-kafka (PyPI, in a virtual environment) and Kafka's jars (Maven), the latter two under the cache.
set -euo pipefail
cd "$(dirname "$0")/.."
. hack/lib.sh
export INTEROP_CACHE=$CACHE
mkdir -p "$CACHE"

missing=()
command -v kcat >/dev/null || missing+=(kcat)
python3 -c 'import venv, ensurepip' 2>/dev/null || missing+=(python3-venv)
install_packages "${missing[@]}"

if ! "$CACHE/confluent/bin/python" -c 'import confluent_kafka' 2>/dev/null; then
	say "confluent-kafka in a virtual environment"
	python3 -m venv "$CACHE/confluent"
	"$CACHE/confluent/bin/pip" install -q 'confluent-kafka>=2.6'
fi

kafka_jars

say "interop"
CGO_ENABLED=0 go build -trimpath -o "$BIN/kraftd" ./cmd/kraftd
KRAFTD=$BIN/kraftd go test -count=1 -timeout 25m -tags interop ${GOTESTFLAGS:-} ./test/interop/...
