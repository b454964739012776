package envtest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/kraft-dev/kraft-operator/api/v1alpha1"
)

// TestAClusterFormsAndBecomesReady: identity first, then pods; formed is written down in three places before Ready.
func TestAClusterFormsAndBecomesReady(t *testing.T) {
	w := newWorld(t)
	start := time.Now()
	w.apply(base)
	c := w.await("demo", "Ready", is("Ready", "True"))
	t.Logf("Ready after %s", time.Since(start))

	require.Len(t, c.Status.ClusterID, 22)
	require.Len(t, c.Status.InitialVoters, 3)
	require.True(t, c.Status.Formed)
	require.Equal(t, c.Generation, c.Status.AcceptedGeneration)
	require.Empty(t, c.Status.HeldBack)
	require.Equal(t, "1", c.Status.Quorum.Leader)
	require.Equal(t, "3/3", c.Status.Quorum.VotersReady)
	require.Equal(t, "3/3", c.Status.Brokers.ReadyOfAll)
	require.Equal(t, []int32{0, 1, 2}, c.Status.Pools[0].NodeIDs)
	require.Equal(t, []int32{1000, 1001, 1002}, c.Status.Pools[1].NodeIDs)
	require.Equal(t, "3", c.Status.Defaults["offsets.topic.replication.factor"])
	require.Equal(t, "demo-bootstrap."+w.ns+".svc:9092", c.Status.Listeners[0].BootstrapServers)
	require.Equal(t, 1, strings.Count(c.Status.Listeners[1].BootstrapServers, "192.0.2.10:"), "one Kubernetes node, its port to any Ready broker")
	require.Contains(t, c.Status.NextCommand, "kubectl")
	for _, kind := range []string{"Available", "QuorumFormed", "QuorumHealthy"} {
		require.Equal(t, metav1.ConditionTrue, condition(c, kind).Status, kind)
	}
	for _, kind := range []string{"Reconciling", "Stalled", "Rolling"} {
		require.Equal(t, metav1.ConditionFalse, condition(c, kind).Status, kind)
	}
	claims := w.claims()
	require.Len(t, claims, 6)
	for _, claim := range claims {
		require.Equal(t, c.Status.ClusterID, claim.Annotations["kraft.dev/cluster-id"])
		require.Equal(t, "true", claim.Annotations["kraft.dev/formed"])
		require.Empty(t, claim.OwnerReferences, "kept when the cluster is deleted")
	}
	var live corev1.ConfigMap
	require.NoError(t, kube.Get(t.Context(), client.ObjectKey{Namespace: w.ns, Name: "demo-live"}, &live))
	require.Contains(t, live.Data["live.properties"], "kraft.formation.permit=false")
	require.Len(t, w.takeStarted(), 6, "no pod was started twice")

	// Nothing is written again while nothing changes, but for the offsets in status.
	versions := w.versions()
	w.edit("demo", func(c *v1alpha1.KRaftCluster) { c.Spec.Rolling.MaxUnavailable = intstr.FromInt(2) })
	w.await("demo", "looked at again", is("Ready", "True"))
	w.await("demo", "accepted", func(c *v1alpha1.KRaftCluster) bool { return c.Status.AcceptedGeneration == c.Generation })
	require.Equal(t, versions, w.versions())
}

// versions are the resource versions of what the operator applies.
func (w *world) versions() map[string]string {
	w.t.Helper()
	out := map[string]string{}
	for _, list := range []client.ObjectList{&appsv1.StatefulSetList{}, &corev1.ServiceList{}, &corev1.ConfigMapList{}, &corev1.PersistentVolumeClaimList{}, &networkingv1.NetworkPolicyList{}, &corev1.ServiceAccountList{}} {
		require.NoError(w.t, kube.List(w.t.Context(), list, client.InNamespace(w.ns)))
		require.NoError(w.t, meta.EachListItem(list, func(o runtime.Object) error {
			obj := o.(client.Object)
			out[fmt.Sprintf("%T %s", obj, obj.GetName())] = obj.GetResourceVersion()
			return nil
		}))
	}
	return out
}

