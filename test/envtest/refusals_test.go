package envtest

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/kraft-dev/kraft-operator/test/controlplane"
)

// base is a valid cluster of separate roles; edits are applied to it as the paths of a table row say.
const base = `
apiVersion: kraft.dev/v1alpha1
kind: KRaftCluster
metadata: {name: demo, namespace: default}
spec:
  controllers: {replicas: 3, storage: {size: 10Gi}}
  brokers: {replicas: 3, storage: {size: 100Gi, class: fast}}
  listeners:
  - {name: internal, port: 9092, type: Internal}
  - {name: external, port: 9094, type: NodePort}
`

const combined = `
apiVersion: kraft.dev/v1alpha1
kind: KRaftCluster
metadata: {name: demo, namespace: default}
spec:
  controllers: {replicas: 3, roles: [controller, broker], storage: {size: 10Gi}}
`

func object(t *testing.T, text string) *unstructured.Unstructured {
	t.Helper()
	u := &unstructured.Unstructured{}
	require.NoError(t, yaml.Unmarshal([]byte(text), &u.Object))
	return u
}

// edit sets a dotted path to a value written in YAML; "-" removes it.
func edit(t *testing.T, u *unstructured.Unstructured, path, value string) {
	t.Helper()
	fields := strings.Split(path, "/")
	if value == "-" {
		unstructured.RemoveNestedField(u.Object, fields...)
		return
	}
	var v any
	require.NoError(t, yaml.Unmarshal([]byte("v: "+value), &v))
	require.NoError(t, unstructured.SetNestedField(u.Object, v.(map[string]any)["v"], fields...))
}

