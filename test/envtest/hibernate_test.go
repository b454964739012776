package envtest

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/kraft-dev/kraft-operator/api/v1alpha1"
)

// slowStop is how long a pod goes on after its StatefulSet was scaled to nothing.
const slowStop = 300 * time.Millisecond

// stopPod is what becomes of a pod whose StatefulSet has no replicas: asked to stop, then gone.
func (w *world) stopPod(ctx context.Context, pod *corev1.Pod) error {
	if pod == nil {
		return nil
	}
	const asked = "test/asked-to-stop"
	at, err := time.Parse(time.RFC3339Nano, pod.Annotations[asked])
	if err != nil {
		patch := client.MergeFrom(pod.DeepCopy())
		metav1.SetMetaDataAnnotation(&pod.ObjectMeta, asked, time.Now().Format(time.RFC3339Nano))
		return kube.Patch(ctx, pod, patch)
	}
	if time.Since(at) < slowStop {
		return nil
	}
	w.stopped = append(w.stopped, strings.TrimPrefix(strings.TrimSuffix(pod.Name, "-0"), "demo-"))
	return kube.Delete(ctx, pod, client.GracePeriodSeconds(0))
}

func (w *world) takeStopped() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.stopped
	w.stopped = nil
	return s
}

func (w *world) hibernate(is bool) {
	w.t.Helper()
	w.edit("demo", func(c *v1alpha1.KRaftCluster) { c.Spec.Hibernated = is })
}

// requireStopOrder: brokers, then observers, then voters, then the leader.
func requireStopOrder(t *testing.T, stopped []string, batches ...[]string) {
	t.Helper()
	for _, batch := range batches {
		require.GreaterOrEqual(t, len(stopped), len(batch), "%v", stopped)
		require.ElementsMatch(t, batch, stopped[:len(batch)], "%v", stopped)
		stopped = stopped[len(batch):]
	}
	require.Empty(t, stopped)
}

var hibernated = func(c *v1alpha1.KRaftCluster) bool {
	return is("Ready", "True")(c) && condition(c, "Ready").Reason == "Hibernated"
}

// TestAClusterHibernatesAndWakes: in order, told in status, with claims and Services kept; waking needs no hand.
func TestAClusterHibernatesAndWakes(t *testing.T) {
	w := newWorld(t)
	w.apply(strings.Replace(base, "controllers: {replicas: 3", "quorum: {voters: 3}\n  controllers: {replicas: 5", 1))
	was := w.await("demo", "Ready", is("Ready", "True"))
	claims, addresses := w.claims(), w.serviceAddresses()
	before := w.sets()
	w.keepStopped(true)
	w.hibernate(true)
	c := w.await("demo", "says what it stops", func(c *v1alpha1.KRaftCluster) bool {
		return is("Ready", "False")(c) && c.Status.Doing != nil
	})
	require.Equal(t, "stop brokers 1000, 1001, 1002", c.Status.Doing.What)
	require.Equal(t, "spec.hibernated", c.Status.Doing.Reason)
	require.Equal(t, "Hibernating", condition(c, "Ready").Reason)
	require.Equal(t, metav1.ConditionTrue, condition(c, "Reconciling").Status)
	w.keepStopped(false)

	c = w.await("demo", "Hibernated", hibernated)
	requireStopOrder(t, w.takeStopped(), []string{"broker-1000", "broker-1001", "broker-1002"},
		[]string{"controller-3", "controller-4"}, []string{"controller-0", "controller-2"}, []string{"controller-1"})
	require.Empty(t, w.podUIDs())
	require.Len(t, w.claims(), len(claims))
	require.Equal(t, addresses, w.serviceAddresses())
	for kind, reason := range map[string]string{"Available": "Hibernated", "QuorumHealthy": "Hibernated", "Stalled": "Hibernated", "Reconciling": "Hibernated", "Rolling": "UpToDate"} {
		require.Equal(t, metav1.ConditionFalse, condition(c, kind).Status, kind)
		require.Equal(t, reason, condition(c, kind).Reason, kind)
	}
	require.Equal(t, v1alpha1.Hibernated, c.Status.Hibernation.Phase)
	require.Nil(t, c.Status.Doing)
	require.Empty(t, c.Status.GoneVoters)
	require.Equal(t, int32(0), c.Status.Brokers.Replicas, "the scale subresource counts what runs")
	require.Equal(t, "0/3", c.Status.Brokers.ReadyOfAll)
	require.Empty(t, c.Status.Quorum.Leader)
	require.Contains(t, c.Status.NextCommand, `"hibernated":false`)
	w.awaitEvent("Stopping", "active controller 1: spec.hibernated")
	w.awaitEvent("Hibernated", "every node is stopped")

	w.takeStarted()
	w.hibernate(false)
	c = w.await("demo", "Ready again", func(c *v1alpha1.KRaftCluster) bool {
		return is("Ready", "True")(c) && condition(c, "Ready").Reason == "AsSpecified"
	})
	require.Nil(t, c.Status.Hibernation)
	require.Len(t, w.takeStarted(), 8)
	require.Equal(t, was.Status.ClusterID, c.Status.ClusterID)
	for name, set := range w.sets() {
		require.Equal(t, before[name].UID, set.UID, "%s is the same StatefulSet", name)
		require.Equal(t, before[name].Spec, set.Spec, name)
	}
	w.awaitEvent("Waking", "8 nodes")
	w.awaitEvent("Woken", "controller")
}

