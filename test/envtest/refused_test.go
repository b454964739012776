package envtest

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/kraft-dev/kraft-operator/api/v1alpha1"
)

// fill lets the namespace have no more claims than it has, by a quota.
func (w *world) fill() *corev1.ResourceQuota {
	w.t.Helper()
	quota := w.bound(corev1.ResourcePersistentVolumeClaims, len(w.claims()))
	w.untilRefused(&corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Name: "tried", Namespace: w.ns}, Spec: corev1.PersistentVolumeClaimSpec{
		AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
		Resources:   corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")}},
	}})
	return quota
}

// untilRefused waits until the API goes by a quota that has no room for tried.
func (w *world) untilRefused(tried client.Object) {
	w.t.Helper()
	w.until("the API goes by it", func() bool {
		return apierrors.IsForbidden(kube.Create(w.t.Context(), tried.DeepCopyObject().(client.Object), client.DryRunAll))
	})
}

// bound lets the namespace have no more of something than it has.
func (w *world) bound(what corev1.ResourceName, n int) *corev1.ResourceQuota {
	w.t.Helper()
	has := corev1.ResourceList{what: *resource.NewQuantity(int64(n), resource.DecimalSI)}
	quota := &corev1.ResourceQuota{ObjectMeta: metav1.ObjectMeta{Name: "full", Namespace: w.ns}, Spec: corev1.ResourceQuotaSpec{Hard: has}}
	require.NoError(w.t, kube.Create(w.t.Context(), quota))
	quota.Status = corev1.ResourceQuotaStatus{Hard: has, Used: has} // no controller counts here
	require.NoError(w.t, kube.Status().Update(w.t.Context(), quota))
	return quota
}

// brokersMayBeEvicted tells whether the brokers' budget allows an eviction.
func (w *world) brokersMayBeEvicted() bool {
	w.t.Helper()
	var budget policyv1.PodDisruptionBudget
	w.read(func(ctx context.Context) error {
		return kube.Get(ctx, client.ObjectKey{Namespace: w.ns, Name: "demo-brokers"}, &budget)
	})
	return *budget.Spec.MaxUnavailable != intstr.FromInt32(0)
}

// TestAClaimThatCantGrowIsHeldBack: the API grows none that isn't bound, and nobody binds them here.
func TestAClaimThatCantGrowIsHeldBack(t *testing.T) {
	w := newWorld(t)
	w.apply(base)
	w.await("demo", "Ready", is("Ready", "True"))
	w.edit("demo", func(c *v1alpha1.KRaftCluster) { c.Spec.Brokers.Storage.Size = intstr.FromString("200Gi") })
	c := w.await("demo", "held back", is("Stalled", "True"))
	require.Equal(t, "spec.brokers.storage.size", c.Status.HeldBack[0].Field)
	require.Contains(t, c.Status.HeldBack[0].Message, "claim data-demo-broker-1000 stays at 100Gi")
	w.awaitEvent("ClaimCannotGrow", "data-demo-broker-1000")
	statuses := w.statuses("demo")
	for i := range int32(2) { // each makes the operator look
		w.edit("demo", func(c *v1alpha1.KRaftCluster) { c.Spec.Rolling.MaxUnavailable = intstr.FromInt32(2 + i) })
		w.await("demo", "looked at", is("Stalled", "True"))
	}
	for _, c := range statuses() {
		require.Len(t, c.Status.HeldBack, 1, "it stands throughout")
	}
}

