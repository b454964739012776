#!/usr/bin/env bash
# The demo: a real Kubernetes, the operator, the sample, 100,000 records through two failures, and a closing line.
#   hack/demo.sh up     make demo
#   hack/demo.sh down   make demo-down
# Where it runs: the current context with DEMO_KUBECONFIG=current (needs IMAGE_REPO), else kind where a container
# engine answers, else hack/localkube.
set -euo pipefail
cd "$(dirname "$0")/.."
. hack/lib.sh
NS=${DEMO_NAMESPACE:-kraft-demo}
CLUSTER=${DEMO_CLUSTER:-kraft-demo}
MARK=kraft.dev/demo   # annotation on what this demo made, so that demo-down removes nothing else
STATE=$CACHE/demo

target() {
	if [ "${DEMO_KUBECONFIG:-}" = current ]; then echo current
	elif [ -n "${DEMO_KUBECONFIG:-}" ]; then die "DEMO_KUBECONFIG=$DEMO_KUBECONFIG: only 'current' is known"
	elif docker info >/dev/null 2>&1 && command -v kind >/dev/null 2>&1; then echo kind
	else echo localkube; fi
}

# prepare_TARGET makes a cluster answer, exports KUBECONFIG and KUBECTL, and gives it the image; it sets IMAGE.
prepare_localkube() {
	LOCALKUBE=$(localkube_bin)
	"$LOCALKUBE" build
	KUBECTL=$("$LOCALKUBE" assets)/kubectl
	"$LOCALKUBE" --name "$CLUSTER" up
	KUBECONFIG=$("$LOCALKUBE" --name "$CLUSTER" kubeconfig)
	build_image
	"$LOCALKUBE" --name "$CLUSTER" load bin/image.tar
}
prepare_kind() {
	KUBECTL=$(command -v kubectl) || die "kind needs kubectl in PATH"
	kind get clusters 2>/dev/null | grep -qx "$CLUSTER" || kind create cluster --name "$CLUSTER"
	KUBECONFIG=$STATE/kubeconfig
	kind export kubeconfig --name "$CLUSTER" --kubeconfig "$KUBECONFIG" >/dev/null
	build_image
	kind load image-archive bin/image.tar --name "$CLUSTER"
}
prepare_current() {
	KUBECTL=$(command -v kubectl) || die "DEMO_KUBECONFIG=current needs kubectl in PATH"
	KUBECONFIG=${KUBECONFIG:-$HOME/.kube/config}
	IMAGE=$IMAGE_REPO:$VERSION
	make --no-print-directory image IMAGE="$IMAGE" VERSION="$VERSION"
	bin/image --kraftd bin/kraftd --manager bin/manager --tag "$IMAGE" --push "$IMAGE"
}
build_image() {
	IMAGE=kraft.local/kraft-operator:$VERSION
	make --no-print-directory image IMAGE="$IMAGE" VERSION="$VERSION"
}

install_operator() {
	if ! k get crd kraftclusters.kraft.dev >/dev/null 2>&1; then touch "$STATE/made-crd"; fi
	k get namespace $NAMESPACE_OPERATOR >/dev/null 2>&1 || touch "$STATE/made-operator"
	operator_manifest "$IMAGE" | k apply -f - >/dev/null
	k -n $NAMESPACE_OPERATOR rollout status deployment/kraft-operator --timeout=120s
}

k() { "$KUBECTL" --kubeconfig "$KUBECONFIG" "$@"; }
field() { k -n "$NS" get kraftcluster demo -o "jsonpath=$1"; }
condition() { field "{.status.conditions[?(@.type==\"$1\")].status}"; }
ready() { [ "$(condition Ready)" = True ] && [ "$(field '{.status.observedGeneration}')" = "$(field '{.metadata.generation}')" ]; }

# in_pod NAME ARGS… runs kraftd as a pod of its own and prints what it says.
in_pod() {
	local name=$1 overrides
	shift
	k -n "$NS" delete pod "$name" --ignore-not-found --wait >/dev/null
	overrides='{"spec":{"securityContext":{"runAsNonRoot":true,"runAsUser":65532,"seccompProfile":{"type":"RuntimeDefault"}},"automountServiceAccountToken":false,"containers":[{"name":"'$name'","image":"'$IMAGE'","imagePullPolicy":"IfNotPresent","command":["/kraftd"],"args":'$(json_array "$@")',"securityContext":{"allowPrivilegeEscalation":false,"readOnlyRootFilesystem":true,"capabilities":{"drop":["ALL"]}}}]}}'
	k -n "$NS" run "$name" --image "$IMAGE" --restart=Never --overrides "$overrides" >/dev/null
	if ! k -n "$NS" wait pod "$name" --for=jsonpath='{.status.phase}'=Succeeded --timeout=120s >/dev/null; then
		k -n "$NS" logs "$name" >&2 || true
		die "pod $name did not succeed"
	fi
	k -n "$NS" logs "$name"
}
json_array() {
	local out="" a
	for a in "$@"; do out="$out,\"$a\""; done
	echo "[${out#,}]"
}

# a_broker prints an address of a broker that the host reaches, from the status.
external() { field '{.status.listeners[?(@.name=="external")].bootstrapServers}'; }