// TestAChangedSettingRollsOneNodeAtATime: controllers first, the active one last, then the brokers; each with its reason.
func TestAChangedSettingRollsOneNodeAtATime(t *testing.T) {
	w := newWorld(t)
	w.apply(base)
	w.await("demo", "Ready", is("Ready", "True"))
	w.takeStarted()
	w.edit("demo", func(c *v1alpha1.KRaftCluster) { c.Spec.Config = map[string]string{"num.partitions": "4"} })
	w.await("demo", "Ready after the roll", func(c *v1alpha1.KRaftCluster) bool {
		return is("Ready", "True")(c) && c.Status.Pools[0].Updated == 3 && c.Status.Pools[1].Updated == 3
	})
	require.Equal(t, []string{
		"demo-controller-0@kraft:1", "demo-controller-2@kraft:1", "demo-controller-1@kraft:1",
		"demo-broker-1000@kraft:1", "demo-broker-1001@kraft:1", "demo-broker-1002@kraft:1",
	}, w.takeStarted())
	require.Equal(t, 1, w.mostDown())
	w.awaitEvent("Restarting", "changed: config num.partitions")
}

// TestARollWaitsForMinISR: a broker that can't be spared isn't restarted until it can.
func TestARollWaitsForMinISR(t *testing.T) {
	w := newWorld(t)
	w.apply(base)
	w.await("demo", "Ready", is("Ready", "True"))
	w.hold(1000, true)
	w.takeStarted()
	w.edit("demo", func(c *v1alpha1.KRaftCluster) {
		c.Spec.Brokers.Template.Annotations = map[string]string{"example.com/restart": "1"}
	})
	c := w.await("demo", "the roll waits", func(c *v1alpha1.KRaftCluster) bool {
		return c.Status.Doing != nil && strings.Contains(c.Status.Doing.WaitsFor, "orders-0")
	})
	require.Equal(t, metav1.ConditionTrue, condition(c, "Rolling").Status)
	require.Empty(t, w.takeStarted())
	w.hold(1000, false)
	w.await("demo", "Ready after the roll", func(c *v1alpha1.KRaftCluster) bool {
		return is("Ready", "True")(c) && c.Status.Pools[1].Updated == 3
	})
	require.Len(t, w.takeStarted(), 3)
	require.Equal(t, 1, w.mostDown())
}

// TestARollGoesPastABrokerThatLags: its budget is shut for its own lag, and it restarts all the same, before its turn.
func TestARollGoesPastABrokerThatLags(t *testing.T) {
	w := newWorld(t)
	w.apply(base)
	w.await("demo", "Ready", is("Ready", "True"))
	w.lag(1002, 1000, true)
	w.takeStarted()
	w.edit("demo", func(c *v1alpha1.KRaftCluster) {
		c.Spec.Brokers.Template.Annotations = map[string]string{"example.com/restart": "1"}
	})
	w.awaitStarted("demo-broker-1002@kraft:1")
	w.awaitEvent("Replacing", "it lags")
	w.await("demo", "the roll waits", func(c *v1alpha1.KRaftCluster) bool {
		return c.Status.Doing != nil && strings.Contains(c.Status.Doing.WaitsFor, "demo-broker-1000 can't be spared: without it 1 partitions")
	})
	require.Equal(t, []string{"demo-broker-1002@kraft:1"}, w.takeStarted())
	w.lag(1002, 1000, false)
	w.await("demo", "Ready after the roll", func(c *v1alpha1.KRaftCluster) bool {
		return is("Ready", "True")(c) && c.Status.Pools[1].Updated == 3
	})
	require.Len(t, w.takeStarted(), 2)
}

