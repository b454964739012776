//go:build e2e

package e2e_test

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// processes are the pids of a pod's containers as this machine sees them, its sandbox left out. Every process of a pod is in a
// control group that has the pod's UID in its name.
func processes(t testing.TB, uid string) (out []int) {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/cgroup")
	require.NoError(t, err)
	for _, f := range files {
		groups, err := os.ReadFile(f)
		if err != nil || !strings.Contains(strings.ReplaceAll(string(groups), "_", "-"), "pod"+uid) {
			continue // or it has ended meanwhile
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(f)))
		require.NoError(t, err)
		if name, err := os.ReadFile(filepath.Join(filepath.Dir(f), "comm")); err == nil && strings.TrimSpace(string(name)) != "pause" {
			out = append(out, pid)
		}
	}
	return out
}

// signal sends a signal to a pod's process, as nobody in Kubernetes does.
func signal(t testing.TB, uid string, sig syscall.Signal) {
	t.Helper()
	pids := processes(t, uid)
	require.NotEmpty(t, pids, "no process of pod %s", uid)
	for _, pid := range pids {
		require.NoError(t, syscall.Kill(pid, sig))
	}
}

// cutPod takes the network from one pod, and heal gives it back. Its node doesn't notice: a probe of the kubelet is let through.
func cutPod(t testing.TB, p pod) (heal func()) {
	t.Helper()
	pids := processes(t, p.UID)
	require.NotEmpty(t, pids)
	nft := func(rules string) {
		out, err := run(t, rules, "nsenter", "-t", fmt.Sprint(pids[0]), "-n", "nft", "-f", "-")
		require.NoError(t, err, out)
	}
	gateway, err := run(t, "", "nsenter", "-t", fmt.Sprint(pids[0]), "-n", "ip", "-4", "route", "show", "default")
	require.NoError(t, err)
	fields := strings.Fields(gateway) // default via ADDRESS dev eth0
	require.Greater(t, len(fields), 2, gateway)
	nft(fmt.Sprintf(`table inet cut {
  chain in { type filter hook input priority 0; policy drop; iif lo accept; ip saddr %[1]s accept; }
  chain out { type filter hook output priority 0; policy drop; oif lo accept; ip daddr %[1]s accept; }
}
`, fields[2]))
	return func() { nft("delete table inet cut\n") }
}

// operator is the pod of the operator that is to lead next, or does.
func operator(t testing.TB) pod {
	t.Helper()
	s := strings.Fields(kubectl(t, "-n", operatorNamespace, "get", "pods", "-l", operatorPods, "--field-selector=status.phase=Running",
		"-o", "jsonpath={.items[0].metadata.name} {.items[0].metadata.uid} {.items[0].spec.nodeName}"))
	require.Len(t, s, 3, "no operator runs")
	return pod{Name: s[0], UID: s[1], Node: s[2]}
}

// operatorLeads tells whether a pod of the operator that is there holds the lease.
func operatorLeads(t testing.TB) bool {
	t.Helper()
	lease := fieldOf(t, "/apis/coordination.k8s.io/v1/namespaces/"+operatorNamespace+"/leases?fieldSelector=metadata.name=kraft-operator.kraft.dev", "{.items[*].spec.holderIdentity}")
	holder, _, _ := strings.Cut(lease, "_") // "" before the first operator has made it
	names := fieldOf(t, "/api/v1/namespaces/"+operatorNamespace+"/pods?labelSelector="+operatorPods, "{.items[*].metadata.name}")
	return slices.Contains(strings.Fields(names), holder)
}

// crashOperator kills the operator the hard way. Its pod goes too, or the kubelet would wait ever longer before it starts the
// container again; the next one waits for the lease of the dead.
func crashOperator(t testing.TB) {
	t.Helper()
	p := operator(t)
	signal(t, p.UID, syscall.SIGKILL)
	kubectl(t, "-n", operatorNamespace, "delete", "pod", p.Name, "--grace-period=0", "--force")
	t.Logf("the operator was killed, doing: %s", doing(t))
}