func (w *world) serviceAddresses() map[string]string {
	w.t.Helper()
	var list corev1.ServiceList
	require.NoError(w.t, kube.List(w.t.Context(), &list, client.InNamespace(w.ns)))
	out := map[string]string{}
	for _, s := range list.Items {
		out[s.Name] = string(s.UID) + s.Spec.ClusterIP
	}
	return out
}

// TestAnEditOfARestingClusterTakesEffectWhenItWakes: no node is restarted for it, as none runs.
func TestAnEditOfARestingClusterTakesEffectWhenItWakes(t *testing.T) {
	w := newWorld(t)
	w.apply(base)
	w.await("demo", "Ready", is("Ready", "True"))
	w.hibernate(true)
	w.await("demo", "Hibernated", hibernated)
	w.takeStarted()
	w.edit("demo", func(c *v1alpha1.KRaftCluster) { c.Spec.Image, c.Spec.Brokers.Replicas = "kraft:2", 4 })
	w.await("demo", "accepted", func(c *v1alpha1.KRaftCluster) bool {
		return hibernated(c) && c.Status.AcceptedGeneration == c.Generation && len(w.sets()) == 7
	})
	require.Empty(t, w.takeStarted(), "it rests on")
	w.hibernate(false)
	w.await("demo", "Ready again", func(c *v1alpha1.KRaftCluster) bool {
		return is("Ready", "True")(c) && c.Status.Brokers.ReadyOfAll == "4/4"
	})
	started := w.takeStarted()
	require.Len(t, started, 7, "each once")
	for _, s := range started {
		require.True(t, strings.HasSuffix(s, "@kraft:2"), "%v", started)
	}
}

// TestHibernationComesBeforeARoll that waits, and the roll isn't gone on with afterwards, as all are new by then.
func TestHibernationComesBeforeARoll(t *testing.T) {
	w := newWorld(t)
	w.apply(base)
	w.await("demo", "Ready", is("Ready", "True"))
	w.hold(1000, true)
	w.edit("demo", func(c *v1alpha1.KRaftCluster) {
		c.Spec.Brokers.Template.Annotations = map[string]string{"example.com/restart": "1"}
	})
	w.await("demo", "the roll waits", func(c *v1alpha1.KRaftCluster) bool {
		return c.Status.Doing != nil && strings.Contains(c.Status.Doing.WaitsFor, "orders-0")
	})
	w.hibernate(true)
	w.await("demo", "Hibernated", hibernated)
	w.hold(1000, false)
	w.takeStarted()
	w.hibernate(false)
	w.await("demo", "Ready again", func(c *v1alpha1.KRaftCluster) bool {
		return is("Ready", "True")(c) && condition(c, "Ready").Reason == "AsSpecified"
	})
	require.Len(t, w.takeStarted(), 6)
}

// TestAMindIsChangedInTheMiddle: half asleep it wakes.
func TestAMindIsChangedInTheMiddle(t *testing.T) {
	w := newWorld(t)
	w.apply(base)
	w.await("demo", "Ready", is("Ready", "True"))
	w.hibernate(true)
	w.await("demo", "brokers stop", func(*v1alpha1.KRaftCluster) bool { return len(w.podUIDs()) < 6 })
	w.hibernate(false)
	c := w.await("demo", "Ready again", func(c *v1alpha1.KRaftCluster) bool {
		return is("Ready", "True")(c) && len(w.podUIDs()) == 6
	})
	require.Nil(t, c.Status.Hibernation)
	require.Nil(t, c.Status.Doing)
}