// TestARolloutStopsAtTheFirstPodThatDoesntComeBack: the others keep their templates, and mending the spec finishes it.
func TestARolloutStopsAtTheFirstPodThatDoesntComeBack(t *testing.T) {
	w := newWorld(t)
	w.apply(base)
	w.await("demo", "Ready", is("Ready", "True"))
	before := w.sets()
	w.takeStarted()
	w.edit("demo", func(c *v1alpha1.KRaftCluster) { c.Spec.Image = badImage })
	c := w.await("demo", "RolloutStopped", func(c *v1alpha1.KRaftCluster) bool {
		return is("Stalled", "True")(c) && condition(c, "Stalled").Reason == "RolloutStopped"
	})
	require.Contains(t, condition(c, "Stalled").Message, "ImagePullBackOff")
	require.Contains(t, c.Status.NextCommand, "describe pod demo-controller-0-0")
	require.Equal(t, metav1.ConditionTrue, condition(c, "Available").Status, "it serves on")

	// A pod that is evicted meanwhile comes back as it was.
	require.NoError(t, kube.Delete(t.Context(), &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: w.ns, Name: "demo-broker-1001-0"}}))
	w.awaitStarted("demo-broker-1001@kraft:1")
	for name, set := range w.sets() {
		if name != "demo-controller-0" {
			require.Equal(t, before[name].Spec.Template, set.Spec.Template, name)
		}
	}
	w.takeStarted()
	w.edit("demo", func(c *v1alpha1.KRaftCluster) { c.Spec.Image = "kraft:2" })
	w.await("demo", "Ready after mending", func(c *v1alpha1.KRaftCluster) bool {
		return is("Ready", "True")(c) && c.Status.Pools[0].Updated == 3 && c.Status.Pools[1].Updated == 3
	})
	started := w.takeStarted()
	require.Len(t, started, 6)
	require.Equal(t, "demo-controller-0@kraft:2", started[0], "the broken one first")
}

// TestAClusterThatCouldntStartIsMended: no node can be Ready alone, so one is not waited for before the next is mended.
func TestAClusterThatCouldntStartIsMended(t *testing.T) {
	w := newWorld(t)
	w.apply(strings.Replace(base, "spec:", "spec:\n  image: "+badImage, 1))
	c := w.await("demo", "Stalled", is("Stalled", "True"))
	require.Equal(t, "NodesBroken", condition(c, "Stalled").Reason)
	w.edit("demo", func(c *v1alpha1.KRaftCluster) { c.Spec.Image = "kraft:2" })
	w.await("demo", "Ready after mending", is("Ready", "True"))
}

// TestBrokersJoinAndNobodyIsRolled also covers the scale subresource, and that the way back is refused while the last one holds replicas.
func TestBrokersJoinAndNobodyIsRolled(t *testing.T) {
	w := newWorld(t)
	w.apply(base)
	w.await("demo", "Ready", is("Ready", "True"))
	before := w.podUIDs()
	c := w.get("demo")
	patch := client.RawPatch("application/merge-patch+json", []byte(`{"spec":{"replicas":5}}`))
	require.NoError(t, kube.SubResource("scale").Patch(t.Context(), c, patch))
	c = w.await("demo", "5 brokers", func(c *v1alpha1.KRaftCluster) bool {
		return is("Ready", "True")(c) && c.Status.Brokers.ReadyOfAll == "5/5"
	})
	require.Equal(t, []int32{1000, 1001, 1002, 1003, 1004}, c.Status.Pools[1].NodeIDs)
	after := w.podUIDs()
	for name, uid := range before {
		require.Equal(t, uid, after[name], "%s was rolled", name)
	}
	w.hold(1004, true)
	statuses := w.statuses("demo")
	w.edit("demo", func(c *v1alpha1.KRaftCluster) { c.Spec.Brokers.Replicas = 3 })
	c = w.await("demo", "held back", is("Stalled", "True"))
	w.until("the same is seen in all its statuses", func() bool {
		all := statuses()
		return slices.ContainsFunc(all, func(s v1alpha1.KRaftCluster) bool { return s.ResourceVersion == c.ResourceVersion })
	})
	for _, s := range statuses() {
		require.False(t, is("Ready", "True")(&s), "Ready though it isn't as specified: %+v", s.Status)
	}
	require.Equal(t, "spec.brokers.replicas", c.Status.HeldBack[0].Field)
	require.Contains(t, c.Status.HeldBack[0].Message, "put back 5")
	require.Less(t, c.Status.AcceptedGeneration, c.Generation)
	require.Len(t, w.podUIDs(), 8)
	w.edit("demo", func(c *v1alpha1.KRaftCluster) { c.Spec.Brokers.Replicas = 5 })
	w.await("demo", "Ready again", is("Ready", "True"))
}