// TestNodesThatTheAPIRefusesHoldUpNothingElse: under a full quota the spec is held back, the nodes there are go on being cared for, and
// those that are missing are made when there is room.
func TestNodesThatTheAPIRefusesHoldUpNothingElse(t *testing.T) {
	w := newWorld(t)
	w.apply(base)
	w.await("demo", "Ready", is("Ready", "True"))
	w.until("a broker may be evicted", w.brokersMayBeEvicted)
	quota := w.fill()
	refused := func(field string) func(*v1alpha1.KRaftCluster) bool {
		return func(c *v1alpha1.KRaftCluster) bool {
			held := c.Status.HeldBack
			return is("Stalled", "True")(c) && len(held) == 1 && held[0].Field == field && held[0].Reason == "NodeRefused"
		}
	}
	w.edit("demo", func(c *v1alpha1.KRaftCluster) { c.Spec.Brokers.Replicas = 9 })
	c := w.await("demo", "held back", refused("spec.brokers.replicas"))
	require.Contains(t, c.Status.HeldBack[0].Message, "node 1003 and 5 more can't be made")
	require.Contains(t, c.Status.HeldBack[0].Message, "exceeded quota")
	require.Less(t, c.Status.AcceptedGeneration, c.Generation)
	require.True(t, is("Available", "True")(c))
	w.awaitEvent("NodeRefused", "exceeded quota")

	w.hold(1001, true)
	w.until("no broker may be evicted", func() bool { return !w.brokersMayBeEvicted() })
	w.hold(1001, false)
	w.until("a broker may be evicted again", w.brokersMayBeEvicted)

	w.takeStarted()
	w.edit("demo", func(c *v1alpha1.KRaftCluster) {
		c.Spec.Brokers.Template.Annotations = map[string]string{"example.com/restart": "1"}
	})
	w.await("demo", "held back after the roll", func(c *v1alpha1.KRaftCluster) bool {
		return refused("spec.brokers.replicas")(c) && c.Status.Pools[1].Updated == 3
	})
	require.ElementsMatch(t, []string{"demo-broker-1000@kraft:1", "demo-broker-1001@kraft:1", "demo-broker-1002@kraft:1"}, w.takeStarted())

	w.edit("demo", func(c *v1alpha1.KRaftCluster) { c.Spec.Brokers.Replicas = 3 })
	c = w.await("demo", "Ready with those it has", is("Ready", "True"))
	require.Empty(t, c.Status.HeldBack)
	require.Equal(t, []int32{1000, 1001, 1002}, c.Status.Pools[1].NodeIDs)

	w.edit("demo", func(c *v1alpha1.KRaftCluster) { c.Spec.Controllers.Replicas = 5 })
	c = w.await("demo", "controllers held back", refused("spec.controllers.replicas"))
	require.Equal(t, "HeldBack", condition(c, "Ready").Reason, "not as if a voter were about to come")
	require.NoError(t, kube.Delete(t.Context(), quota))
	c = w.await("demo", "Ready with all", is("Ready", "True"))
	require.Empty(t, c.Status.HeldBack)
	require.Len(t, c.Status.Quorum.Voters, 5)
}

// TestWhatTheAPIRefusesOfARunningNodeHoldsUpNothingElse: a setting for which no ConfigMap can be made is held back, nobody is restarted for
// it, a lost disk is replaced meanwhile, and it is carried out when there is room.
func TestWhatTheAPIRefusesOfARunningNodeHoldsUpNothingElse(t *testing.T) {
	w := newWorld(t)
	w.apply(base)
	w.await("demo", "Ready", is("Ready", "True"))
	var maps corev1.ConfigMapList
	w.read(func(ctx context.Context) error { return kube.List(ctx, &maps, client.InNamespace(w.ns)) })
	quota := w.bound("count/configmaps", len(maps.Items))
	w.untilRefused(&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "tried", Namespace: w.ns}})
	w.takeStarted()
	w.edit("demo", func(c *v1alpha1.KRaftCluster) { c.Spec.Config = v1alpha1.NodeConfig{"num.partitions": "7"} })
	c := w.await("demo", "held back", func(c *v1alpha1.KRaftCluster) bool { return is("Stalled", "True")(c) && len(c.Status.HeldBack) == 2 })
	for i, field := range []string{"spec.controllers", "spec.brokers"} {
		require.Equal(t, field, c.Status.HeldBack[i].Field)
		require.Equal(t, "ChangeRefused", c.Status.HeldBack[i].Reason)
		require.Contains(t, c.Status.HeldBack[i].Message, "stays as it is: ")
		require.Contains(t, c.Status.HeldBack[i].Message, "exceeded quota")
	}
	require.True(t, is("Available", "True")(c))
	w.awaitEvent("ChangeRefused", "exceeded quota")
	w.loseDisk(2)
	w.edit("demo", func(c *v1alpha1.KRaftCluster) { c.Spec.Rolling.MaxUnavailable.IntVal = 2 }) // look now
	w.until("the lost disk is replaced", func() bool { return len(w.whatChanged()) == 2 })
	require.Empty(t, w.takeStarted())
	require.NoError(t, kube.Delete(t.Context(), quota))
	c = w.await("demo", "Ready with the setting", func(c *v1alpha1.KRaftCluster) bool { return is("Ready", "True")(c) && len(c.Status.HeldBack) == 0 })
	require.Len(t, w.takeStarted(), 6)
	require.Equal(t, c.Generation, c.Status.AcceptedGeneration)
}