// TestANewClusterFormsBeforeItHibernates, and one that is made again over its claims hibernates at once.
func TestANewClusterFormsBeforeItHibernates(t *testing.T) {
	w := newWorld(t)
	resting := strings.Replace(base, "spec:", "spec:\n  hibernated: true", 1)
	w.apply(resting)
	c := w.await("demo", "Hibernated", hibernated)
	require.True(t, c.Status.Formed)
	require.Empty(t, w.podUIDs())
	w.destroy(c)
	require.Len(t, w.claims(), 6)

	w.takeStarted()
	w.apply(resting)
	again := w.await("demo", "Hibernated", hibernated)
	require.Equal(t, c.Status.ClusterID, again.Status.ClusterID)
	require.Empty(t, w.takeStarted(), "nothing had to run for that")
	w.hibernate(false)
	w.await("demo", "Ready", func(c *v1alpha1.KRaftCluster) bool {
		return is("Ready", "True")(c) && condition(c, "Ready").Reason == "AsSpecified"
	})
}

// TestAPausedClusterDoesntHibernate until it isn't paused any more; one that rests is Ready while paused.
func TestAPausedClusterDoesntHibernate(t *testing.T) {
	w := newWorld(t)
	w.apply(base)
	w.await("demo", "Ready", is("Ready", "True"))
	w.edit("demo", func(c *v1alpha1.KRaftCluster) { c.Spec.Paused, c.Spec.Hibernated = true, true })
	w.await("demo", "paused", func(c *v1alpha1.KRaftCluster) bool {
		return is("Ready", "False")(c) && condition(c, "Reconciling").Reason == "Paused" && condition(c, "Ready").Reason == "Paused"
	})
	require.Len(t, w.podUIDs(), 6)
	w.edit("demo", func(c *v1alpha1.KRaftCluster) { c.Spec.Paused = false })
	w.await("demo", "Hibernated", hibernated)
	w.edit("demo", func(c *v1alpha1.KRaftCluster) { c.Spec.Paused = true })
	w.await("demo", "Hibernated and paused", func(c *v1alpha1.KRaftCluster) bool {
		return hibernated(c) && condition(c, "Reconciling").Reason == "Paused"
	})
	w.edit("demo", func(c *v1alpha1.KRaftCluster) { c.Spec.Hibernated = false })
	w.await("demo", "paused: it isn't woken", func(c *v1alpha1.KRaftCluster) bool { return is("Ready", "False")(c) })
	require.Empty(t, w.podUIDs())
	w.edit("demo", func(c *v1alpha1.KRaftCluster) { c.Spec.Paused = false })
	w.await("demo", "Ready", is("Ready", "True"))
}

// TestAHandDoesntWakeANode of a cluster that rests, and a StatefulSet that it deleted comes back asleep.
func TestAHandDoesntWakeANode(t *testing.T) {
	w := newWorld(t)
	w.apply(base)
	w.await("demo", "Ready", is("Ready", "True"))
	w.hibernate(true)
	w.await("demo", "Hibernated", hibernated)
	w.takeStopped()
	set := w.sets()["demo-broker-1001"]
	edited := set.DeepCopy()
	one := int32(1)
	edited.Spec.Replicas = &one
	require.NoError(t, kube.Patch(t.Context(), edited, client.MergeFrom(&set)))
	gone := w.sets()["demo-controller-1"]
	require.NoError(t, kube.Delete(t.Context(), &gone))
	w.await("demo", "asleep again", func(c *v1alpha1.KRaftCluster) bool {
		sets := w.sets()
		again, ok := sets["demo-controller-1"]
		return ok && again.UID != gone.UID && *again.Spec.Replicas == 0 && *sets["demo-broker-1001"].Spec.Replicas == 0 && hibernated(c)
	})
	require.Empty(t, slices.DeleteFunc(w.takeStopped(), func(s string) bool { return s == "broker-1001" }))
	w.hibernate(false)
	w.await("demo", "Ready", func(c *v1alpha1.KRaftCluster) bool {
		return is("Ready", "True")(c) && len(w.podUIDs()) == 6
	})
}
