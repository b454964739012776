#!/usr/bin/env bash
# Quorums of kraftd mixed with Apache Kafka 4.3.1's own controllers and brokers: real processes of both. Arguments go to the program
# (-run REGEXP: only some worlds; -keep: leave disks and logs). Kafka's jars are fetched once, into the cache.
set -euo pipefail
cd "$(dirname "$0")/.."
. hack/lib.sh
kafka_jars
archive=$CACHE/kafka-$KAFKA_VERSION/classes.jsa
[ "$archive" -nt "$CACHE/kafka-$KAFKA_VERSION/.more" ] && [ "$archive" -nt "$(readlink -f "$(command -v java)")" ] || rm -f "$archive"
export CGO_ENABLED=0
go build -o "$BIN/kraftd" ./cmd/kraftd
go build -o "$BIN/interop-quorum" ./test/interop/quorum
say "interop-quorum"
exec "$BIN/interop-quorum" -kraftd "$BIN/kraftd" -classpath "$CACHE/kafka-$KAFKA_VERSION/libs/*:$CACHE/kafka-$KAFKA_VERSION/more/*" -archive "$archive" "$@"
