#!/usr/bin/env bash
# Fails if a generated file of the API or the operator isn't what its generator writes.
set -euo pipefail
cd "$(dirname "$0")/.."
generated=(api/v1alpha1/nodeconfig_generated.go api/v1alpha1/zz_generated.deepcopy.go config/crd/bases config/rbac/role.yaml charts/kraft-operator/crds charts/kraft-operator/files)
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
mkdir "$tmp/tree"
git ls-files -z -co --exclude-standard -- go.mod go.sum api controllers internal hack/configrules config charts \
	| while IFS= read -r -d '' f; do if [ -e "$f" ]; then printf '%s\0' "$f"; fi; done \
	| tar --null -T - -cf - | tar -C "$tmp/tree" -xf -
hack/generate.sh "$tmp/tree"
status=0
for path in "${generated[@]}"; do
	diff -ru "$path" "$tmp/tree/$path" || status=1
done
if [ $status -ne 0 ]; then
	echo "generated files are stale: run make generate" >&2
fi
exit $status