// TestWhatCantBeDoneYetIsHeldBack: by a condition that names the field, while the cluster goes on as it was.
func TestWhatCantBeDoneYetIsHeldBack(t *testing.T) {
	w := newWorld(t)
	w.apply(base)
	w.await("demo", "Ready", is("Ready", "True"))
	before := w.podUIDs()
	for _, tc := range []struct {
		name, field string
		change      func(*v1alpha1.KRaftCluster)
		undo        func(*v1alpha1.KRaftCluster)
	}{
		{"a value only the operator can judge", "spec.config",
			func(c *v1alpha1.KRaftCluster) { c.Spec.Config = map[string]string{"num.partitions": "six"} }, func(c *v1alpha1.KRaftCluster) { c.Spec.Config = nil }},
		{"a pod template that the API refuses", "spec.brokers",
			func(c *v1alpha1.KRaftCluster) {
				c.Spec.Brokers.Resources.Requests = v1alpha1.Amounts{"cpu": intstr.FromInt32(4)}
				c.Spec.Brokers.Resources.Limits = v1alpha1.Amounts{"cpu": intstr.FromInt32(2)}
			}, func(c *v1alpha1.KRaftCluster) { c.Spec.Brokers.Resources = v1alpha1.ResourcesSpec{} }},
	} {
		w.edit("demo", tc.change)
		c := w.await("demo", tc.name+" held back", is("Stalled", "True"))
		require.Equal(t, tc.field, c.Status.HeldBack[0].Field, tc.name)
		w.edit("demo", tc.undo)
		w.await("demo", "Ready again after "+tc.name, is("Ready", "True"))
	}
	require.Equal(t, before, w.podUIDs())
}

// TestAListenerWhoseServiceIsRefusedHoldsUpNothingElse: by a node port that isn't one, or a name that is another's.
func TestAListenerWhoseServiceIsRefusedHoldsUpNothingElse(t *testing.T) {
	w := newWorld(t)
	w.apply(base)
	w.await("demo", "Ready", is("Ready", "True"))
	require.NoError(t, kube.Create(t.Context(), &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: "demo-taken-bootstrap", Namespace: w.ns},
		Spec: corev1.ServiceSpec{Type: corev1.ServiceTypeExternalName, ExternalName: "elsewhere.example"}}))
	was := w.get("demo").Spec.Listeners
	brokers := w.get("demo").Spec.Brokers.Replicas
	for _, l := range []v1alpha1.ListenerSpec{
		{Name: "outside", Port: 9095, Type: v1alpha1.ListenerNodePort, Protocol: "PLAINTEXT", BootstrapNodePort: 80},
		{Name: "taken", Port: 9095, Type: v1alpha1.ListenerNodePort, Protocol: "PLAINTEXT"},
	} {
		brokers++
		w.edit("demo", func(c *v1alpha1.KRaftCluster) {
			c.Spec.Listeners, c.Spec.Brokers.Replicas = append(slices.Clone(was), l), brokers
		})
		c := w.await("demo", "one broker more, and the listener held back", func(c *v1alpha1.KRaftCluster) bool {
			return is("Stalled", "True")(c) && condition(c, "Stalled").Reason == "HeldBack" && c.Status.Brokers.Ready == brokers
		})
		require.Equal(t, "spec.listeners", c.Status.HeldBack[0].Field)
		require.Contains(t, c.Status.HeldBack[0].Message, "listener "+l.Name)
	}
	w.edit("demo", func(c *v1alpha1.KRaftCluster) { c.Spec.Listeners = was })
	w.await("demo", "Ready again", is("Ready", "True"))
}

