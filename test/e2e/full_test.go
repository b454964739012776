//go:build e2e

package e2e_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/kraft-dev/kraft-operator/api/v1alpha1"
)

// TestFull is a cluster's long life, told in order: it grows and shrinks, loses disks, processes, networks and machines, is
// rolled twenty times and put to sleep ten, is deleted and made again, and changes its names; all that under load whose books
// are closed after every part. Then a second cluster, on volumes that can move, loses machines too, and moves to another namespace. It ends with a
// table.
func TestFull(t *testing.T) {
	t.Cleanup(printReport)
	t.Run("the operator of the previous commit is installed", func(t *testing.T) { installPrevious(t) })
	t.Run("a cluster of one voter and three brokers", func(t *testing.T) { form(t, 1, 1, "standard") })
	if t.Failed() {
		t.FailNow()
	}
	play(t, "voters 1 to 3, and an observer, by the previous operator", func(t *testing.T, _ *background) { vote(t, 3, 4, false) })
	play(t, "the operator is upgraded from the previous commit", upgradeOperator)
	play(t, "voters 3 to 5", func(t *testing.T, _ *background) {
		bench(t, "voters_3_to_5_s", vote(t, 5, 6, false).Seconds(), 30, "")
	})
	play(t, "voters 5 to 3", func(t *testing.T, _ *background) {
		bench(t, "voters_5_to_3_s", vote(t, 3, 4, false).Seconds(), 30, "")
	})
	play(t, "voters 3 to 1, the operator killed", func(t *testing.T, _ *background) { vote(t, 1, 2, true) })
	play(t, "voters 1 to 3, the operator killed", func(t *testing.T, _ *background) { vote(t, 3, 4, true) })
	play(t, "voters 3 to 5 to 3, the operator killed in both", func(t *testing.T, _ *background) {
		vote(t, 5, 6, true)
		vote(t, 3, 4, true)
	})
	play(t, "voters 3 to 7 to 3, the operator killed in both", func(t *testing.T, _ *background) {
		vote(t, 7, 7, true)
		vote(t, 3, 4, true)
	})
	play(t, "a controller's claim is deleted", func(t *testing.T, _ *background) {
		bench(t, "disk_lost_s", loseDisk(t, false).Seconds(), 15, "")
	})
	play(t, "a controller's claim is deleted, the operator killed", func(t *testing.T, _ *background) { loseDisk(t, true) })
	play(t, "the active controller is killed ten times, once with the operator", killActiveControllers)
	play(t, "the active controller is frozen, the operator killed", freezeActiveController)
	play(t, "the active controller's network is cut, the operator killed", cutActiveController)
	play(t, "brokers 3 to 5 by an autoscaler, and to 3, the operator killed", func(t *testing.T, _ *background) { // what is made on three leaves the others empty
		scaleBrokers(t, 5, func() { autoscale(t) }, true)
		kubectl(t, "-n", namespace, "delete", "horizontalpodautoscaler", cluster+"-brokers")
		scaleBrokers(t, 3, func() { scale(t, 3) }, true)
	})
	play(t, "a dynamic setting, the operator killed", dynamicSetting)
	play(t, "a static setting, the operator killed", func(t *testing.T, _ *background) {
		rolled(t, func() { patch(t, `{"spec":{"config":{"num.partitions":"7"}}}`) }, true)
	})
	play(t, "everything is rolled, twenty times", rollTwentyTimes)
	play(t, "everything is rolled once more, the operator killed", func(t *testing.T, _ *background) { rolled(t, func() { restartAll(t) }, true) })
	t.Run("a bad image is stopped, drained, the operator killed, and mended", func(t *testing.T) { badImage(t, true) })
	play(t, "hibernated and woken ten times, the operator killed in the first of both", sleepTenTimes)
	t.Run("deleted, and made again over its claims", recreate)
	play(t, "the DNS suffix and all names change, the operator killed", changeNames)
	losingMachines(t, "local volumes")
	t.Run("a cluster on volumes that can move", func(t *testing.T) {
		k(t, "delete", "kraftcluster", cluster, "--wait")
		eventually(t, "the pods are gone", time.Minute, func() bool { return len(pods(t)) == 0 })
		k(t, "delete", "pvc", "--all", "--wait=false")
		eventually(t, "the claims are gone", time.Minute, func() bool { return k(t, "get", "pvc", "-o", "name") == "" })
		form(t, 3, 4, "movable")
	})
	losingMachines(t, "movable volumes")
	t.Run("moved to another namespace", move)
	play(t, "everything is rolled in the other namespace", func(t *testing.T, _ *background) { rolled(t, func() { restartAll(t) }, false) })
	t.Run("memory of the nodes", memory)
}