// doing is what status says that the operator does; nothing also where there is no cluster.
func doing(t testing.TB) string {
	t.Helper()
	out, err := run(t, "", env(t, "KUBECTL"), "-n", namespace, "get", "kraftcluster", cluster, "-o", "jsonpath={.status.doing.what}")
	if err != nil {
		return ""
	}
	return out
}

// crashOperatorMidway kills the operator once it is at work, or after 5 s: it may be quicker than one can look.
func crashOperatorMidway(t testing.TB) {
	t.Helper()
	end := time.Now().Add(5 * time.Second)
	eventually(t, "the operator is at work", time.Minute, func() bool { return doing(t) != "" || time.Now().After(end) })
	crashOperator(t)
}

// cutNode takes the network from a Kubernetes node that a broker and a controller stand on, until Kubernetes has noticed, and
// gives it back.
func cutNode(t *testing.T) {
	b := startLoad(t, "node-cut")
	node := victim(t)
	localkube(t, "node", "cut", node)
	eventually(t, node+" is NotReady", 2*time.Minute, func() bool { return !nodeReady(t, node) })
	b.flow()
	// Two of three are there.
	eventually(t, "it is said to serve", 30*time.Second, func() bool { return condition(t, cluster, "Available") == "True" })
	localkube(t, "node", "heal", node)
	eventually(t, node+" is Ready", 2*time.Minute, func() bool { return nodeReady(t, node) })
	backAgain(t, 6)
	b.tail()
	b.finish("a node cut off and healed")
}

// victim is a node whose loss the cluster bears.
func victim(t testing.TB) string {
	t.Helper()
	spared := operator(t).Node // without it nobody would be left who could do something before the node is back
	for node := range losable(t) {
		if node != spared {
			return node
		}
	}
	require.Fail(t, "no node can be lost")
	return ""
}

// moveOperator has the operator run on another node than this one.
func moveOperator(t testing.TB, from string) {
	t.Helper()
	if operator(t).Node != from {
		return
	}
	kubectl(t, "cordon", from)
	defer kubectl(t, "uncordon", from)
	kubectl(t, "-n", operatorNamespace, "delete", "pod", operator(t).Name)
	kubectl(t, "-n", operatorNamespace, "rollout", "status", "deployment/kraft-operator", "--timeout=60s")
	require.NotEqual(t, from, operator(t).Node)
}

// tenants are what stands on a machine.
type tenants struct{ controllers, voters int }

// losable are the nodes with one broker, a controller and at most one voter: what is left serves.
func losable(t testing.TB) map[string]tenants {
	t.Helper()
	brokers, controllers, voters := map[string]int{}, map[string]int{}, map[string]int{}
	all := pods(t)
	for _, p := range all {
		if p.Pool == "brokers" {
			brokers[p.Node]++
		} else {
			controllers[p.Node]++
		}
	}
	for _, v := range voting(t) {
		id, _, _ := strings.Cut(v, "@")
		voters[all[id].Node]++
	}
	out := map[string]tenants{}
	for node, n := range brokers {
		if n == 1 && controllers[node] > 0 && voters[node] <= 1 {
			out[node] = tenants{controllers[node], voters[node]}
		}
	}
	t.Logf("brokers %v, controllers %v, voters %v, operator on %s: can be lost: %v", brokers, controllers, voters, operator(t).Node, out)
	return out
}

func nodeReady(t testing.TB, node string) bool {
	t.Helper()
	return fieldOf(t, "/api/v1/nodes/"+node, `{.status.conditions[?(@.type=="Ready")].status}`) == "True"
}

// metric reads one figure of a pod's metrics.
func metric(t testing.TB, p pod, name string) (float64, bool) {
	t.Helper()
	out, err := run(t, "", env(t, "KUBECTL"), "get", "--raw", fmt.Sprintf("/api/v1/namespaces/%s/pods/%s:8080/proxy/metrics", namespace, p.Name))
	require.NoError(t, err)
	for sc := bufio.NewScanner(strings.NewReader(out)); sc.Scan(); {
		if v, ok := strings.CutPrefix(sc.Text(), name+" "); ok {
			f, err := strconv.ParseFloat(v, 64)
			require.NoError(t, err)
			return f, true
		}
	}
	return 0, false
}
