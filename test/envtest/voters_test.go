package envtest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/kraft-dev/kraft-operator/api/v1alpha1"
	"github.com/kraft-dev/kraft-operator/internal/admin"
	"github.com/kraft-dev/kraft-operator/internal/uuid"
)

// change of the voters, as the world was asked for it.
type change struct {
	what    string // "add 3"
	at      time.Time
	givenUp time.Time // when it was told that nobody answered
}

// fate is what becomes of the next change.
type fate int

const (
	made         fate = iota
	refused           // with a reason
	lostAnswer        // it is made, a while later, and the answer is lost
	neverReached      // the request is lost, which is noticed after a while
)

// slowAnswer is how long an answer is waited for that doesn't come.
const slowAnswer = 3 * time.Second

func (w *world) AddVoter(_ context.Context, controllers []string, v admin.ReplicaKey, at []admin.Endpoint) error {
	if !slices.Equal(at, []admin.Endpoint{{Listener: "CONTROLLER", Host: fmt.Sprintf("demo-controller-%d.%s.svc", v.ID, w.ns), Port: 9093}}) {
		return fmt.Errorf("endpoints %v: %w", at, kerr.InvalidRequest)
	}
	return w.changed(fmt.Sprintf("add %d", v.ID), controllers, func() {
		w.set = append(w.set, admin.Replica{ID: v.ID, DirectoryID: v.DirectoryID})
	})
}

func (w *world) RemoveVoter(_ context.Context, controllers []string, v admin.ReplicaKey) error {
	return w.changed(fmt.Sprintf("remove %d", v.ID), controllers, func() {
		w.set = slices.DeleteFunc(w.set, func(r admin.Replica) bool { return r.ID == v.ID && r.DirectoryID == v.DirectoryID })
	})
}

func (w *world) changed(what string, controllers []string, apply func()) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(controllers) != 1 || !strings.HasSuffix(controllers[0], ":9093") {
		return fmt.Errorf("leader %v: %w", controllers, kerr.InvalidRequest)
	}
	w.changes = append(w.changes, change{what: what, at: time.Now()})
	next := made
	if len(w.fates) > 0 {
		next, w.fates = w.fates[0], w.fates[1:]
	}
	switch next {
	case refused:
		return fmt.Errorf("%s: no luck: %w", what, kerr.InvalidRequest)
	case lostAnswer:
		w.later = append(w.later, later{time.Now().Add(2 * time.Second), apply})
		return fmt.Errorf("%s: %w", what, admin.ErrUncertain)
	case neverReached:
		i := len(w.changes) - 1
		w.mu.Unlock()
		<-time.After(slowAnswer)
		w.mu.Lock()
		w.changes[i].givenUp = time.Now()
		return fmt.Errorf("%s: %w", what, admin.ErrUncertain)
	}
	apply()
	return nil
}

type later struct {
	at time.Time
	do func()
}

// disk is the directory id of a controller's disk; guarded by mu.
func (w *world) disk(id int32) [16]byte {
	if _, ok := w.disks[id]; !ok {
		w.disks[id] = [16]byte{0: 9, 1: byte(id), 15: byte(len(w.disks) + 1)}
	}
	return w.disks[id]
}

// loseDisk gives a node another directory id, as an empty disk does.
func (w *world) loseDisk(id int32) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.disks[id] = [16]byte{0: 8, 1: byte(id), 15: 1}
}

func (w *world) stick(id int32, stuck bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stuck[fmt.Sprintf("demo-controller-%d-0", id)] = stuck
}

func (w *world) whatChanged() (out []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range w.changes {
		out = append(out, c.what)
	}
	return out
}

func (w *world) destine(fates ...fate) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.fates = fates
}

// collect is the garbage collector: pods go with their StatefulSets.
func (w *world) collect(names ...string) {
	w.t.Helper()
	w.until(fmt.Sprintf("StatefulSets %v are gone", names), func() bool {
		sets := w.sets()
		return !slices.ContainsFunc(names, func(name string) bool { _, there := sets[name]; return there })
	})
	w.mu.Lock() // no turn starts a pod by a StatefulSet that it has seen before
	defer w.mu.Unlock()
	for _, name := range names {
		pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: w.ns, Name: name + "-0"}}
		require.NoError(w.t, client.IgnoreNotFound(kube.Delete(w.t.Context(), pod, client.GracePeriodSeconds(0))))
	}
}