// TestAClusterIsTheSameOverItsRetainedClaims: deletion needs no finalizer, keeps the claims, and re-creation adopts.
func TestAClusterIsTheSameOverItsRetainedClaims(t *testing.T) {
	w := newWorld(t)
	w.apply(base)
	c := w.await("demo", "Ready", is("Ready", "True"))
	require.Empty(t, c.Finalizers)
	w.destroy(c)
	require.Len(t, w.claims(), 6)

	w.apply(combined)
	refused := w.await("demo", "refused", is("Stalled", "True"))
	require.Contains(t, condition(refused, "Stalled").Message, "claim data-demo-broker-1000 is of a broker of its own: delete this KRaftCluster (its claims stay), and apply it with spec.controllers.roles [controller]")
	require.Empty(t, refused.Status.ClusterID)
	require.Empty(t, w.sets(), "nothing starts over others' disks")
	w.destroy(refused)

	w.apply(base)
	again := w.await("demo", "Ready", is("Ready", "True"))
	require.Equal(t, c.Status.ClusterID, again.Status.ClusterID)
	require.Equal(t, c.Status.InitialVoters, again.Status.InitialVoters)
	require.Equal(t, c.Status.Pools[1].NodeIDs, again.Status.Pools[1].NodeIDs)
	w.awaitEvent("ClusterAdopted", "formed: true")
}

// TestClaimsGoWithTheClusterWhereThePolicySaysSo, and stay once it says otherwise.
func TestClaimsGoWithTheClusterWhereThePolicySaysSo(t *testing.T) {
	w := newWorld(t)
	w.apply(strings.Replace(base, "spec:", "spec:\n  storage: {deletionPolicy: Delete}", 1))
	c := w.await("demo", "Ready", is("Ready", "True"))
	for _, claim := range w.claims() {
		require.True(t, metav1.IsControlledBy(&claim, c), claim.Name)
	}
	w.edit("demo", func(c *v1alpha1.KRaftCluster) { c.Spec.Storage.DeletionPolicy = v1alpha1.DeletionRetain })
	w.await("demo", "owners gone", func(*v1alpha1.KRaftCluster) bool {
		return !slices.ContainsFunc(w.claims(), func(c corev1.PersistentVolumeClaim) bool { return len(c.OwnerReferences) > 0 })
	})
}

// TestThePolicyIsAlsoThatOfClaimsWhoseNodeHasLeft: with Retain none goes with the cluster, with Delete none stays behind.
func TestThePolicyIsAlsoThatOfClaimsWhoseNodeHasLeft(t *testing.T) {
	w := newWorld(t)
	w.apply(strings.Replace(base, "spec:", "spec:\n  storage: {deletionPolicy: Delete}", 1))
	w.await("demo", "Ready", is("Ready", "True"))
	w.edit("demo", func(c *v1alpha1.KRaftCluster) { c.Spec.Brokers.Replicas = 2 })
	w.collect("demo-broker-1002")
	c := w.await("demo", "Ready with two brokers", is("Ready", "True"))
	left := w.claim("data-demo-broker-1002")
	require.Equal(t, "true", left.Annotations["kraft.dev/left"])
	require.True(t, metav1.IsControlledBy(&left, c))

	w.edit("demo", func(c *v1alpha1.KRaftCluster) { c.Spec.Storage.DeletionPolicy = v1alpha1.DeletionRetain })
	w.until("no claim has an owner", func() bool {
		return !slices.ContainsFunc(w.claims(), func(c corev1.PersistentVolumeClaim) bool { return len(c.OwnerReferences) > 0 })
	})
	w.edit("demo", func(c *v1alpha1.KRaftCluster) { c.Spec.Storage.DeletionPolicy = v1alpha1.DeletionDelete })
	w.until("every claim has its owner", func() bool {
		return !slices.ContainsFunc(w.claims(), func(claim corev1.PersistentVolumeClaim) bool { return !metav1.IsControlledBy(&claim, c) })
	})
	require.Equal(t, "true", w.claim(left.Name).Annotations["kraft.dev/left"])
	require.Len(t, w.claims(), 6)
}