kcat_bin() {
	if ! command -v kcat >/dev/null; then
		say "installing kcat" >&2
		{ apt-get update && apt-get install -y --no-install-recommends --no-remove kcat; } >&2 || die "kcat is missing: install it (Debian package kcat)"
	fi
	command -v kcat
}

records() {
	local bootstrap lines=$STATE/kcat.lines kcat leader pod topic
	bootstrap=$(external)
	topic=demo-$(date +%s) # a run's books are about its own topic
	say "a topic with 6 partitions and 3 replicas, made by a pod"
	in_pod demo-topic topic create "$topic" --partitions 6 --replication-factor 3 --bootstrap-server demo-bootstrap:9092
	kcat=$(kcat_bin)
	say "50,000 records by franz-go and 50,000 by kcat, acks=all, through $bootstrap"
	bin/kraftload lines --records 50000 >"$lines"
	bin/kraftload run --bootstrap "$bootstrap" --topic "$topic" --records 50000 --rate 4000 --kcat "$lines" --after "$STATE/kcat.done" >"$STATE/result" 2>&1 &
	local load=$!
	( "$kcat" -P -b "$bootstrap" -t "$topic" -X acks=all -X enable.idempotence=true <"$lines" && touch "$STATE/kcat.done" ) &
	leader=$(field '{.status.quorum.leader}')
	pod=$(k -n "$NS" get pods -l "kraft.dev/node-id=$leader" -o name)
	say "meanwhile: deleting the active controller ($pod)"
	k -n "$NS" delete "$pod" --wait=false
	pod=$(k -n "$NS" get pods -l kraft.dev/pool=brokers -o 'jsonpath=pod/{.items[0].metadata.name}')
	say "meanwhile: deleting a broker ($pod)"
	k -n "$NS" delete "$pod" --wait=false
	wait $load || { cat "$STATE/result"; die "records were lost, duplicated or refused"; }
	say "read back by a pod, too"
	in_pod demo-consume consume --topic "$topic" --from-beginning --max-records 100000 --quiet --group "$topic" --bootstrap-server demo-bootstrap:9092
	wait_for 120 "the cluster is Ready again" ready || die "not Ready again: $(field '{.status.conditions}')"
}

up() {
	local where began
	VERSION=$(git describe --tags --always --dirty 2>/dev/null || echo dev)
	where=$(target)
	if [ "$where" = current ] && [ -z "${IMAGE_REPO:-}" ]; then
		die "DEMO_KUBECONFIG=current: set IMAGE_REPO to a repository that the cluster pulls from and you may push to, such as IMAGE_REPO=ghcr.io/me/kraft-operator"
	fi
	mkdir -p "$STATE"
	rm -f "$STATE"/kcat.* "$STATE/result"
	echo "$where" >"$STATE/target"
	say "Kubernetes: $where"
	"prepare_$where"
	export KUBECONFIG
	say "installing the operator ($IMAGE)"
	install_operator
	say "applying config/samples/kraftcluster.yaml"
	k create namespace "$NS" --dry-run=client -o yaml | k annotate --local -f - "$MARK=true" -o yaml | k label --local -f - pod-security.kubernetes.io/enforce=restricted -o yaml | k apply -f - >/dev/null
	began=$(date +%s%3N)
	k -n "$NS" apply -f config/samples/kraftcluster.yaml
	wait_for 180 "Ready" ready || { k -n "$NS" get kraftcluster,pods; die "not Ready: $(field '{.status.conditions}')"; }
	say "Ready after $(($(date +%s%3N) - began)) ms"
	k -n "$NS" get kraftcluster
	records
	k -n "$NS" get kraftcluster demo
	say "the cluster stays up; try next:"
	cat <<T
  export KUBECONFIG=$KUBECONFIG
  $KUBECTL -n $NS get kraftcluster demo -o yaml
  $KUBECTL -n $NS scale kraftcluster demo --replicas 4
  kcat -b $(external) -L
  make demo-down
T
	tail -n 1 "$STATE/result"
}

down() {
	local where
	where=$(cat "$STATE/target" 2>/dev/null || target)
	case $where in
	localkube) "$(localkube_bin)" --name "$CLUSTER" down ;;
	kind) kind delete cluster --name "$CLUSTER" ;;
	current)
		KUBECTL=$(command -v kubectl)
		KUBECONFIG=${KUBECONFIG:-$HOME/.kube/config}
		if [ "$(k get namespace "$NS" -o "jsonpath={.metadata.annotations.kraft\.dev/demo}" 2>/dev/null)" = true ]; then
			k delete namespace "$NS" --wait
		fi
		if [ -e "$STATE/made-operator" ]; then
			# The CRD stays if it stood before, and with it everything that others made of it.
			operator_manifest none | { [ -e "$STATE/made-crd" ] && cat || k annotate --local -f - x=y -o yaml --selector '!kraft.dev/crd'; } | k delete --ignore-not-found -f - >/dev/null
		fi ;;
	esac
	rm -rf "$STATE"
}

case ${1:-up} in
up) up ;;
down) down ;;
*) die "usage: hack/demo.sh up|down" ;;
esac