// TestAnImpossibleClusterIsRefusedWhenApplied: the message names the field and the way out.
func TestAnImpossibleClusterIsRefusedWhenApplied(t *testing.T) {
	many := func(n int) string {
		var b strings.Builder
		b.WriteString("{")
		for i := range n {
			fmt.Fprintf(&b, "listener.name.l%d.max.connections: '1', ", i)
		}
		return b.String() + "}"
	}
	for _, tc := range []struct {
		name, from string
		edits      []string // path, value, ...
		want       []string // parts of the message; none: accepted
	}{
		{name: "as it stands", from: base},
		{name: "combined", from: combined},
		{"no controller", base, []string{"spec/controllers/replicas", "0"}, []string{"spec.controllers.replicas", "use 1 or 3"}},
		{"a negative number of controllers", base, []string{"spec/controllers/replicas", "-1"}, []string{"spec.controllers.replicas", "use 1 or 3"}},
		{"an even number of controllers", base, []string{"spec/controllers/replicas", "4"}, []string{"spec.controllers.replicas", "set spec.quorum.voters to an odd number"}},
		{"two controllers", base, []string{"spec/controllers/replicas", "2"}, []string{"spec.controllers.replicas", "even"}},
		{"four controllers of which three vote", base, []string{"spec/controllers/replicas", "4", "spec/quorum", "{voters: 3}"}, nil},
		{"eleven voters", base, []string{"spec/controllers/replicas", "11"}, []string{"spec.controllers.replicas", "spec.quorum.voters"}},
		{"even voters", base, []string{"spec/quorum", "{voters: 2}"}, []string{"spec.quorum.voters", "must be odd", "use 1, 3 or 5"}},
		{"more voters than controllers", base, []string{"spec/quorum", "{voters: 5}"}, []string{"spec.quorum.voters", "raise spec.controllers.replicas"}},
		{"replaceAfter that isn't a duration", base, []string{"spec/quorum", "{replaceAfter: soon}"}, []string{"spec.quorum.replaceAfter", "such as 90s"}},
		{"replaceAfter too short", base, []string{"spec/quorum", "{replaceAfter: 1s}"}, []string{"spec.quorum.replaceAfter", "10s or more"}},
		{"controllers without the role", base, []string{"spec/controllers/roles", "[broker]"}, []string{"spec.controllers.roles", "must have controller"}},
		{"an unknown role", base, []string{"spec/controllers/roles", "[controller, zookeeper]"}, []string{"spec.controllers.roles", "zookeeper"}},
		{"separate roles without brokers", base, []string{"spec/brokers", "-"}, []string{"spec.brokers", "add the role broker"}},
		{"combined roles with brokers", base, []string{"spec/controllers/roles", "[controller, broker]"}, []string{"spec.brokers", "must be absent"}},
		{"no storage for the controllers", base, []string{"spec/controllers/storage", "-"}, []string{"spec.controllers.storage", "Required"}},
		{"no storage for the brokers", base, []string{"spec/brokers/storage", "-"}, []string{"spec.brokers.storage", "Required"}},
		{"no brokers", base, []string{"spec/brokers/replicas", "0"}, []string{"spec.brokers.replicas", "spec.hibernated"}},
		{"a size that isn't a quantity", base, []string{"spec/brokers/storage/size", "big"}, []string{"spec.brokers.storage.size", "not a quantity", "10Gi"}},
		{"a size of nothing", base, []string{"spec/brokers/storage/size", "'0'"}, []string{"spec.brokers.storage.size", "not a quantity"}},
		{"a size without a unit", base, []string{"spec/brokers/storage/size", "10"}, []string{"spec.brokers.storage.size", "a unit"}},
		{"memory that isn't a quantity", base, []string{"spec/brokers/resources", "{limits: {memory: lots}}"}, []string{"spec.brokers.resources.limits", "not a quantity: memory"}},
		{"cpu as a number", base, []string{"spec/brokers/resources", "{requests: {cpu: 1, memory: 512Mi}}"}, nil},
		{"an unknown resource", base, []string{"spec/brokers/resources", "{requests: {ram: 1Gi}}"}, []string{"spec.brokers.resources.requests", "unknown resource"}},
		{"an owned key", base, []string{"spec/config", "{node.id: '7'}"}, []string{"spec.config", "the operator sets node.id"}},
		{"listeners as a key", base, []string{"spec/config", "{listeners: 'PLAINTEXT://:9092'}"}, []string{"spec.config", "the operator sets listeners: use spec.listeners"}},
		{"process.roles as a key", base, []string{"spec/config", "{process.roles: broker}"}, []string{"spec.config", "use spec.controllers.roles"}},
		{"log.dirs as a key", base, []string{"spec/config", "{log.dirs: /x}"}, []string{"spec.config", "use spec.controllers.storage"}},
		{"quorum voters as a key", base, []string{"spec/config", "{controller.quorum.voters: '1@a:9093'}"}, []string{"spec.config", "use spec.quorum.voters"}},
		{"a key of ours", base, []string{"spec/config", "{kraft.cluster.id: x}"}, []string{"spec.config", "the operator sets kraft.cluster.id"}},
		{"lost brokers replaced too soon", base, []string{"spec/brokers/replaceAfter", "5s"}, []string{"spec.brokers.replaceAfter", "10s or more"}},
		{"lost brokers replaced after no time", base, []string{"spec/brokers/replaceAfter", "soon"}, []string{"spec.brokers.replaceAfter", "10s or more"}},
		{"lost brokers replaced", base, []string{"spec/brokers/replaceAfter", "1h30m"}, nil},
		{"an unknown key", base, []string{"spec/config", "{min.insync.replicas: '2', min.insync.replica: '2'}"}, []string{"spec.config", "unknown key: min.insync.replica:"}},
		{"known keys", base, []string{"spec/config", "{min.insync.replicas: '2', num.partitions: '6', listener.name.external.max.connections: '10'}"}, nil},
		{"as many keys as there may be", base, []string{"spec/config", many(64)}, nil},
		{"more keys than there may be", base, []string{"spec/config", many(65)}, []string{"spec.config", "64"}},
		{"a name too long for its pods", base, []string{"metadata/name", strings.Repeat("d", 38)}, []string{"metadata.name", "at most 37"}},
		{"the longest name", base, []string{"metadata/name", strings.Repeat("d", 37)}, nil},
		{"a name that isn't a Service's", base, []string{"metadata/name", "'1.2'"}, []string{"metadata.name", "starting with a letter"}},
		{"no Internal listener", base, []string{"spec/listeners", "[{name: a, port: 9094, type: NodePort}]"}, []string{"spec.listeners", "type Internal"}},
		{"no listeners", base, []string{"spec/listeners", "[]"}, []string{"spec.listeners"}},
		{"two listeners on a port", base, []string{"spec/listeners", "[{name: a, port: 9092}, {name: b, port: 9092}]"}, []string{"spec.listeners", "same port"}},
		{"two listeners of a name", base, []string{"spec/listeners", "[{name: a, port: 9092}, {name: a, port: 9094}]"}, []string{"spec.listeners", "Duplicate"}},
		{"a listener on the controllers' port", base, []string{"spec/listeners", "[{name: a, port: 9093}]"}, []string{"spec.listeners[0]", "9093"}},
		{"a listener called controller", base, []string{"spec/listeners", "[{name: controller, port: 9092}]"}, []string{"spec.listeners[0]", "controller"}},
		{"an advertised host on an Internal listener", base, []string{"spec/listeners", "[{name: a, port: 9092, advertisedHost: h}]"}, []string{"spec.listeners[0]", "NodePort only"}},
		{"a version we don't have", base, []string{"spec/version", "'3.9'"}, []string{"spec.version", "4.3"}},
		{"maxUnavailable of nothing", base, []string{"spec/rolling", "{maxUnavailable: 0}"}, []string{"spec.rolling.maxUnavailable", "1 or more"}},
		{"maxUnavailable over 100%", base, []string{"spec/rolling", "{maxUnavailable: 110%}"}, []string{"spec.rolling.maxUnavailable", "percentage"}},
		{"maxUnavailable as a percentage", base, []string{"spec/rolling", "{maxUnavailable: 25%}"}, nil},
		{"a label of ours", base, []string{"spec/brokers/template", "{labels: {kraft.dev/cluster: x}}"}, []string{"spec.brokers.template.labels", "prefix of your own"}},
		{"an env of ours", base, []string{"spec/brokers/template", "{env: [{name: HOST_IP, value: x}]}"}, []string{"spec.brokers.template.env", "choose another"}},
		{"an adopted id that isn't one", base, []string{"spec/adopt", "{clusterID: x}"}, []string{"spec.adopt.clusterID"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			u := object(t, tc.from)
			for i := 0; i < len(tc.edits); i += 2 {
				edit(t, u, tc.edits[i], tc.edits[i+1])
			}
			requireVerdict(t, kube.Create(t.Context(), u, client.DryRunAll), tc.want)
		})
	}
}

