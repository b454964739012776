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

# install_packages NAME… installs Debian packages, or says what is missing.
install_packages() {
	[ $# -gt 0 ] || return 0
	[ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || die "missing: $*: install them, or run this as root on Debian"
	say "installing $*"
	apt-get update -q >/dev/null
	DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "$@" >/dev/null
}

# kafka_jars puts Apache Kafka's jars from Maven into kafka-$KAFKA_VERSION/libs of the cache, once, and Java where there is none. What only a
# server and the metadata shell need beside them is in more: with a log4j binding the tools would log into their output.
KAFKA_VERSION=4.3.1
kafka_jars() {
	local dir=$CACHE/kafka-$KAFKA_VERSION missing=()
	command -v java >/dev/null || missing+=(openjdk-17-jre-headless)
	[ -f "$dir/.complete" ] && [ -f "$dir/.more" ] || command -v mvn >/dev/null || missing+=(maven)
	install_packages "${missing[@]}"
	if [ ! -f "$dir/.complete" ]; then
		say "Apache Kafka $KAFKA_VERSION's jars"
		fetch_jars "$dir/libs" org.apache.kafka:kafka_2.13:$KAFKA_VERSION org.apache.kafka:kafka-tools:$KAFKA_VERSION
		touch "$dir/.complete"
	fi
	if [ ! -f "$dir/.more" ]; then
		say "its metadata shell, and a log4j binding"
		local all=$dir/all jar
		rm -rf "$all" "$dir/more"
		fetch_jars "$all" org.apache.kafka:kafka_2.13:$KAFKA_VERSION org.apache.kafka:kafka-shell:$KAFKA_VERSION org.apache.logging.log4j:log4j-slf4j-impl:2.25.4
		mkdir -p "$dir/more"
		for jar in "$all"/*.jar; do
			[ -f "$dir/libs/${jar##*/}" ] || mv "$jar" "$dir/more/"
		done
		rm -rf "$all"
		touch "$dir/.more"
	fi
}

# fetch_jars DIR GROUP:ARTIFACT:VERSION… puts artifacts and what they depend on into a folder.
fetch_jars() {
	local dir=$1 pom a
	shift
	pom=$(mktemp -d)
	{
		echo '<project><modelVersion>4.0.0</modelVersion><groupId>dev.kraft</groupId><artifactId>interop</artifactId><version>1</version><dependencies>'
		for a in "$@"; do
			IFS=: read -r group artifact version <<<"$a"
			echo "<dependency><groupId>$group</groupId><artifactId>$artifact</artifactId><version>$version</version></dependency>"
		done
		echo '</dependencies></project>'
	} >"$pom/pom.xml"
	mvn -q -B -f "$pom/pom.xml" dependency:copy-dependencies -DoutputDirectory="$dir" || { rm -rf "$pom"; return 1; }
	rm -rf "$pom"
}