func voters(want ...int32) func(*v1alpha1.KRaftCluster) bool {
	return func(c *v1alpha1.KRaftCluster) bool {
		if !is("Ready", "True")(c) || c.Status.Quorum == nil {
			return false
		}
		var ids []int32
		for _, v := range c.Status.Quorum.Voters {
			ids = append(ids, v.ID)
		}
		return slices.Equal(ids, want)
	}
}

// TestVotersFollowTheSpecBothWays: 3 to 5 and back, nobody is rolled; who leaves keeps its claim, and its id is not
// used again, not even when the cluster is made anew over its claims.
func TestVotersFollowTheSpecBothWays(t *testing.T) {
	w := newWorld(t)
	w.apply(base)
	w.await("demo", "Ready", is("Ready", "True"))
	before := w.podUIDs()
	w.edit("demo", func(c *v1alpha1.KRaftCluster) { c.Spec.Controllers.Replicas = 5 })
	c := w.await("demo", "5 voters, and nothing left to do", func(c *v1alpha1.KRaftCluster) bool {
		return voters(0, 1, 2, 3, 4)(c) && c.Status.Doing == nil && c.Status.VoterChange == nil
	})
	require.Equal(t, []string{"add 3", "add 4"}, w.whatChanged())
	require.Empty(t, c.Status.HeldBack)
	w.awaitEvent("VoterAdded", "voter 4")
	after := w.podUIDs()
	for name, uid := range before {
		require.Equal(t, uid, after[name], name)
	}
	for _, name := range []string{"demo-controller-3", "demo-controller-4"} {
		var cm corev1.ConfigMap
		set := w.sets()[name]
		for _, v := range set.Spec.Template.Spec.Volumes {
			if v.Name == "config" {
				require.NoError(t, kube.Get(t.Context(), client.ObjectKey{Namespace: w.ns, Name: v.ConfigMap.Name}, &cm))
			}
		}
		require.NotContains(t, cm.Data["kraftd.properties"], "kraft.initial.controllers", "it observes first")
	}

	w.edit("demo", func(c *v1alpha1.KRaftCluster) { c.Spec.Controllers.Replicas = 3 })
	w.collect("demo-controller-4", "demo-controller-3")
	c = w.await("demo", "3 voters", voters(0, 1, 2))
	require.Equal(t, []string{"add 3", "add 4", "remove 4", "remove 3"}, w.whatChanged())
	require.Equal(t, []int32{0, 1, 2}, c.Status.Pools[0].NodeIDs)
	w.awaitEvent("NodeLeft", "node 4")
	require.Len(t, w.claims(), 8, "claims stay")
	w.edit("demo", func(c *v1alpha1.KRaftCluster) { c.Spec.Controllers.Replicas = 5 })
	w.await("demo", "5 voters of other ids", voters(0, 1, 2, 5, 6))

	w.edit("demo", func(c *v1alpha1.KRaftCluster) { c.Spec.Controllers.Replicas = 3 })
	w.collect("demo-controller-6", "demo-controller-5")
	c = w.await("demo", "3 voters", voters(0, 1, 2))
	for name := range w.podUIDs() {
		if uid, ok := before[name]; ok {
			require.Equal(t, uid, w.podUIDs()[name], "%s was restarted", name)
		}
	}
	w.destroy(c)
	w.apply(base)
	c = w.await("demo", "Ready over its claims", is("Ready", "True"))
	require.Equal(t, []int32{0, 1, 2}, c.Status.Pools[0].NodeIDs, "those that left stay away")
}