// play does something under load of its own, and closes the books.
func play(t *testing.T, what string, do func(*testing.T, *background)) {
	t.Run(what, func(t *testing.T) {
		settled(t)
		b := startLoad(t, fmt.Sprintf("part-%d", time.Now().UnixMilli()))
		b.flow()
		b.began = time.Now()
		do(t, b)
		settled(t)
		b.tail()
		b.finish(what)
	})
}

// settled waits until the cluster is as its spec says, with every pod Ready, and an operator there to say so: what a dead one has
// left in status may be of the past, and its successor waits for its lease.
func settled(t testing.TB) {
	t.Helper()
	eventually(t, "an operator that leads", time.Minute, func() bool { return operatorLeads(t) })
	eventually(t, "as specified", 3*time.Minute, func() bool {
		want := 0
		for _, n := range strings.Fields(field(t, "{.spec.controllers.replicas} {.spec.brokers.replicas}")) {
			i, err := strconv.Atoi(n)
			require.NoError(t, err)
			want += i
		}
		return len(pods(t)) == want && readyPods(t) == want && ready(t, cluster)
	})
}

// installPrevious installs what the previous commit would have: its CRDs, rights and Deployment, with its image.
func installPrevious(t *testing.T) {
	yaml, err := os.ReadFile(env(t, "PREVIOUS_MANIFEST"))
	require.NoError(t, err)
	require.Contains(t, string(yaml), manifestImage)
	rolloutOperator(t, strings.ReplaceAll(string(yaml), manifestImage, env(t, "PREVIOUS_IMAGE")))
	createNamespace(t)
}

func rolloutOperator(t testing.TB, yaml string) {
	t.Helper()
	apply(t, yaml, "--server-side", "--force-conflicts")
	kubectl(t, "-n", operatorNamespace, "rollout", "status", "deployment/kraft-operator", "--timeout=60s")
}

// form makes a cluster of the sample with other numbers.
func form(t *testing.T, voters, controllers int, class string) {
	yaml := sample(t, "kraftcluster.yaml")
	for old, with := range map[string]string{
		"quorum: {voters: 3}":                   fmt.Sprintf("quorum: {voters: %d, replaceAfter: 20s}", voters),
		"replicas: 3\n    storage: {size: 1Gi}": fmt.Sprintf("replicas: %d\n    storage: {size: 1Gi, class: %s}", controllers, class),
		"storage: {size: 2Gi}":                  fmt.Sprintf("storage: {size: 2Gi, class: %s}", class),
	} {
		require.Contains(t, yaml, old)
		yaml = strings.Replace(yaml, old, with, 1)
	}
	apply(t, yaml, "-n", namespace)
	settled(t)
}

// upgradeOperator applies the manifests as they are now over those of the previous commit, as a user does: what is no longer in them stays.
// Two small clusters stand beside the one under load, and one at a time has its turn.
func upgradeOperator(t *testing.T, _ *background) {
	before := operator(t)
	others := []string{"one", "other"}
	for _, name := range others {
		yaml := strings.Replace(sample(t, "kraftcluster-single.yaml"), "name: single", "name: "+name, 1)
		apply(t, strings.Replace(yaml, "spec:", "spec:\n  storage: {deletionPolicy: Delete}", 1), "-n", namespace)
	}
	for _, name := range others {
		eventually(t, name+" is Ready", 2*time.Minute, func() bool { return ready(t, name) })
	}
	const flag = "- --leader-elect\n"
	yaml := manifest(t, "default")
	require.Equal(t, 1, strings.Count(yaml, flag))
	rolled(t, func() {
		rolloutOperator(t, strings.Replace(yaml, flag, flag+"        - --rolls-at-once=1\n", 1))
		takeTurns(t, 1+len(others))
	}, false)
	require.NotEqual(t, before.UID, operator(t).UID)
	require.Equal(t, env(t, "IMAGE"), field(t, "{.status.image}"), "nodes run what the operator brought")
	k(t, append([]string{"delete", "kraftcluster", "--wait"}, others...)...)
}

