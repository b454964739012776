#!/usr/bin/env bash
# The demo: a real Kubernetes, the operator, the sample, 100,000 records through two failures, and a closing line.
#   hack/demo.sh up     make demo
#   hack/demo.sh down   make demo-down
# Where it runs: the current context with DEMO_KUBECONFIG=current (needs IMAGE_REPO), else kind where a container
# engine answers, else hack/localkube.
#   DEMO_CLUSTER, DEMO_NAMESPACE, DEMO_RECORDS   names and number, if not the usual ones; 0 records: no load, no failures
set -euo pipefail
cd "$(dirname "$0")/.."
. hack/lib.sh
NS=${DEMO_NAMESPACE:-kraft-demo}
CLUSTER=${DEMO_CLUSTER:-kraft-demo}
RECORDS=${DEMO_RECORDS:-100000}
MARK=kraft.dev/demo # annotation on what a demo made in a cluster, so that demo-down removes nothing else
CONTEXT=            # of the kubeconfig, where it isn't the demo's own

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
	CONTEXT=$(k config current-context) || die "DEMO_KUBECONFIG=current: $KUBECONFIG has no current context"
	refuse_strangers
	local digest
	make --no-print-directory build VERSION="$VERSION"
	digest=$(bin/image --kraftd bin/kraftd --manager bin/manager --push "$IMAGE_REPO:$VERSION" | tee /dev/stderr | grep -o 'sha256:[0-9a-f]\{64\}')
	IMAGE=$IMAGE_REPO@$digest # this very image, whatever a node has under the tag
}
build_image() {
	IMAGE=kraft.local/kraft-operator:$VERSION
	make --no-print-directory image IMAGE="$IMAGE" VERSION="$VERSION"
}

# mine KIND NAME… tells whether a demo made this object. absent tells that it isn't there.
mine() {
	local said
	said=$(k get "$@" --ignore-not-found -o 'jsonpath={.metadata.annotations.kraft\.dev/demo}') || die "can't tell whose $* is"
	[ "$said" = true ]
}
absent() {
	local said
	said=$(k get "$@" --ignore-not-found -o name) || die "can't tell whether $* is there"
	[ -z "$said" ]
}

# others prints the KRaftClusters that aren't the demo's.
others() {
	absent crd kraftclusters.kraft.dev || k get kraftclusters -A -o 'jsonpath={range .items[*]}{.metadata.namespace}/{.metadata.name}{"\n"}{end}' | grep -vx "$NS/demo" || true
}

# refuse_strangers ends the demo where it would change or take over what somebody else made.
refuse_strangers() {
	local name found
	for name in "$NS" $NAMESPACE_OPERATOR; do
		absent namespace "$name" || mine namespace "$name" || die "namespace $name stands in context $CONTEXT already and isn't a demo's: delete it, or $([ "$name" = "$NS" ] && echo "set DEMO_NAMESPACE to another name" || echo "use the operator that is there")"
	done
	found=$(k get deployments -A -l app.kubernetes.io/name=kraft-operator -o 'jsonpath={range .items[*]}{.metadata.namespace}/{.metadata.name} {end}' | sed "s#$NAMESPACE_OPERATOR/kraft-operator ##")
	[ -z "$found" ] || die "an operator stands in context $CONTEXT already ($found): the demo brings its own, and two would meet"
	found=$(others)
	[ -z "$found" ] || die "KRaftClusters stand in context $CONTEXT already ($found): the demo's operator would take them over"
	found=$(for name in $(operator_objects); do absent "$name" || mine "$name" || echo "$name"; done)
	[ -z "$found" ] || die "these stand in context $CONTEXT already and aren't a demo's: $found"
}

# without_crd passes a stream of YAML documents on, but for the definition of the resource.
without_crd() { awk 'BEGIN { RS = "\n---\n" } NF && !/(^|\n)kind: CustomResourceDefinition/ { print "---"; print }'; }

# install_operator marks all that it makes. A definition that stands and isn't a demo's is brought up to date and stays
# unmarked.
install_operator() {
	local mark=
	if absent crd kraftclusters.kraft.dev || mine crd kraftclusters.kraft.dev; then mark=$MARK=true; fi
	"$KUBECTL" kustomize config/crd | { if [ -n "$mark" ]; then k annotate --local -f - "$mark" -o yaml; else cat; fi; } | k apply -f - >/dev/null
	operator_manifest "$IMAGE" | without_crd | k annotate --local -f - "$MARK=true" -o yaml | k apply -f - >/dev/null
	k -n $NAMESPACE_OPERATOR rollout status deployment/kraft-operator --timeout=120s
}

# remove_operator removes what install_operator marked. The definition stays while anybody has a cluster of it.
remove_operator() {
	local name found
	for name in $(operator_objects); do
		! mine "$name" || k delete "$name" --ignore-not-found --wait >/dev/null
	done
	mine crd kraftclusters.kraft.dev || return 0
	found=$(others)
	if [ -n "$found" ]; then
		say "the definition of KRaftCluster stays: others use it ($found)"
	else
		k delete crd kraftclusters.kraft.dev --wait >/dev/null
	fi
}

# operator_objects lists the operator's objects that no namespace holds, and that namespace: with it goes the rest.
operator_objects() {
	operator_manifest none | without_crd | k create --dry-run=client -f - -o name | grep -E '^(namespace|clusterrole.*)/'
}

