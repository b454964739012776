#!/usr/bin/env bash
# What can be checked without running anything: formatting, go.mod files, the API reference, links of the documents, sizes,
# and that no file tells of the machine it was written on. All checks run; the exit code says whether one failed.
set -euo pipefail
cd "$(dirname "$0")/.."
status=0
fail() { printf '%s\n' "$@" >&2; status=1; }
files() { git ls-files -z -co --exclude-standard -- "$@" | while IFS= read -r -d '' f; do if [ -f "$f" ]; then printf '%s\0' "$f"; fi; done; }

unformatted=$(files '*.go' | xargs -0 gofmt -l)
[ -z "$unformatted" ] || fail "not formatted, run make fmt:" "$unformatted"

for dir in . hack/localkube; do
	go -C "$dir" mod tidy -diff >&2 || fail "$dir/go.mod isn't tidy: run go mod tidy there"
done

go run ./hack/apidoc -out - | diff -u docs/api.md - >&2 || fail "docs/api.md is stale: run make generate"

# Plain kubectl apply keeps the object in an annotation of at most 262,144 bytes.
for crd in config/crd/bases/*.yaml; do
	size=$(wc -c <"$crd")
	[ "$size" -lt 200000 ] || fail "$crd has $size bytes: the limit is 200,000; take fields or descriptions out"
done

machine='(^|[^A-Za-z0-9_./-])/(work|farm|root)/'
found=$(files . | xargs -0 grep -IlE "$machine" || true)
[ -z "$found" ] || fail "paths of a machine (/work, /farm or /root) in:" "$found"

# Links of documents to files: [text](path) and [text](path#part), outside of fenced blocks.
while IFS= read -r -d '' doc; do
	while IFS= read -r link; do
		path=${link%%#*}
		[ -z "$path" ] || [ -e "$(dirname "$doc")/$path" ] || fail "$doc: link to $link, which isn't there"
	done < <(awk '/^ *```/ { code = !code; next } !code' "$doc" | sed 's/`[^`]*`//g' | grep -oE '\]\([^) ]+\)' | sed 's/^](//; s/)$//' | grep -vE '^[a-z]+:' || true)
done < <(files '*.md')

exit $status