// TestAnEditThatCantBeIsRefused: transition rules, also as two edits (unset, then smaller).
func TestAnEditThatCantBeIsRefused(t *testing.T) {
	for i, tc := range []struct {
		name, from  string
		path, value string
		want        []string
	}{
		{"storage grows", base, "spec/brokers/storage/size", "200Gi", nil},
		{"storage in another unit", base, "spec/brokers/storage/size", "102400Mi", nil},
		{"storage shrinks", base, "spec/brokers/storage/size", "50Gi", []string{"spec.brokers.storage", "can't shrink"}},
		{"controllers' storage shrinks", base, "spec/controllers/storage/size", "1Gi", []string{"spec.controllers.storage", "can't shrink"}},
		{"size unset", base, "spec/brokers/storage/size", "-", []string{"spec.brokers.storage.size", "Required"}},
		{"storage unset", base, "spec/brokers/storage", "-", []string{"spec.brokers.storage", "Required"}},
		{"brokers unset", base, "spec/brokers", "-", []string{"spec.brokers", "required"}},
		{"class changed", base, "spec/brokers/storage/class", "slow", []string{"spec.brokers.storage", "class can't be changed"}},
		{"class unset", base, "spec/brokers/storage/class", "-", []string{"spec.brokers.storage", "class can't be changed"}},
		{"class set later", base, "spec/controllers/storage/class", "fast", []string{"spec.controllers.storage", "class can't be changed"}},
		{"roles changed", combined, "spec/controllers/roles", "[controller]", []string{"spec.controllers.roles", "can't be changed"}},
		{"scaled while combined", combined, "spec/brokers", "{replicas: 5}", []string{"spec.brokers.storage", "Required"}},
		{"a listener's port", base, "spec/listeners", "[{name: internal, port: 9192, type: Internal}, {name: external, port: 9094, type: NodePort}]", []string{"spec.listeners[0]", "add another listener, move the clients there"}},
		{"the other listener's port", base, "spec/listeners", "[{name: internal, port: 9092, type: Internal}, {name: external, port: 9194, type: NodePort}]", []string{"spec.listeners[1]", "add another listener"}},
		{"a listener's type", base, "spec/listeners", "[{name: internal, port: 9092, type: Internal}, {name: external, port: 9094, type: Internal}]", []string{"spec.listeners[1]", "port and type"}},
		{"the first listener's name", base, "spec/listeners", "[{name: inside, port: 9092, type: Internal}, {name: external, port: 9094, type: NodePort}]", []string{"spec.listeners", "keep its name and its place"}},
		{"the first listener replaced", base, "spec/listeners", "[{name: inside, port: 9192, type: Internal}, {name: internal, port: 9092, type: Internal}]", []string{"spec.listeners", "add others after it"}},
		{"the first listener taken off", base, "spec/listeners", "[{name: inside, port: 9192, type: Internal}]", []string{"spec.listeners", "keep its name"}},
		{"no Internal listener", base, "spec/listeners", "[{name: external, port: 9094, type: NodePort}]", []string{"one listener of type Internal"}},
		{"a listener more, in front", base, "spec/listeners", "[{name: other, port: 9095, type: NodePort}, {name: internal, port: 9092, type: Internal}, {name: inside, port: 9192, type: Internal}]", nil},
		{"other listeners taken off", base, "spec/listeners", "[{name: internal, port: 9092, type: Internal}]", nil},
		{"another node port", base, "spec/listeners", "[{name: internal, port: 9092, type: Internal}, {name: external, port: 9094, type: NodePort, bootstrapNodePort: 30999}]", nil},
		{"brokers scaled", base, "spec/brokers/replicas", "5", nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			u := object(t, tc.from)
			u.SetName(fmt.Sprintf("edit-%d", i))
			require.NoError(t, kube.Create(t.Context(), u))
			edit(t, u, tc.path, tc.value)
			requireVerdict(t, kube.Update(t.Context(), u), tc.want)
		})
	}
}

