# KEDA from its own sources, for hack/e2e.sh, which sources it: its two images in $CLUSTER, and its own manifests with them in $KEDA_CONFIG.
KEDA_VERSION=v2.20.2
keda=$CACHE/keda
sources=$(cd "$(mktemp -d)" && go mod download -json "github.com/kedacore/keda/v2@$KEDA_VERSION" | sed -n 's/^\t"Dir": "\(.*\)",$/\1/p')
[ -d "$sources" ] || die "KEDA's sources weren't downloaded"
mkdir -p "$keda"
for component in operator adapter; do
	say "KEDA's $component"
	CGO_ENABLED=0 go build -C "$sources" -ldflags '-s -w' -o "$keda/$component" "./cmd/$component"
done
"$BIN/image" --file "$keda/operator:/keda" --tag "kraft.local/keda:$KEDA_VERSION" --out "$keda/operator.tar"
"$BIN/image" --file "$keda/adapter:/keda-adapter" --tag "kraft.local/keda-metrics-apiserver:$KEDA_VERSION" --out "$keda/adapter.tar"
for component in operator adapter; do
	"$LOCALKUBE" --name "$CLUSTER" load "$keda/$component.tar"
done
rm -rf "$keda/config" "$KEDA_CONFIG"
cp -r "$sources/config" "$keda/config"
chmod -R u+w "$keda/config"
mkdir -p "$KEDA_CONFIG"
cat >"$KEDA_CONFIG/kustomization.yaml" <<EOF
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
resources: [../config/minimal]
images:
- {name: ghcr.io/kedacore/keda, newName: kraft.local/keda, newTag: $KEDA_VERSION}
- {name: ghcr.io/kedacore/keda-metrics-apiserver, newName: kraft.local/keda-metrics-apiserver, newTag: $KEDA_VERSION}
patches:
- target: {kind: Deployment}
  patch: '[{"op": "replace", "path": "/spec/template/spec/containers/0/imagePullPolicy", "value": "IfNotPresent"}]'
- target: {kind: Deployment, name: keda-operator} # without its admission webhooks
  patch: '[{"op": "add", "path": "/spec/template/spec/containers/0/args/-", "value": "--enable-webhook-patching=false"}]'
EOF