// TestAForeignClaimIsRefused: nothing is made beside claims that belong to another cluster or don't say whose they are.
func TestAForeignClaimIsRefused(t *testing.T) {
	for _, tc := range []struct {
		name        string
		labels      map[string]string
		annotations map[string]string
		want        string
	}{
		{"of two clusters", map[string]string{"kraft.dev/cluster": "demo"}, map[string]string{"kraft.dev/cluster-id": "AAAAAAAAAAAAAAAAAAAAAA", "kraft.dev/node-id": "1001", "kraft.dev/formed": "true"}, "names its initial voters"},
		{"not ours", nil, nil, "data-demo-broker-1001 stands here"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t)
			claim := &corev1.PersistentVolumeClaim{
				ObjectMeta: metav1.ObjectMeta{Namespace: w.ns, Name: "data-demo-broker-1001", Labels: tc.labels, Annotations: tc.annotations},
				Spec: corev1.PersistentVolumeClaimSpec{
					AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
					Resources:   corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")}},
				},
			}
			require.NoError(t, kube.Create(t.Context(), claim))
			w.apply(base)
			c := w.await("demo", "Stalled", is("Stalled", "True"))
			require.Equal(t, "Refused", condition(c, "Stalled").Reason)
			require.Contains(t, condition(c, "Stalled").Message, tc.want)
			require.NotContains(t, w.sets(), "demo-broker-1001")
		})
	}
}

// TestATakenNameIsRefused: what another owns is left as it is, and the cluster goes on once the name is free.
func TestATakenNameIsRefused(t *testing.T) {
	yes := true
	for name, tc := range map[string]struct {
		owners []metav1.OwnerReference
		want   string
	}{
		"by nobody's Service": {nil, "Service demo-bootstrap stands here and belongs to no KRaftCluster"},
		"by another cluster": {
			[]metav1.OwnerReference{{APIVersion: "kraft.dev/v1alpha1", Kind: "KRaftCluster", Name: "demo-other", UID: "5d0b1b5e-0f67-4f2c-8b5e-5a4f3a1c9d10", Controller: &yes}},
			"Service demo-bootstrap stands here and belongs to KRaftCluster demo-other",
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			svc := &corev1.Service{
				ObjectMeta: metav1.ObjectMeta{Namespace: w.ns, Name: "demo-bootstrap", OwnerReferences: tc.owners},
				Spec:       corev1.ServiceSpec{Ports: []corev1.ServicePort{{Port: 80}}, Selector: map[string]string{"app": "other"}},
			}
			require.NoError(t, kube.Create(t.Context(), svc))
			w.apply(base)
			c := w.await("demo", "Stalled", is("Stalled", "True"))
			require.Equal(t, "Refused", condition(c, "Stalled").Reason)
			require.Contains(t, condition(c, "Stalled").Message, tc.want)
			now := &corev1.Service{}
			w.read(func(ctx context.Context) error { return kube.Get(ctx, client.ObjectKeyFromObject(svc), now) })
			require.Equal(t, svc.Spec, now.Spec)
			require.Equal(t, svc.ResourceVersion, now.ResourceVersion)
			require.NoError(t, kube.Delete(t.Context(), svc))
			w.await("demo", "Ready", is("Ready", "True"))
		})
	}
}

