# Shared by the scripts of this folder: where things are, and a Kubernetes to use. Source it from the repository's root.
CACHE=${CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/kraft-operator}
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
BIN=$ROOT/bin
NAMESPACE_OPERATOR=kraft-system

say() { printf '\033[1m==> %s\033[0m\n' "$*"; }
die() { printf 'error: %s\n' "$*" >&2; exit 1; }

# localkube_bin builds hack/localkube if its sources changed, and prints the binary's path.
localkube_bin() {
	mkdir -p "$CACHE/bin"
	(cd "$ROOT/hack/localkube" && CGO_ENABLED=0 go build -o "$CACHE/bin/localkube" .)
	echo "$CACHE/bin/localkube"
}

# assets prints a folder with kube-apiserver, etcd and kubectl, building them if this machine has none.
assets() { "$(localkube_bin)" assets; }

# operator_manifest IMAGE prints config/default with the image set.
operator_manifest() {
	"$KUBECTL" kustomize "$ROOT/config/default" | sed "s#image: kraft.local/kraft-operator:dev#image: $1#"
}

# wait_for SECONDS WHAT COMMAND… tries a command until it succeeds.
wait_for() {
	local deadline=$((SECONDS + $1)) what=$2
	shift 2
	until "$@" >/dev/null 2>&1; do
		[ "$SECONDS" -lt "$deadline" ] || return 1
		sleep 0.2
	done
}
