#!/usr/bin/env bash
# Apache Kafka 4.3.1's own tools, and clients of three families, against our clusters and our disks. What it needs is installed once: kcat
# (Debian), confluent-kafka (PyPI, in a virtual environment) and Kafka's jars (Maven), the latter two under the cache.
set -euo pipefail
cd "$(dirname "$0")/.."
. hack/lib.sh
KAFKA_VERSION=4.3.1
export INTEROP_CACHE=$CACHE
mkdir -p "$CACHE"

missing=()
command -v kcat >/dev/null || missing+=(kcat)
command -v java >/dev/null || missing+=(openjdk-17-jre-headless)
command -v mvn >/dev/null || [ -f "$CACHE/kafka-$KAFKA_VERSION/.complete" ] || missing+=(maven)
python3 -c 'import venv, ensurepip' 2>/dev/null || missing+=(python3-venv)
if [ ${#missing[@]} -gt 0 ]; then
	[ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || die "missing: ${missing[*]}: install them, or run this as root on Debian"
	say "installing ${missing[*]}"
	apt-get update -q >/dev/null
	DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${missing[@]}" >/dev/null
fi

if ! "$CACHE/confluent/bin/python" -c 'import confluent_kafka' 2>/dev/null; then
	say "confluent-kafka in a virtual environment"
	python3 -m venv "$CACHE/confluent"
	"$CACHE/confluent/bin/pip" install -q 'confluent-kafka>=2.6'
fi

if [ ! -f "$CACHE/kafka-$KAFKA_VERSION/.complete" ]; then
	say "Apache Kafka $KAFKA_VERSION's jars"
	pom=$(mktemp -d)
	trap 'rm -rf "$pom"' EXIT
	cat >"$pom/pom.xml" <<POM
<project>
  <modelVersion>4.0.0</modelVersion>
  <groupId>dev.kraft</groupId><artifactId>interop</artifactId><version>1</version>
  <dependencies>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>$KAFKA_VERSION</version></dependency>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka-tools</artifactId><version>$KAFKA_VERSION</version></dependency>
  </dependencies>
</project>
POM
	mvn -q -B -f "$pom/pom.xml" dependency:copy-dependencies -DoutputDirectory="$CACHE/kafka-$KAFKA_VERSION/libs"
	touch "$CACHE/kafka-$KAFKA_VERSION/.complete"
fi

say "interop"
CGO_ENABLED=0 go build -trimpath -o "$BIN/kraftd" ./cmd/kraftd
KRAFTD=$BIN/kraftd go test -count=1 -timeout 25m -tags interop ${GOTESTFLAGS:-} ./test/interop/...