// takeTurns follows so many clusters until all are the new operator's: never two of them at once, and somebody waits.
func takeTurns(t *testing.T, all int) {
	t.Helper()
	waited := map[string]bool{}
	eventually(t, "every cluster had its turn", 5*time.Minute, func() bool {
		var list v1alpha1.KRaftClusterList
		require.NoError(t, json.Unmarshal(get(t, clusters()), &list))
		require.Len(t, list.Items, all)
		done := 0
		var turns []string
		for _, c := range list.Items {
			if c.Status.UpgradingTo != "" {
				turns = append(turns, c.Name)
			}
			if r := meta.FindStatusCondition(c.Status.Conditions, v1alpha1.ConditionRolling); r != nil && r.Reason == "WaitsForTurn" {
				waited[c.Name] = true
			}
			if r := c.Status.Rolled; r != nil && strings.HasSuffix(r.Operator, " "+env(t, "IMAGE")) {
				done++
			}
		}
		require.LessOrEqual(t, len(turns), 1, "clusters that have their turn: %v", turns)
		return done == all
	})
	require.NotEmpty(t, waited, "nobody waited for a turn")
}

// rolled waits until every pod was replaced after an edit.
func rolled(t testing.TB, edit func(), crash bool) {
	t.Helper()
	before := pods(t)
	edit()
	if crash {
		crashOperatorMidway(t)
	}
	looked := time.Now()
	eventually(t, "every pod was replaced", 5*time.Minute, func() bool {
		if time.Since(looked) < time.Second { // a look takes the machine's time, too
			return false
		}
		looked = time.Now()
		for id, p := range pods(t) {
			if p.UID == before[id].UID || !p.Ready {
				return false
			}
		}
		return true
	})
	settled(t)
}

// anotherLeads waits until a controller other than old says that it leads.
func anotherLeads(t testing.TB, old string) {
	t.Helper()
	eventually(t, "another controller leads", 30*time.Second, func() bool { l := leader(t); return l != "" && l != old })
}

func killActiveControllers(t *testing.T, b *background) {
	for i := range 10 {
		old := leader(t)
		signal(t, pods(t)[old].UID, syscall.SIGKILL)
		if i == 0 {
			crashOperator(t)
		}
		anotherLeads(t, old)
		b.flow()
		settled(t)
	}
}

func freezeActiveController(t *testing.T, b *background) {
	old := leader(t)
	frozen := pods(t)[old]
	signal(t, frozen.UID, syscall.SIGSTOP)
	crashOperator(t)
	anotherLeads(t, old)
	b.flow()
	signal(t, frozen.UID, syscall.SIGCONT)
}

func cutActiveController(t *testing.T, b *background) {
	old := leader(t)
	heal := cutPod(t, pods(t)[old])
	defer func() {
		if heal != nil {
			heal()
		}
	}()
	crashOperator(t)
	anotherLeads(t, old)
	b.flow()
	heal()
	heal = nil
}

func scale(t testing.TB, to int) {
	t.Helper()
	k(t, "scale", "kraftcluster", cluster, "--replicas", fmt.Sprint(to))
}

// autoscale gives the brokers to a HorizontalPodAutoscaler that wants five at least, which it knows without metrics.
func autoscale(t testing.TB) {
	t.Helper()
	yaml := sample(t, "horizontalpodautoscaler.yaml")
	require.Contains(t, yaml, "minReplicas: 3")
	apply(t, strings.Replace(yaml, "minReplicas: 3", "minReplicas: 5", 1), "-n", namespace)
	eventually(t, "the autoscaler has asked for five brokers", time.Minute, func() bool { return field(t, "{.spec.brokers.replicas}") == "5" })
}

