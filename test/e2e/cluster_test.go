//go:build e2e

package e2e_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestKRaftCluster is one story, told in order on one cluster: install, apply, use, break, change, remove.
func TestKRaftCluster(t *testing.T) {
	t.Cleanup(printReport)
	t.Run("helm installs and removes the operator, and the CRD stays", helmInstall)
	t.Run("kustomize installs the operator", kustomizeInstall)
	t.Run("one file makes a cluster", applySample)
	if t.Failed() {
		t.FailNow()
	}
	t.Run("the host's and a pod's clients work", clients)
	t.Run("the active controller's pod is deleted", deleteActiveController)
	t.Run("the active controller is killed", killActiveController)
	t.Run("a broker's pod is deleted", deleteBroker)
	t.Run("voters become five and three again, live", votersBothWays)
	t.Run("a controller's lost disk is replaced", lostControllerDisk)
	t.Run("brokers scale out and in, and nobody is rolled", brokersBothWays)
	t.Run("settings that need no restart are applied without one", settings)
	t.Run("a static setting rolls every node, the active controller last", rollAll)
	t.Run("a rollout to an image that does not exist stops, bears a drain and a lost node, and is mended", func(t *testing.T) { badImage(t, false) })
	t.Run("a node is cut off and healed", cutNode)
	t.Run("hibernated and woken", hibernate)
	t.Run("a quorum that is lost for good is recovered by the commands in status", loseQuorum)
	t.Run("the operator uses the rights it has, and no others", rights)
	t.Run("memory of the nodes", memory)
	t.Run("a deleted cluster keeps its claims, and is the same again", deleteAndRecreate)
	t.Run("the other samples", otherSamples)
}

// manifestImage is what config/manager names; an overlay names another.
const manifestImage = "kraft.local/kraft-operator:dev"

func manifest(t testing.TB, dir string) string {
	t.Helper()
	out := kubectl(t, "kustomize", filepath.Join("..", "..", "config", dir))
	return strings.ReplaceAll(out, manifestImage, env(t, "IMAGE"))
}

func apply(t testing.TB, yaml string, args ...string) string {
	t.Helper()
	out, err := run(t, yaml, env(t, "KUBECTL"), append([]string{"apply", "-f", "-"}, args...)...)
	require.NoError(t, err)
	return out
}

// applySpec makes the cluster, or changes it.
func applySpec(t testing.TB, spec string) {
	t.Helper()
	apply(t, fmt.Sprintf(`{"apiVersion":"kraft.dev/v1alpha1","kind":"KRaftCluster","metadata":{"name":%q},"spec":%s}`, cluster, spec), "-n", namespace)
}

// createNamespace makes the test's namespace, with the strictest rules for pods.
func createNamespace(t testing.TB) {
	t.Helper()
	kubectl(t, "create", "namespace", namespace)
	kubectl(t, "label", "namespace", namespace, "pod-security.kubernetes.io/enforce=restricted")
}

func helmInstall(t *testing.T) {
	helm := env(t, "HELM")
	repo, tag, _ := strings.Cut(env(t, "IMAGE"), ":")
	out, err := run(t, "", helm, "install", "kraft", filepath.Join("..", "..", "charts", "kraft-operator"), "--namespace", "kraft-helm", "--create-namespace",
		"--set", "image.repository="+repo, "--set", "image.tag="+tag, "--wait", "--timeout", "60s")
	require.NoError(t, err, out)
	require.Contains(t, kubectl(t, "-n", "kraft-helm", "get", "deployment"), "1/1")
	_, err = run(t, "", helm, "uninstall", "kraft", "--namespace", "kraft-helm", "--wait")
	require.NoError(t, err)
	require.Contains(t, kubectl(t, "get", "crd"), "kraftclusters.kraft.dev", "the CRD survives an uninstall, or it would take every cluster with it")
	kubectl(t, "delete", "namespace", "kraft-helm")
}

func kustomizeInstall(t *testing.T) {
	rolloutOperator(t, manifest(t, "default"))
	createNamespace(t)
}

func sample(t testing.TB, file string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("..", "..", "config", "samples", file))
	require.NoError(t, err)
	return string(b)
}

func applySample(t *testing.T) {
	began := time.Now()
	apply(t, sample(t, "kraftcluster.yaml"), "-n", namespace)
	eventually(t, "Ready", 2*time.Minute, func() bool { return ready(t, cluster) })
	bench(t, "apply_ready_ms", float64(time.Since(began).Milliseconds()), 10_000, "")
	table := k(t, "get", "kraftcluster", cluster)
	t.Logf("\n%s", table)
	for _, column := range []string{"READY", "VERSION", "LEADER", "VOTERS", "BROKERS", "AGE"} {
		require.Contains(t, table, column)
	}
	zones := map[string]bool{}
	for _, p := range pods(t) {
		if p.Pool == "brokers" {
			zones[p.Node] = true
		}
	}
	require.Len(t, zones, 3, "brokers stand on three nodes, in three zones")
}

