package controllers

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/kraft-dev/kraft-operator/api/v1alpha1"
)

// TestClaimsThatCantGrowAreTriedNowAndThen: one of a pool in a pass, and each once in five minutes, or for another size. Meanwhile the
// spec is held back, and one event says so.
func TestClaimsThatCantGrowAreTriedNowAndThen(t *testing.T) {
	tries, may := 0, false
	claims := map[string]*corev1.PersistentVolumeClaim{}
	kube := fake.NewClientBuilder()
	old := fixture(nil)
	for _, n := range old.nodes {
		c := old.claim(n)
		claims[c.Name] = c
		kube.WithObjects(c.DeepCopy())
	}
	told := events.NewFakeRecorder(100)
	r := &Reconciler{Recorder: told, Client: kube.WithInterceptorFuncs(interceptor.Funcs{
		Patch: func(_ context.Context, _ client.WithWatch, obj client.Object, _ client.Patch, _ ...client.PatchOption) error {
			tries++
			if may {
				claims[obj.GetName()] = obj.(*corev1.PersistentVolumeClaim).DeepCopy()
				return nil
			}
			return apierrors.NewForbidden(corev1.Resource("persistentvolumeclaims"), obj.GetName(), errors.New("the class can't"))
		},
	}).Build()}
	now, size := time.Unix(1_700_000_000, 0), "3Gi"
	var held []v1alpha1.HeldBack
	pass := func() (made int) {
		tries = 0
		s := fixture(func(c *v1alpha1.KRaftCluster) { c.Spec.Brokers.Storage.Size = intstr.FromString(size) })
		s.now, s.claims, s.written.HeldBack = now, claims, held
		s.keepLate()
		_, err := r.ensureClaims(t.Context(), s)
		require.NoError(t, err)
		held, now = s.cluster.Status.HeldBack, now.Add(300*time.Millisecond)
		return tries
	}
	passes := func(lasting time.Duration) (made int) {
		for end := now.Add(lasting); now.Before(end); {
			m := pass()
			require.LessOrEqual(t, m, 1)
			made += m
			require.Len(t, held, 1)
			require.Equal(t, "spec.brokers.storage.size", held[0].Field)
			require.Contains(t, held[0].Message, "claim data-demo-broker-1000 stays at 2Gi")
		}
		return made
	}
	require.Equal(t, 3, passes(4*time.Minute), "each once")
	require.Equal(t, 3, passes(4*time.Minute), "each once more")
	require.Len(t, told.Events, 1)
	require.Contains(t, <-told.Events, "ClaimCannotGrow")
	size = "4Gi"
	require.Equal(t, 3, passes(time.Minute), "another size")

	r.views.rest(client.ObjectKeyFromObject(old.cluster))
	require.Zero(t, passes(time.Minute), "a cluster that rests remembers it")
	held = nil
	require.Zero(t, passes(time.Second), "it stands, though the status was never written")

	may = true
	now = now.Add(growAgain)
	require.Equal(t, 3, pass())
	require.Empty(t, held)
	require.Zero(t, pass())
}

// TestACopyOfAClaimIsSomebodysOwn: it has a claim's labels and annotations, and the deletion policy isn't for it.
func TestACopyOfAClaimIsSomebodysOwn(t *testing.T) {
	s := looked()
	s.cluster.UID, s.cluster.Status.ClusterID = "now", "X"
	made := claimName(nodeName("demo", false, 1003))
	for _, tc := range []struct {
		name, node, cluster string
		ours                bool
	}{
		{made, "1003", "X", true},
		{claimName(nodeName("demo", true, 3)), "3", "X", true},
		{made + "-backup", "1003", "X", false},
		{made, "1004", "X", false},
		{made, "1003", "Y", false},
		{made, "", "X", false},
	} {
		c := &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Name: tc.name, Annotations: map[string]string{annotationNodeID: tc.node, annotationClusterID: tc.cluster}}}
		require.Equal(t, tc.ours, s.madeIt(c), "%+v", tc)
	}
}

// TestClaimsOfTheDeletedClusterGo: those that it owned, and only those.
func TestClaimsOfTheDeletedClusterGo(t *testing.T) {
	s := looked()
	s.cluster.UID = "now"
	owned := func(kind, name string) *corev1.PersistentVolumeClaim {
		return &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{OwnerReferences: []metav1.OwnerReference{{Kind: kind, Name: name, UID: "before"}}}}
	}
	require.True(t, s.formerOwns(owned("KRaftCluster", "demo")))
	require.False(t, s.formerOwns(owned("KRaftCluster", "other")))
	require.False(t, s.formerOwns(owned("StatefulSet", "demo")))
	require.False(t, s.formerOwns(&corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{OwnerReferences: []metav1.OwnerReference{ownerOf(s.cluster)}}}))
	require.False(t, s.formerOwns(&corev1.PersistentVolumeClaim{}))
}