k() { KUBECONFIG=$KUBECONFIG "$KUBECTL" ${CONTEXT:+--context "$CONTEXT"} "$@"; }
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

# reach tries to connect to each of HOST:PORT,…
reach() {
	local address
	for address in ${1//,/ }; do
		timeout 2 bash -c "exec 3<>/dev/tcp/${address%:*}/${address##*:}" || return 1
	done
}

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
	wait_for 20 "reach" reach "$bootstrap" || die "the brokers' node ports ($bootstrap) can't be reached from here, where the demo's clients run"
	topic=demo-$(date +%s) # a run's books are about its own topic
	say "a topic with 6 partitions and 3 replicas, made by a pod"
	in_pod demo-topic topic create "$topic" --partitions 6 --replication-factor 3 --bootstrap-server demo-bootstrap:9092
	kcat=$(kcat_bin)
	say "$((RECORDS / 2)) records by franz-go and as many by kcat, acks=all, through $bootstrap"
	bin/kraftload lines --records $((RECORDS / 2)) >"$lines"
	bin/kraftload run --bootstrap "$bootstrap" --topic "$topic" --records $((RECORDS / 2)) --rate 4000 --kcat "$lines" --after "$STATE/kcat.done" >"$STATE/result" 2>&1 &
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
	in_pod demo-consume consume --topic "$topic" --from-beginning --max-records $((RECORDS / 2 * 2)) --quiet --group "$topic" --bootstrap-server demo-bootstrap:9092
	wait_for 120 "the cluster is Ready again" ready || die "not Ready again: $(field '{.status.conditions}')"
}

up() {
	local where began
	VERSION=$(git describe --tags --always --dirty 2>/dev/null || echo dev)
	where=$(target)
	if [ "$where" = current ] && [ -z "${IMAGE_REPO:-}" ]; then
		die "DEMO_KUBECONFIG=current: set IMAGE_REPO to a repository that the cluster pulls from and you may push to, such as IMAGE_REPO=ghcr.io/me/kraft-operator"
	fi
	STATE=$CACHE/demo/$where
	mkdir -p "$STATE"
	rm -f "$STATE"/kcat.* "$STATE/result"
	say "Kubernetes: $where"
	"prepare_$where"
	export KUBECONFIG
	remember CLUSTER NS KUBECTL KUBECONFIG CONTEXT
	say "installing the operator ($IMAGE)"
	install_operator
	say "applying config/samples/kraftcluster.yaml"
	k create namespace "$NS" --dry-run=client -o yaml | k annotate --local -f - "$MARK=true" -o yaml | k label --local -f - pod-security.kubernetes.io/enforce=restricted -o yaml | k apply -f - >/dev/null
	began=$(date +%s%3N)
	k -n "$NS" apply -f config/samples/kraftcluster.yaml
	wait_for 180 "Ready" ready || { k -n "$NS" get kraftcluster,pods; die "not Ready: $(field '{.status.conditions}')"; }
	say "Ready after $(($(date +%s%3N) - began)) ms"
	k -n "$NS" get kraftcluster
	[ "$RECORDS" = 0 ] || records
	k -n "$NS" get kraftcluster demo
	say "the cluster stays up; try next:"
	cat <<T
  export KUBECONFIG=$KUBECONFIG
  $KUBECTL -n $NS get kraftcluster demo -o yaml
  $KUBECTL -n $NS scale kraftcluster demo --replicas 4
  kcat -b $(external) -L
  $([ "$where" != current ] || echo "DEMO_KUBECONFIG=current ")make demo-down
T
	[ "$RECORDS" = 0 ] || tail -n 1 "$STATE/result"
}

# remember writes down what demo-down needs, whatever the environment is by then.
remember() {
	local v
	for v in "$@"; do printf '%s=%q\n' "$v" "${!v}"; done >"$STATE/record"
}

# down removes the demo of the target that is asked for; without one asked for, every demo that was written down.
down() {
	local where found=
	if [ -z "${DEMO_KUBECONFIG:-}" ]; then
		for where in localkube kind current; do
			[ ! -d "$CACHE/demo/$where" ] || found="$found $where"
		done
	fi
	[ -n "$found" ] || found=$(target)
	for where in $found; do
		(down_one "$where") # what was written down about one is nothing to the next
	done
}

down_one() {
	STATE=$CACHE/demo/$1
	# shellcheck source=/dev/null
	[ ! -e "$STATE/record" ] || . "$STATE/record"
	case $1 in
	localkube) "$(localkube_bin)" --name "$CLUSTER" down ;;
	kind) kind delete cluster --name "$CLUSTER" ;;
	current)
		KUBECTL=${KUBECTL:-$(command -v kubectl)} || die "DEMO_KUBECONFIG=current needs kubectl in PATH"
		KUBECONFIG=${KUBECONFIG:-$HOME/.kube/config}
		CONTEXT=${CONTEXT:-$(k config current-context)}
		say "removing the demo from context $CONTEXT"
		! mine namespace "$NS" || k delete namespace "$NS" --wait >/dev/null
		remove_operator ;;
	esac
	rm -rf "$STATE"
}

case ${1:-up} in
up) up ;;
down) down ;;
*) die "usage: hack/demo.sh up|down" ;;
esac