// TestWhatAHandChangedIsPutRight, without a pod being taken down for it.
func TestWhatAHandChangedIsPutRight(t *testing.T) {
	w := newWorld(t)
	w.apply(base)
	w.await("demo", "Ready", is("Ready", "True"))
	before := w.podUIDs()

	w.keepStopped(true) // what a pod goes by is the operator here, not how soon it is
	set := w.sets()["demo-broker-1000"]
	base := set.DeepCopy()
	zero := int32(0)
	set.Spec.Replicas = &zero
	require.NoError(t, kube.Patch(t.Context(), &set, client.MergeFrom(base)))
	svc := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: w.ns, Name: "demo-bootstrap"}}
	require.NoError(t, kube.Delete(t.Context(), svc))
	require.NoError(t, kube.Delete(t.Context(), &appsv1.StatefulSet{ObjectMeta: metav1.ObjectMeta{Namespace: w.ns, Name: "demo-controller-2"}}))

	w.await("demo", "all put right", func(*v1alpha1.KRaftCluster) bool {
		sets := w.sets()
		missing := kube.Get(t.Context(), client.ObjectKeyFromObject(svc), &corev1.Service{})
		broker, ok := sets["demo-broker-1000"]
		return missing == nil && ok && *broker.Spec.Replicas == 1 && len(sets) == 6
	})
	require.Equal(t, before, w.podUIDs())
}

// TestAPausedClusterIsOnlyLookedAt.
func TestAPausedClusterIsOnlyLookedAt(t *testing.T) {
	w := newWorld(t)
	w.apply(base)
	w.await("demo", "Ready", is("Ready", "True"))
	w.takeStarted()
	w.edit("demo", func(c *v1alpha1.KRaftCluster) { c.Spec.Paused, c.Spec.Image = true, "kraft:2" })
	c := w.await("demo", "paused", func(c *v1alpha1.KRaftCluster) bool { return condition(c, "Reconciling").Reason == "Paused" })
	require.Equal(t, metav1.ConditionFalse, condition(c, "Reconciling").Status)
	require.Equal(t, "Paused", condition(c, "Ready").Reason, "the image waits")
	require.NotEqual(t, "kraft:2", c.Status.Image)
	require.Less(t, c.Status.AcceptedGeneration, c.Generation)
	require.EqualValues(t, 3, c.Status.Pools[0].Updated)
	w.edit("demo", func(c *v1alpha1.KRaftCluster) { c.Spec.Image = "" })
	w.await("demo", "as it was when it was paused", is("Ready", "True"))
	w.edit("demo", func(c *v1alpha1.KRaftCluster) { c.Spec.Image = "kraft:2" })
	w.await("demo", "not as it is to be", is("Ready", "False"))
	require.Empty(t, w.takeStarted())
	w.edit("demo", func(c *v1alpha1.KRaftCluster) { c.Spec.Paused = false })
	w.await("demo", "rolled", func(c *v1alpha1.KRaftCluster) bool {
		return is("Ready", "True")(c) && c.Status.Pools[0].Updated == 3 && c.Status.Pools[1].Updated == 3
	})
	require.Len(t, w.takeStarted(), 6)
}

// TestAPauseDoesntHideThatTheQuorumHasFormed: the permit to form would stay.
func TestAPauseDoesntHideThatTheQuorumHasFormed(t *testing.T) {
	w := newWorld(t)
	for id := range int32(3) {
		w.stick(id, true)
	}
	w.apply(base)
	w.until("all StatefulSets are there", func() bool { return len(w.sets()) == 6 })
	w.edit("demo", func(c *v1alpha1.KRaftCluster) { c.Spec.Paused = true })
	c := w.await("demo", "paused in the middle", func(c *v1alpha1.KRaftCluster) bool { return condition(c, "Reconciling").Reason == "PausedMidway" })
	require.False(t, c.Status.Formed)
	for id := range int32(3) {
		w.stick(id, false)
	}
	w.await("demo", "formed", is("QuorumFormed", "True"))
}