// scaleBrokers waits until there are as many brokers as were asked for, and that nobody was restarted.
func scaleBrokers(t *testing.T, to int, ask func(), crash bool) {
	before := pods(t)
	ask()
	if crash {
		crashOperatorMidway(t)
	}
	settled(t)
	now := pods(t)
	require.Len(t, now, len(strings.Fields(k(t, "get", "statefulset", "-o", "name"))))
	require.Equal(t, fmt.Sprint(to), field(t, "{.status.brokers.replicas}"))
	for id, p := range before {
		if q, ok := now[id]; ok {
			require.Equal(t, p.UID, q.UID, "node %s was restarted", id)
		}
	}
}

func dynamicSetting(t *testing.T, _ *background) {
	before := pods(t)
	patch(t, `{"spec":{"config":{"log.retention.ms":"123456789"}}}`)
	crashOperatorMidway(t)
	eventually(t, "every broker has it", time.Minute, func() bool {
		for _, v := range onEachBroker(t, "log.retention.ms") {
			if v != "123456789 DYNAMIC_DEFAULT_BROKER_CONFIG" {
				return false
			}
		}
		return true
	})
	settled(t)
	require.Equal(t, before, pods(t), "nobody was restarted")
}

func rollTwentyTimes(t *testing.T, b *background) {
	rolls := 20
	if s := os.Getenv("E2E_ROLLS"); s != "" { // fewer, by hand
		n, err := strconv.Atoi(s)
		require.NoError(t, err)
		rolls = n
	}
	for i := range rolls {
		began := time.Now()
		rolled(t, func() { restartAll(t) }, false)
		t.Logf("roll %d took %s; longest gaps so far: metadata %s, produce %s", i+1, time.Since(began).Round(100*time.Millisecond), b.metadata.LongestGap(), b.records.LongestGap())
	}
	bench(t, fmt.Sprintf("roll_meta_gap_of_%d_ms", rolls), float64(b.metadata.LongestGap().Milliseconds()), 100, "")
	bench(t, fmt.Sprintf("roll_produce_gap_of_%d_ms", rolls), float64(b.records.LongestGap().Milliseconds()), 200, "")
}

// restartAll asks for a restart of every node.
func restartAll(t testing.TB) {
	t.Helper()
	k(t, "annotate", "kraftcluster", cluster, "--overwrite", "kraft.dev/restartedAt="+time.Now().Format(time.RFC3339))
}

func sleepTenTimes(t *testing.T, b *background) {
	var longest time.Duration
	for i := range 10 {
		if i == 0 {
			patch(t, `{"spec":{"hibernated":true}}`)
			crashOperatorMidway(t)
		}
		sleep(t)
		if i == 0 { // its time is the next operator's
			patch(t, `{"spec":{"hibernated":false}}`)
			crashOperatorMidway(t)
			settled(t)
			b.flow()
			continue
		}
		longest = max(longest, wake(t, b))
		settled(t)
	}
	bench(t, "wake_to_first_ack_of_10_s", longest.Seconds(), 10, "")
}

// recreate deletes the resource, makes it again over its claims, and reads the old records once more. The clients stop
// meanwhile: node ports are drawn anew.
func recreate(t *testing.T) {
	settled(t)
	b := startLoad(t, "kept")
	b.flow()
	b.finish("before the cluster is deleted")
	id, yaml := field(t, "{.status.clusterID}"), k(t, "get", "kraftcluster", cluster, "-o", `jsonpath={.spec}`)
	began := time.Now()
	k(t, "delete", "kraftcluster", cluster, "--wait")
	crashOperator(t)
	eventually(t, "the pods are gone", time.Minute, func() bool { return len(pods(t)) == 0 })
	applySpec(t, yaml)
	settled(t)
	require.Equal(t, id, field(t, "{.status.clusterID}"), "it is the same cluster")
	b.readAgain("deleted and made again over its claims, the operator killed", time.Since(began))
}

