package envtest

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/kraft-dev/kraft-operator/api/v1alpha1"
	"github.com/kraft-dev/kraft-operator/internal/admin"
)

// TestBrokersOfAZoneRestartTogether: the first of a new template alone, then one zone after the other, with no
// partition under its minimum and the intent naming every pod.
func TestBrokersOfAZoneRestartTogether(t *testing.T) {
	w := newWorld(t)
	w.zones = 3
	for i := range int32(6) {
		w.partitions = append(w.partitions, admin.Partition{Topic: "t", Partition: i, Replicas: []int32{1000 + i, 1000 + (i+1)%6, 1000 + (i+2)%6}, MinISR: 2})
	}
	w.apply(strings.Replace(strings.Replace(base, "brokers: {replicas: 3", "brokers: {replicas: 6", 1), "spec:", "spec:\n  rolling: {maxUnavailable: 100%}", 1))
	w.await("demo", "Ready", is("Ready", "True"))
	w.takeStarted()
	statuses := w.statuses("demo")
	w.edit("demo", func(c *v1alpha1.KRaftCluster) {
		c.Spec.Brokers.Template.Annotations = map[string]string{"example.com/restart": "1"}
	})
	w.await("demo", "Ready after the roll", func(c *v1alpha1.KRaftCluster) bool {
		return is("Ready", "True")(c) && c.Status.Pools[1].Updated == 6
	})
	order := w.takeStarted()
	require.Equal(t, "demo-broker-1000@kraft:1", order[0])
	require.Len(t, order, 6, "each once")
	require.LessOrEqual(t, w.mostDown(), 2, "a zone has two; whether both are down at a time is the kubelet's")
	seen := map[string]bool{}
	w.until("both batches are seen in status", func() bool {
		for _, c := range statuses() {
			if d := c.Status.Doing; d != nil && len(d.Batch) > 0 {
				seen[d.What] = true
				for _, p := range d.Batch {
					require.NotEmpty(t, p.PodUID)
					require.Contains(t, d.Reason, "metadata.annotations.example.com/restart")
				}
			}
		}
		return seen["restart brokers 1001, 1004"] && seen["restart brokers 1002, 1005"]
	})
	w.awaitEvent("Restarting", "example.com/restart")

	w.until("the budget is open again", func() bool { // by the pass after the one that said Ready
		var budget policyv1.PodDisruptionBudget
		require.NoError(t, kube.Get(t.Context(), client.ObjectKey{Namespace: w.ns, Name: "demo-brokers"}, &budget))
		return *budget.Spec.MaxUnavailable == intstr.FromInt32(1)
	})
}

func (w *world) keepStopped(keep bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.keep = keep
}

func (w *world) stickPod(name string, stuck bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stuck[name] = stuck
}

// reassign moves a partition of the world to other brokers.
func (w *world) reassign(partition int, replicas ...int32) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.partitions[partition].Replicas = replicas
}

func (w *world) takeUnregistered() []int32 {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := w.unregistered
	w.unregistered = nil
	return out
}

func (w *world) claim(name string) corev1.PersistentVolumeClaim {
	w.t.Helper()
	for _, c := range w.claims() {
		if c.Name == name {
			return c
		}
	}
	require.Fail(w.t, "no claim "+name)
	return corev1.PersistentVolumeClaim{}
}

// TestBrokersLeaveWhenTheyHoldNothing: the highest id first; until then the spec is held back and says what it holds.
func TestBrokersLeaveWhenTheyHoldNothing(t *testing.T) {
	w := newWorld(t)
	w.partitions = []admin.Partition{{Topic: "orders", Partition: 0, Replicas: []int32{1000, 1001}, MinISR: 1}, {Topic: "orders", Partition: 1, Replicas: []int32{1001, 1003}, MinISR: 1}}
	w.apply(strings.Replace(base, "brokers: {replicas: 3", "brokers: {replicas: 5", 1))
	w.await("demo", "Ready", is("Ready", "True"))
	before := w.podUIDs()
	w.edit("demo", func(c *v1alpha1.KRaftCluster) { c.Spec.Brokers.Replicas = 3 })
	c := w.await("demo", "held back by 1003", func(c *v1alpha1.KRaftCluster) bool {
		return is("Stalled", "True")(c) && len(c.Status.Pools[1].NodeIDs) == 4
	})
	require.Equal(t, []int32{1004}, w.takeUnregistered())
	require.Equal(t, "BrokersHoldReplicas", c.Status.HeldBack[0].Reason)
	require.Contains(t, c.Status.HeldBack[0].Message, "broker 1003, the next to leave, holds 1 replica (orders-1)")
	require.Less(t, c.Status.AcceptedGeneration, c.Generation)
	require.EqualValues(t, 4, c.Status.Brokers.Replicas)
	w.collect("demo-broker-1004")
	require.Equal(t, "true", w.claim("data-demo-broker-1004").Annotations["kraft.dev/left"])
	w.awaitEvent("NodeLeft", "broker 1004")
	w.awaitEvent("BrokersHoldReplicas", "orders-1")

	w.reassign(1, 1001, 1000)
	c = w.await("demo", "three brokers", func(c *v1alpha1.KRaftCluster) bool {
		return is("Ready", "True")(c) && len(c.Status.Pools[1].NodeIDs) == 3
	})
	w.collect("demo-broker-1003")
	require.Equal(t, []int32{1003}, w.takeUnregistered())
	require.Equal(t, c.Generation, c.Status.AcceptedGeneration)
	require.Empty(t, c.Status.HeldBack)
	require.Empty(t, c.Status.Pools[1].Leaving)
	for _, name := range []string{"demo-broker-1000-0", "demo-broker-1001-0", "demo-broker-1002-0", "demo-controller-0-0"} {
		require.Equal(t, before[name], w.podUIDs()[name], "%s was restarted", name)
	}
	w.edit("demo", func(c *v1alpha1.KRaftCluster) { c.Spec.Brokers.Replicas = 4 })
	c = w.await("demo", "four brokers", func(c *v1alpha1.KRaftCluster) bool {
		return is("Ready", "True")(c) && len(c.Status.Pools[1].NodeIDs) == 4
	})
	require.Equal(t, []int32{1000, 1001, 1002, 1005}, c.Status.Pools[1].NodeIDs, "an id with a claim isn't used again")
}