// TestObserversBecomeVotersByAFieldAlone, and a single voter is the way down as well.
func TestObserversBecomeVotersByAFieldAlone(t *testing.T) {
	w := newWorld(t)
	w.apply(strings.Replace(base, "spec:", "spec:\n  quorum: {voters: 1}", 1))
	w.lead(0)
	w.await("demo", "one voter", voters(0))
	set := func(n int32) { w.edit("demo", func(c *v1alpha1.KRaftCluster) { c.Spec.Quorum.Voters = &n }) }
	set(3)
	w.await("demo", "three voters", voters(0, 1, 2))
	w.lead(2)
	set(1)
	w.await("demo", "one voter again: the leader", voters(2))
	require.Len(t, w.podUIDs(), 6, "all nodes stay")
}

// TestALostDiskIsReplacedAtOnce: the old key goes, the new one comes.
func TestALostDiskIsReplacedAtOnce(t *testing.T) {
	w := newWorld(t)
	w.apply(base)
	w.await("demo", "Ready", is("Ready", "True"))
	began := time.Now()
	w.loseDisk(2)
	w.edit("demo", func(c *v1alpha1.KRaftCluster) { c.Spec.Rolling.MaxUnavailable.IntVal = 2 }) // look now
	lost := uuid.UUID([16]byte{0: 8, 1: 2, 15: 1}).String()
	w.await("demo", "three voters, one on a new disk", func(c *v1alpha1.KRaftCluster) bool {
		return voters(0, 1, 2)(c) && c.Status.Quorum.Voters[2].DirectoryID == lost
	})
	require.Equal(t, []string{"remove 2", "add 2"}, w.whatChanged())
	w.awaitEvent("VoterRemoved", "another disk")
	t.Logf("after %s", time.Since(began))
}

// TestAVoterThatIsGoneIsReplacedAfterAWhile, not before, and observes when it returns.
func TestAVoterThatIsGoneIsReplacedAfterAWhile(t *testing.T) {
	w := newWorld(t)
	w.apply(strings.Replace(strings.Replace(base, "spec:", "spec:\n  quorum: {voters: 3, replaceAfter: 3m}", 1), "controllers: {replicas: 3", "controllers: {replicas: 4", 1))
	w.await("demo", "three of four vote", voters(0, 1, 2))
	var began time.Time
	w.stick(2, true)
	w.await("demo", "its clock runs", func(c *v1alpha1.KRaftCluster) bool {
		return len(c.Status.GoneVoters) == 1 && c.Status.GoneVoters[0].ID == 2
	})
	w.stick(2, false)
	w.await("demo", "it is back", func(c *v1alpha1.KRaftCluster) bool { return len(c.Status.GoneVoters) == 0 && voters(0, 1, 2)(c) })
	require.Empty(t, w.whatChanged(), "a blip")

	w.edit("demo", func(c *v1alpha1.KRaftCluster) { c.Spec.Quorum.ReplaceAfter = "10s" })
	w.await("demo", "Ready", voters(0, 1, 2))
	began = time.Now()
	w.stick(2, true)
	w.await("demo", "another in its place", func(c *v1alpha1.KRaftCluster) bool {
		return c.Status.Quorum != nil && len(c.Status.Quorum.Voters) == 3 && c.Status.Quorum.Voters[2].ID == 3
	})
	require.GreaterOrEqual(t, time.Since(began), 9*time.Second) // status keeps seconds
	require.Equal(t, []string{"add 3", "remove 2"}, w.whatChanged())
	w.stick(2, false)
	w.await("demo", "it observes", voters(0, 1, 3))
	require.Len(t, w.whatChanged(), 2)
}

// TestAGoneVoterWithoutAStandbyIsACondition that says what is missing.
func TestAGoneVoterWithoutAStandbyIsACondition(t *testing.T) {
	w := newWorld(t)
	w.apply(strings.Replace(base, "spec:", "spec:\n  quorum: {replaceAfter: 10s}", 1))
	w.await("demo", "Ready", is("Ready", "True"))
	w.stick(2, true)
	c := w.await("demo", "it says what is missing", func(c *v1alpha1.KRaftCluster) bool {
		return strings.Contains(condition(c, "Ready").Message, "no other controller stands by")
	})
	require.Equal(t, "ChangingVoters", condition(c, "Ready").Reason)
	require.Empty(t, w.whatChanged())
	w.stick(2, false)
	w.await("demo", "Ready again", voters(0, 1, 2))
}