// changeNames gives the whole Kubernetes another DNS suffix, and every pod at once the new names.
func changeNames(t *testing.T, _ *background) {
	localkube(t, "domain", "cluster.example")
	before := pods(t)
	k(t, "delete", "pods", "-l", "kraft.dev/cluster="+cluster, "--wait=false")
	crashOperator(t)
	for _, p := range before {
		replaced(t, p)
	}
}

// losingMachines drains, cuts off and stops a machine.
func losingMachines(t *testing.T, on string) {
	play(t, "a machine is drained, the operator killed: "+on, drain)
	if strings.HasPrefix(on, "movable") { // the drained pods stand beside others now, and Kubernetes moves nobody back
		play(t, "everything is rolled, and spread again", func(t *testing.T, _ *background) { rolled(t, func() { restartAll(t) }, false) })
	}
	play(t, "a machine is cut off and healed, the operator killed: "+on, func(t *testing.T, b *background) {
		node := victim(t)
		localkube(t, "node", "cut", node)
		crashOperator(t)
		eventually(t, node+" is NotReady", 2*time.Minute, func() bool { return !nodeReady(t, node) })
		b.flow()
		localkube(t, "node", "heal", node)
		eventually(t, node+" is Ready", 2*time.Minute, func() bool { return nodeReady(t, node) })
	})
	play(t, "a machine's power fails for good, an observer takes the voter's place: "+on, func(t *testing.T, b *background) {
		bench(t, "node_lost_s", losePower(t, b, on, false).Seconds(), 30, "") // replaceAfter, and 10 s
	})
	if strings.HasPrefix(on, "movable") { // a machine that was away took its pods elsewhere
		play(t, "everything is rolled, and spread once more", func(t *testing.T, _ *background) { rolled(t, func() { restartAll(t) }, false) })
	}
	play(t, "a machine's power fails for good, an observer takes the voter's place, the operator killed: "+on, func(t *testing.T, b *background) {
		t.Logf("the voter's place was taken after %s", losePower(t, b, on, true))
	})
}

func drain(t *testing.T, _ *background) {
	node := victim(t)
	ctx, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	drained := make(chan string, 1)
	go func() {
		out, err := run(t, "", env(t, "KUBECTL"), "drain", node, "--ignore-daemonsets", "--delete-emptydir-data", "--force", "--timeout=30s", "--pod-selector=kraft.dev/cluster="+cluster)
		drained <- fmt.Sprintf("%v %s", err, tail(out, 3))
	}()
	crashOperator(t)
	select {
	case out := <-drained:
		t.Logf("drain of %s: %s", node, out)
	case <-ctx.Done():
		t.Fatal("the drain didn't end")
	}
	kubectl(t, "uncordon", node)
}

// losePower stops the machine of a voter. An observer on another machine takes the voter's place after
// spec.quorum.replaceAfter. The machine comes back in the end: pods on local volumes wait for it; those on volumes that can
// move stand elsewhere by then. It returns how long that took; with the operator killed its lease has to run out first.
func losePower(t *testing.T, b *background, on string, kill bool) time.Duration {
	node, before, all := "", voting(t), pods(t)
	for n, on := range losable(t) {
		if on.voters == 1 && on.controllers == 1 { // the observer stands elsewhere
			node = n
		}
	}
	require.NotEmpty(t, node, "a machine with a voter and no observer")
	moveOperator(t, node)
	began := time.Now()
	localkube(t, "node", "stop", node)
	if kill {
		crashOperator(t)
	}
	eventually(t, "three voters elsewhere", 2*time.Minute, func() bool {
		now := voting(t)
		for _, v := range now {
			if id, _, _ := strings.Cut(v, "@"); all[id].Node == node {
				return false
			}
		}
		return len(now) == len(before)
	})
	took := time.Since(began)
	b.flow()
	if strings.HasPrefix(on, "movable") {
		kubectl(t, "taint", "nodes", node, "node.kubernetes.io/out-of-service=nodeshutdown:NoExecute")
		settled(t)
		kubectl(t, "taint", "nodes", node, "node.kubernetes.io/out-of-service-")
	}
	localkube(t, "node", "start", node)
	eventually(t, node+" is Ready", 2*time.Minute, func() bool { return nodeReady(t, node) })
	return took
}