// TestABrokerThatIsGivenReplicasWhileItStopsReturns, and stays.
func TestABrokerThatIsGivenReplicasWhileItStopsReturns(t *testing.T) {
	w := newWorld(t)
	w.partitions = []admin.Partition{{Topic: "orders", Partition: 0, Replicas: []int32{1000, 1001}, MinISR: 1}}
	w.apply(base)
	w.await("demo", "Ready", is("Ready", "True"))
	w.keepStopped(true)
	w.edit("demo", func(c *v1alpha1.KRaftCluster) { c.Spec.Brokers.Replicas = 2 })
	w.await("demo", "it stops", func(c *v1alpha1.KRaftCluster) bool { return len(c.Status.Pools[1].Leaving) == 1 })
	w.reassign(0, 1000, 1002)
	w.keepStopped(false)
	c := w.await("demo", "held back", is("Stalled", "True"))
	require.Contains(t, c.Status.HeldBack[0].Message, "orders-0")
	require.Empty(t, w.takeUnregistered())
	require.Equal(t, []int32{1000, 1001, 1002}, c.Status.Pools[1].NodeIDs)
	w.awaitEvent("NodeReturns", "it was given replicas")
	w.edit("demo", func(c *v1alpha1.KRaftCluster) { c.Spec.Brokers.Replicas = 3 })
	w.await("demo", "Ready again", is("Ready", "True"))
}

// TestALostBrokerIsReplacedAfterAWhile by a new id, where the spec asks for it; what it held remains to be moved.
func TestALostBrokerIsReplacedAfterAWhile(t *testing.T) {
	w := newWorld(t)
	w.partitions = []admin.Partition{{Topic: "orders", Partition: 0, Replicas: []int32{1000, 1002}, MinISR: 1}}
	w.apply(strings.Replace(base, "brokers: {replicas: 3,", "brokers: {replicas: 3, replaceAfter: 10s,", 1))
	w.await("demo", "Ready", is("Ready", "True"))
	began := time.Now()
	w.stickPod("demo-broker-1002-0", true)
	w.await("demo", "its clock runs", func(c *v1alpha1.KRaftCluster) bool {
		return len(c.Status.LostBrokers) == 1 && c.Status.LostBrokers[0].ID == 1002
	})
	c := w.await("demo", "replaced", func(c *v1alpha1.KRaftCluster) bool {
		return is("Ready", "True")(c) && slices.Equal(c.Status.Pools[1].NodeIDs, []int32{1000, 1001, 1003})
	})
	require.GreaterOrEqual(t, time.Since(began), 9*time.Second)
	require.Len(t, c.Status.LostBrokers, 1)
	require.True(t, c.Status.LostBrokers[0].Replaced)
	require.EqualValues(t, 1, c.Status.LostBrokers[0].Partitions)
	require.Equal(t, []string{"orders-0"}, c.Status.LostBrokers[0].Examples)
	w.awaitEvent("BrokerReplaced", "broker 1002")
	w.collect("demo-broker-1002")
	require.Equal(t, "true", w.claim("data-demo-broker-1002").Annotations["kraft.dev/left"])
	require.Empty(t, w.takeUnregistered(), "a partition names it still")
	w.reassign(0, 1000, 1003)
	w.await("demo", "forgotten", func(c *v1alpha1.KRaftCluster) bool { return len(c.Status.LostBrokers) == 0 })
	require.Equal(t, []int32{1002}, w.takeUnregistered())
}