func clients(t *testing.T) {
	b := startLoad(t, "clients")
	b.flow()
	b.finish("clients")
	out := inPod(t, "pod-client", "produce", "--topic", "clients", "--records", "1000", "--bootstrap-server", cluster+"-bootstrap:9092")
	require.Contains(t, out, "acked=1000")
	list, err := run(t, "", "kcat", "-b", strings.Join(external(t), ","), "-L", "-J")
	require.NoError(t, err)
	require.Contains(t, list, `"topic":"clients"`)
}

// inPod runs kraftd as a pod and returns what it printed.
func inPod(t testing.TB, name string, args ...string) string {
	t.Helper()
	spec := map[string]any{
		"apiVersion": "v1", "kind": "Pod", "metadata": map[string]any{"name": name},
		"spec": map[string]any{
			"restartPolicy": "Never", "automountServiceAccountToken": false,
			"securityContext": map[string]any{"runAsNonRoot": true, "runAsUser": 65532, "seccompProfile": map[string]any{"type": "RuntimeDefault"}},
			"containers": []any{map[string]any{
				"name": "kraftd", "image": env(t, "IMAGE"), "command": []string{"/kraftd"}, "args": args,
				"securityContext": map[string]any{"allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "capabilities": map[string]any{"drop": []string{"ALL"}}},
			}},
		},
	}
	b, err := json.Marshal(spec)
	require.NoError(t, err)
	apply(t, string(b), "-n", namespace)
	phase := ""
	eventually(t, "pod "+name+" ends", time.Minute, func() bool {
		phase = k(t, "get", "pod", name, "-o", "jsonpath={.status.phase}")
		return phase == "Succeeded" || phase == "Failed"
	})
	out := k(t, "logs", name)
	require.Equal(t, "Succeeded", phase, "pod %s: %s", name, out)
	k(t, "delete", "pod", name, "--wait=false")
	return out
}

func leader(t testing.TB) string { return field(t, "{.status.quorum.leader}") }

func deleteActiveController(t *testing.T) {
	b := startLoad(t, "controller-deleted")
	old := leader(t)
	was := pods(t)[old]
	k(t, "delete", "pod", was.Name, "--wait=false")
	anotherLeads(t, old)
	replaced(t, was)
	backAgain(t, 6)
	b.tail()
	b.finish("active controller deleted").bench(t, "controller_deleted")
}

func killActiveController(t *testing.T) {
	b := startLoad(t, "controller-killed")
	old := leader(t)
	signal(t, pods(t)[old].UID, syscall.SIGKILL)
	anotherLeads(t, old)
	backAgain(t, 6)
	b.tail()
	b.finish("active controller killed")
}

// replaced waits until another pod stands in the place of one.
func replaced(t testing.TB, was pod) {
	t.Helper()
	eventually(t, was.Name+" is replaced", 2*time.Minute, func() bool {
		p, ok := pods(t)[was.NodeID]
		return ok && p.UID != was.UID
	})
}

// backAgain waits until the cluster is Ready with so many pods, all of them Ready.
func backAgain(t testing.TB, nodes int) {
	t.Helper()
	eventually(t, "Ready again", 2*time.Minute, func() bool { return readyPods(t) == nodes && ready(t, cluster) })
}

func readyPods(t testing.TB) (n int) {
	t.Helper()
	for _, p := range pods(t) {
		if p.Ready {
			n++
		}
	}
	return n
}

func deleteBroker(t *testing.T) {
	b := startLoad(t, "broker-deleted")
	was := pods(t)["1000"]
	k(t, "delete", "pod", was.Name, "--wait=false")
	replaced(t, was)
	backAgain(t, 6)
	b.tail()
	b.finish("broker deleted").bench(t, "broker_deleted")
}

func patch(t testing.TB, json string) {
	t.Helper()
	k(t, "patch", "kraftcluster", cluster, "--type=merge", "-p", json)
}

func rollAll(t *testing.T) {
	b := startLoad(t, "rolled")
	before := pods(t)
	var order []string
	patch(t, `{"spec":{"config":{"num.partitions":"9"}}}`)
	crashOperatorMidway(t)
	eventually(t, "every pod was replaced", 5*time.Minute, func() bool {
		for id, p := range pods(t) {
			if p.UID != before[id].UID && p.Ready && !slices.Contains(order, id) {
				order = append(order, id)
			}
		}
		return len(order) == len(before) && ready(t, cluster)
	})
	t.Logf("order of the roll: %v", order)
	for _, id := range order[:3] {
		require.Equal(t, "controllers", before[id].Pool, "controllers come before brokers: %v", order)
	}
	b.tail()
	b.finish("everything rolled, the operator killed meanwhile").bench(t, "roll")
	awaitEvent(t, "Restart") // each restart is an event with its reason
}

func badImage(t *testing.T, crash bool) {
	b := startLoad(t, "bad-image")
	before := pods(t)
	image := field(t, "{.status.image}")
	patch(t, `{"spec":{"image":"kraft.local/kraft-operator:does-not-exist"}}`)
	eventually(t, "the rollout stops at the first pod", 2*time.Minute, func() bool {
		return condition(t, cluster, "Stalled") == "True"
	})
	changed := 0
	var broken pod
	for id, p := range pods(t) {
		if p.UID != before[id].UID {
			changed++
			broken = p
		}
	}
	require.Equal(t, 1, changed, "one pod was given the bad image")
	t.Logf("stopped at %s", broken.Name)

	// Draining a node must respect the budgets that the broken pod has already used up.
	var drained string
	for _, p := range pods(t) {
		if p.NodeID != broken.NodeID && p.Node != broken.Node && p.Node != "" {
			drained = p.Node
			break
		}
	}
	out, err := run(t, "", env(t, "KUBECTL"), "drain", drained, "--ignore-daemonsets", "--delete-emptydir-data", "--force", "--timeout=15s", "--pod-selector=kraft.dev/cluster="+cluster)
	t.Logf("drain of %s: %v\n%s", drained, err, tail(out, 5))
	b.flow()
	if crash {
		crashOperator(t)
	}
	kubectl(t, "uncordon", drained)
	eventually(t, "all but the broken pod are back", 2*time.Minute, func() bool { return readyPods(t) == len(before)-1 })

	// Then the power of another machine fails, the one with the broken pod: whatever ran there goes too. Two voters and, of each
	// partition, the replicas in two zones are left.
	b.flow()
	localkube(t, "node", "stop", broken.Node)
	eventually(t, "the loss is noticed", 2*time.Minute, func() bool { return !nodeReady(t, broken.Node) })
	b.flow()
	// Two of three voters are a quorum, and every partition has its min.insync.replicas.
	eventually(t, "it is said to serve", 30*time.Second, func() bool { return condition(t, cluster, "Available") == "True" })
	localkube(t, "node", "start", broken.Node)
	b.flow()

	patch(t, fmt.Sprintf(`{"spec":{"image":%q}}`, image))
	eventually(t, "mended: Ready with the right image everywhere", 5*time.Minute, func() bool {
		return ready(t, cluster) && !strings.Contains(k(t, "get", "pods", "-l", "kraft.dev/cluster="+cluster, "-o", "jsonpath={.items[*].spec.containers[*].image}"), "does-not-exist")
	})
	b.flow()
	b.finish("bad image, drain, mended")
}

// memory compares the resident set of every node with the bar: 32 MiB after load.
func memory(t *testing.T) {
	for _, p := range pods(t) {
		bytes, ok := metric(t, p, "process_resident_memory_bytes")
		require.True(t, ok, "%s says how large it is", p.Name)
		bench(t, "rss_kib_"+p.Name, bytes/1024, 32*1024, "")
	}
}

func deleteAndRecreate(t *testing.T) {
	id := field(t, "{.status.clusterID}")
	claims := k(t, "get", "pvc", "-o", "name")
	yaml := k(t, "get", "kraftcluster", cluster, "-o", `jsonpath={.spec}`)
	k(t, "delete", "kraftcluster", cluster, "--wait")
	eventually(t, "the pods are gone", time.Minute, func() bool { return len(pods(t)) == 0 })
	require.Equal(t, claims, k(t, "get", "pvc", "-o", "name"), "Retain keeps every claim")
	applySpec(t, yaml)
	eventually(t, "Ready over the kept claims", 3*time.Minute, func() bool { return ready(t, cluster) })
	require.Equal(t, id, field(t, "{.status.clusterID}"), "it is the same cluster")
	b := startLoad(t, "recreated")
	b.flow()
	b.finish("re-created")
	k(t, "delete", "kraftcluster", cluster, "--wait")
	eventually(t, "the pods are gone", time.Minute, func() bool { return len(pods(t)) == 0 })
}

func otherSamples(t *testing.T) {
	for file, name := range map[string]string{"kraftcluster-combined.yaml": "combined", "kraftcluster-single.yaml": "single"} {
		apply(t, sample(t, file), "-n", namespace)
		eventually(t, name+" is Ready", 2*time.Minute, func() bool { return ready(t, name) })
		out := inPod(t, "topic-"+name, "topic", "create", "t", "--bootstrap-server", name+"-bootstrap:9092")
		require.Contains(t, out, "created t")
		require.Contains(t, inPod(t, "produce-"+name, "produce", "--topic", "t", "--records", "100", "--bootstrap-server", name+"-bootstrap:9092"), "acked=100")
		inPod(t, "consume-"+name, "consume", "--topic", "t", "--group", "g", "--from-beginning", "--max-records", "100", "--quiet", "--bootstrap-server", name+"-bootstrap:9092")
		k(t, "delete", "kraftcluster", name, "--wait")
	}
}
