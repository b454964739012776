#!/usr/bin/env bash
# build.sh NAME OUT: builds the one tool that hack/tools/NAME/go.mod names into OUT, atomically.
set -euo pipefail
name=$1 out=$2
cd "$(dirname "$0")/$name"
mkdir -p "$(dirname "$out")"
pkg=$(go list -f '{{.ImportPath}}' tool | head -1)
echo "building $name ($(go list -f '{{with .Module}}{{.Version}}{{end}}' "$pkg")), once" >&2
CGO_ENABLED=0 go build -trimpath -ldflags '-s -w' -o "$out.$$" "$pkg"
mv "$out.$$" "$out"