// TestAChangeWithoutAnAnswerIsNotTriedBlindly: it is looked for first, and refusals are told.
func TestAChangeWithoutAnAnswerIsNotTriedBlindly(t *testing.T) {
	w := newWorld(t)
	w.apply(base)
	w.await("demo", "Ready", is("Ready", "True"))
	w.destine(refused, lostAnswer, neverReached)
	w.edit("demo", func(c *v1alpha1.KRaftCluster) { c.Spec.Controllers.Replicas = 5 })
	w.await("demo", "5 voters", voters(0, 1, 2, 3, 4))
	require.Equal(t, []string{"add 3", "add 4", "add 3", "add 3"}, w.whatChanged(), "refused, so the next one; made without an answer, never read, made")
	w.mu.Lock()
	changes := slices.Clone(w.changes)
	w.mu.Unlock()
	require.GreaterOrEqual(t, changes[2].at.Sub(changes[1].at), 1900*time.Millisecond, "it waited to see the change")
	require.GreaterOrEqual(t, changes[3].at.Sub(changes[2].givenUp), 9*time.Second, "it waited until the change couldn't come; status keeps seconds")
	w.awaitEvent("VoterChangeRefused", "no luck")
	w.awaitEvent("VoterChangeUnclear", "add 4")
}

// TestCombinedNodesStayWhileTheyMayHoldReplicas; their votes follow the spec.
func TestCombinedNodesStayWhileTheyMayHoldReplicas(t *testing.T) {
	w := newWorld(t)
	w.lead(0)
	w.apply(combined)
	c := w.await("demo", "Ready", is("Ready", "True"))
	c.Spec.Controllers.Replicas = 1
	requireVerdict(t, kube.Update(t.Context(), c), []string{"spec.controllers.replicas", "combined nodes may hold replicas", "spec.quorum.voters"})

	w.destroy(c) // over the claims of three there can be one that asks for fewer
	w.apply(strings.Replace(combined, "replicas: 3", "replicas: 1", 1))
	c = w.await("demo", "held back", is("Stalled", "True"))
	require.Equal(t, "BrokersHoldReplicas", c.Status.HeldBack[0].Reason)
	require.Equal(t, "spec.controllers.replicas", c.Status.HeldBack[0].Field)
	require.Equal(t, []string{"remove 2", "remove 1"}, w.whatChanged())
	require.Len(t, w.podUIDs(), 3)
	w.edit("demo", func(c *v1alpha1.KRaftCluster) { c.Spec.Controllers.Replicas = 3 })
	w.await("demo", "Ready again", voters(0, 1, 2))
}

// TestAVoterThatIsRefusedHoldsUpNoRoll: what is rolled may be what it is refused for.
func TestAVoterThatIsRefusedHoldsUpNoRoll(t *testing.T) {
	w := newWorld(t)
	w.apply(base)
	w.await("demo", "Ready", is("Ready", "True"))
	w.destine(slices.Repeat([]fate{refused}, 1000)...)
	w.edit("demo", func(c *v1alpha1.KRaftCluster) { c.Spec.Controllers.Replicas = 5 })
	w.awaitEvent("VoterChangeRefused", "no luck")
	w.takeStarted()
	w.edit("demo", func(c *v1alpha1.KRaftCluster) {
		c.Spec.Brokers.Template.Annotations = map[string]string{"example.com/restart": "1"}
	})
	c := w.await("demo", "rolled", func(c *v1alpha1.KRaftCluster) bool {
		return c.Status.AcceptedGeneration == c.Generation && c.Status.Pools[1].Updated == 3 && c.Status.Pools[1].Ready == 3
	})
	require.Len(t, w.takeStarted(), 3)
	require.Equal(t, "ChangingVoters", condition(c, "Ready").Reason)
	w.destine()
	w.await("demo", "5 voters", voters(0, 1, 2, 3, 4))
}
