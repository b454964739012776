#!/usr/bin/env bash
# Every fuzz target for a while each: hack/fuzz.sh 20s
set -euo pipefail
cd "$(dirname "$0")/.."
budget=${1:-20s}
grep -rlE '^func Fuzz' --include='*_test.go' internal | while read -r file; do
	for target in $(sed -nE 's/^func (Fuzz[A-Za-z0-9_]+)\(.*/\1/p' "$file"); do
		printf '=== %s %s\n' "$(dirname "$file")" "$target"
		go test "./$(dirname "$file")" -run '^$' -fuzz "^$target\$" -fuzztime "$budget"
	done
done
