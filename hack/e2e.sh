#!/usr/bin/env bash
# The end-to-end tests on a real Kubernetes of their own (hack/localkube, cluster kraft-e2e), which is removed afterwards.
#   E2E_FULL=1        the long story, TestFull, instead of the short one
#   E2E_PREVIOUS=rev  the commit that TestFull upgrades the operator from, instead of HEAD~1
#   E2E_KEDA=1        brokers scaled by KEDA, TestKEDA
#   E2E_RUN=TestName  run a part; E2E_KEEP=1 leaves the cluster up; E2E_CLUSTER=name  another name than kraft-e2e
set -euo pipefail
cd "$(dirname "$0")/.."
. hack/lib.sh
CLUSTER=${E2E_CLUSTER:-kraft-e2e}
VERSION=$(git describe --tags --always --dirty 2>/dev/null || echo dev)
IMAGE=kraft.local/kraft-operator:$VERSION
LOCALKUBE=$(localkube_bin)
say "the image"
make --no-print-directory image IMAGE="$IMAGE" VERSION="$VERSION"
command -v kcat >/dev/null || { apt-get update -qq && apt-get install -y -qq --no-install-recommends --no-remove kcat; }
"$LOCALKUBE" build
KUBECTL=$("$LOCALKUBE" assets)/kubectl
# weigh gives this session, in which the tests' clients run, a weight against the cluster's pods: nice, from -20 to 19. localkube's pods
# count for 16 processes, so at 0 a client waits a tenth of a second for a processor while a pod starts, and calls that a gap.
weigh() { echo "$1" 2>/dev/null >/proc/self/autogroup || say "the clients' weight stays as it is: $1 refused"; }
cleanup() {
	weigh 0
	[ -n "${E2E_KEEP:-}" ] || "$LOCALKUBE" --name "$CLUSTER" down
}
trap cleanup EXIT
"$LOCALKUBE" --name "$CLUSTER" up
"$LOCALKUBE" --name "$CLUSTER" load bin/image.tar
RUN='^Test(KRaftCluster|DemoOnTheCurrentContext)$' TIMEOUT=25m
if [ -n "${E2E_FULL:-}" ]; then
	RUN='^TestFull$' TIMEOUT=75m
	say "the image and the manifests of the previous commit"
	PREVIOUS=$CACHE/e2e-previous # always the same: Go's cache knows packages by their folder
	rm -rf "$PREVIOUS"
	mkdir -p "$PREVIOUS"
	PREVIOUS_IMAGE=kraft.local/kraft-operator:previous
	git archive "${E2E_PREVIOUS:-HEAD~1}" | tar -x -C "$PREVIOUS"
	make --no-print-directory -C "$PREVIOUS" image IMAGE="$PREVIOUS_IMAGE" VERSION=previous
	"$LOCALKUBE" --name "$CLUSTER" load "$PREVIOUS/bin/image.tar"
	# What a user had applied before: its CRDs and rights, too.
	PREVIOUS_MANIFEST=$CACHE/e2e-previous.yaml
	"$KUBECTL" kustomize "$PREVIOUS/config/default" >"$PREVIOUS_MANIFEST"
	rm -rf "$PREVIOUS"
	export PREVIOUS_IMAGE PREVIOUS_MANIFEST
fi
if [ -n "${E2E_KEDA:-}" ]; then
	RUN='^TestKEDA$'
	KEDA_CONFIG=$CACHE/keda/deploy
	export KEDA_CONFIG
	. hack/keda.sh
fi
KUBECONFIG=$("$LOCALKUBE" --name "$CLUSTER" kubeconfig)
export KUBECONFIG KUBECTL LOCALKUBE CLUSTER IMAGE
say "the tests"
weigh -10
go test -tags e2e -count=1 -timeout "$TIMEOUT" -v -run "${E2E_RUN:-$RUN}" ./test/e2e
