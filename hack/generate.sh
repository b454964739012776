#!/usr/bin/env bash
# generate.sh [ROOT]: writes what is generated from the API's types in the tree ROOT (this one, unless given): the rules
# of spec.config, deepcopy, CRDs, the operator's role, and the chart's copies. hack/verify-generated.sh is its twin.
set -euo pipefail
here=$(cd "$(dirname "$0")/.." && pwd)
cd "${1:-$here}"
if [ -z "${CONTROLLER_GEN:-}" ]; then
	CONTROLLER_GEN=$(make -s -C "$here" controller-gen-path)
fi
go run ./hack/configrules -out api/v1alpha1/nodeconfig_generated.go
"$CONTROLLER_GEN" object paths=./api/...
rm -f config/crd/bases/*.yaml charts/kraft-operator/crds/*.yaml
"$CONTROLLER_GEN" crd paths=./api/... output:crd:artifacts:config=config/crd/bases
"$CONTROLLER_GEN" rbac:roleName=kraft-operator paths=./controllers/... output:rbac:artifacts:config=config/rbac
cp config/crd/bases/*.yaml charts/kraft-operator/crds/
sed -n '/^rules:/,$p' config/rbac/role.yaml >charts/kraft-operator/files/rules.yaml