// TestCombinedAndSingleNodesForm: the internal topics' replication follows the number of brokers.
func TestCombinedAndSingleNodesForm(t *testing.T) {
	for _, tc := range []struct{ name, text, factor string }{
		{"three", combined, "3"},
		{"one", strings.Replace(combined, "replicas: 3", "replicas: 1", 1), "1"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t)
			w.lead(0)
			w.apply(tc.text)
			c := w.await("demo", "Ready", is("Ready", "True"))
			require.Equal(t, tc.factor, c.Status.Defaults["offsets.topic.replication.factor"])
			w.edit("demo", func(c *v1alpha1.KRaftCluster) { c.Spec.Image = "kraft:2" })
			w.await("demo", "rolled", func(c *v1alpha1.KRaftCluster) bool {
				return is("Ready", "True")(c) && c.Status.Pools[0].Updated == int32(len(w.sets()))
			})
		})
	}
}

// destroy deletes a cluster and, as the garbage collector would, what it owns. A pass of the operator that began before
// may make something after: that goes in the world's next turn.
func (w *world) destroy(c *v1alpha1.KRaftCluster) {
	w.t.Helper()
	w.mu.Lock() // no turn starts a pod by a StatefulSet that it has seen before
	defer w.mu.Unlock()
	require.NoError(w.t, kube.Delete(w.t.Context(), c))
	w.dead = append(w.dead, c.UID)
	require.NoError(w.t, w.collectGarbage(w.t.Context()))
	require.NoError(w.t, kube.DeleteAllOf(w.t.Context(), &corev1.Pod{}, client.InNamespace(w.ns), client.GracePeriodSeconds(0)))
}

// collectGarbage deletes what clusters that were deleted own.
func (w *world) collectGarbage(ctx context.Context) error {
	if len(w.dead) == 0 {
		return nil
	}
	for _, list := range []client.ObjectList{&appsv1.StatefulSetList{}, &corev1.ServiceList{}, &corev1.ConfigMapList{}, &appsv1.ControllerRevisionList{}} {
		if err := kube.List(ctx, list, client.InNamespace(w.ns)); err != nil {
			return err
		}
		if err := meta.EachListItem(list, func(o runtime.Object) error {
			obj := o.(client.Object)
			owner := metav1.GetControllerOf(obj)
			if owner == nil || !slices.Contains(w.dead, owner.UID) || obj.GetDeletionTimestamp() != nil {
				return nil
			}
			return client.IgnoreNotFound(kube.Delete(ctx, obj, client.GracePeriodSeconds(0)))
		}); err != nil {
			return err
		}
	}
	return nil
}

func (w *world) awaitStarted(want string) {
	w.t.Helper()
	w.until(want+" is started", func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		return slices.Contains(w.started, want)
	})
}

// TestAcceptedSpecsAreNumberedPastThoseLeftBehind by a cluster that was deleted without what it owned: or one of them would stand in the place
// of what is accepted now.
func TestAcceptedSpecsAreNumberedPastThoseLeftBehind(t *testing.T) {
	w := newWorld(t)
	require.NoError(t, kube.Create(t.Context(), &appsv1.ControllerRevision{
		ObjectMeta: metav1.ObjectMeta{Name: "demo-spec-2", Namespace: w.ns, Labels: map[string]string{"kraft.dev/cluster": "demo"}},
		Revision:   2, Data: runtime.RawExtension{Raw: []byte(`{}`)},
	}))
	w.apply(base)
	c := w.await("demo", "Ready", is("Ready", "True"))
	var rev appsv1.ControllerRevision
	require.NoError(t, kube.Get(t.Context(), client.ObjectKey{Namespace: w.ns, Name: "demo-spec-3"}, &rev))
	require.True(t, metav1.IsControlledBy(&rev, c))
}