// TestAnEditThatTheStatusForbids: what the cluster is can't be edited away, and no such rule holds up anything else.
func TestAnEditThatTheStatusForbids(t *testing.T) {
	const own, other = "AAAAAAAAAAAAAAAAAAAAAQ", "AAAAAAAAAAAAAAAAAAAAAg"
	made := func(t *testing.T, name, from string, status map[string]any) *unstructured.Unstructured {
		u := object(t, from)
		u.SetName(name)
		require.NoError(t, kube.Create(t.Context(), u))
		report(t, u, status)
		return u
	}
	formed := map[string]any{"clusterID": own, "formed": true}
	for i, tc := range []struct {
		name, from  string
		status      map[string]any
		path, value string
		want        []string
	}{
		{"its own id", base, formed, "spec/adopt", "{clusterID: " + own + "}", nil},
		{"no id", base, formed, "spec/adopt", "{clusterID: ''}", nil},
		{"another's id", base, formed, "spec/adopt", "{clusterID: " + other + "}", []string{"spec.adopt.clusterID", "stays it"}},
		{"an id before it has one", base, nil, "spec/adopt", "{clusterID: " + other + "}", nil},
		{"fewer combined nodes", combined, formed, "spec/controllers/replicas", "1", []string{"spec.controllers.replicas", "combined nodes may hold replicas"}},
		{"fewer combined nodes, while it forms", combined, map[string]any{"clusterID": own}, "spec/controllers/replicas", "1", nil},
		{"more combined nodes", combined, formed, "spec/controllers/replicas", "5", nil},
		{"fewer combined voters", combined, formed, "spec/quorum", "{voters: 1}", nil},
		{"fewer controllers", base, formed, "spec/controllers/replicas", "1", nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			u := made(t, fmt.Sprintf("status-%d", i), tc.from, tc.status)
			edit(t, u, tc.path, tc.value)
			requireVerdict(t, kube.Update(t.Context(), u), tc.want)
		})
	}
	t.Run("in the forbidden state already", func(t *testing.T) {
		from := object(t, base)
		edit(t, from, "spec/adopt", "{clusterID: "+other+"}")
		text, err := yaml.Marshal(from.Object)
		require.NoError(t, err)
		u := made(t, "status-clash", string(text), formed)
		report(t, u, map[string]any{"clusterID": own, "formed": true, "version": "4.3"})
		u.SetLabels(map[string]string{"a": "b"})
		require.NoError(t, kube.Update(t.Context(), u), "a label")
		edit(t, u, "spec/brokers/replicas", "5")
		require.NoError(t, kube.Update(t.Context(), u), "another field")
		edit(t, u, "spec/adopt", "-")
		require.NoError(t, kube.Update(t.Context(), u), "the way out")
	})
}

// report writes the status, as the operator does.
func report(t *testing.T, u *unstructured.Unstructured, status map[string]any) {
	t.Helper()
	now, _, err := unstructured.NestedMap(u.Object, "status")
	require.NoError(t, err)
	if now == nil {
		now = map[string]any{}
	}
	maps.Copy(now, status)
	require.NoError(t, unstructured.SetNestedMap(u.Object, now, "status"))
	require.NoError(t, kube.Status().Update(t.Context(), u))
}

func requireVerdict(t *testing.T, err error, want []string) {
	t.Helper()
	if want == nil {
		require.NoError(t, err)
		return
	}
	require.Error(t, err)
	for _, w := range want {
		require.Contains(t, err.Error(), w)
	}
}

// TestStatusStartsUnobserved: kstatus and Flux must not take a new object for a finished one.
func TestStatusStartsUnobserved(t *testing.T) {
	u := object(t, base)
	u.SetName("unobserved")
	require.NoError(t, kube.Create(t.Context(), u))
	n, found, err := unstructured.NestedInt64(u.Object, "status", "observedGeneration")
	require.NoError(t, err)
	require.True(t, found)
	require.Equal(t, int64(-1), n)
}

// TestCRDsStayUnder200KB: plain kubectl apply keeps the object in an annotation of at most 262,144 bytes.
func TestCRDsStayUnder200KB(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(controlplane.CRDs(), "*.yaml"))
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, f := range files {
		b, err := os.ReadFile(f)
		require.NoError(t, err)
		require.Less(t, len(b), 200_000, f)
	}
}
