package envtest

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/kraft-dev/kraft-operator/api/v1alpha1"
)

// TestClaimsFromAnotherNamespaceNeedAWord: restored there with their annotations, they are refused until the spec names
// the cluster; then it is that cluster, and its controllers are told where the others are now.
func TestClaimsFromAnotherNamespaceNeedAWord(t *testing.T) {
	w := newWorld(t)
	w.apply(base)
	was := w.await("demo", "Ready", is("Ready", "True"))
	w.destroy(was)
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "moved-"}}
	require.NoError(t, kube.Create(t.Context(), ns))
	moved := w.claims()
	there := w.elsewhere(ns.Name)
	for _, c := range moved {
		restored := &corev1.PersistentVolumeClaim{
			ObjectMeta: metav1.ObjectMeta{Namespace: ns.Name, Name: c.Name, Labels: c.Labels, Annotations: c.Annotations},
			Spec:       c.Spec,
		}
		require.Equal(t, w.ns+"/demo", c.Annotations["kraft.dev/home"])
		require.NoError(t, kube.Create(t.Context(), restored))
	}
	there.apply(base)
	c := there.await("demo", "refused", is("Stalled", "True"))
	require.Equal(t, "Refused", condition(c, "Ready").Reason)
	require.Contains(t, condition(c, "Ready").Message, "moved here from KRaftCluster "+w.ns+"/demo (data-demo-broker-1000")
	require.Contains(t, condition(c, "Ready").Message, "set spec.adopt.clusterID to "+was.Status.ClusterID)
	require.Empty(t, there.sets())
	require.Empty(t, c.Status.ClusterID)

	there.edit("demo", func(c *v1alpha1.KRaftCluster) { c.Spec.Adopt = &v1alpha1.AdoptSpec{ClusterID: was.Status.ClusterID} })
	c = there.await("demo", "Ready", is("Ready", "True"))
	require.Equal(t, was.Status.ClusterID, c.Status.ClusterID)
	require.Equal(t, was.Status.InitialVoters, c.Status.InitialVoters)
	there.awaitEvent("ClusterAdopted", was.Status.ClusterID)
	for _, claim := range there.claims() {
		require.Equal(t, ns.Name+"/demo", claim.Annotations["kraft.dev/home"], claim.Name)
	}
	var live corev1.ConfigMap
	require.NoError(t, kube.Get(t.Context(), client.ObjectKey{Namespace: ns.Name, Name: "demo-live"}, &live))
	require.Contains(t, live.Data["live.properties"], "0@demo-controller-0."+ns.Name+".svc:9093", "the recorded names don't resolve here: the routes do")

	// The word isn't needed for good.
	there.edit("demo", func(c *v1alpha1.KRaftCluster) { c.Spec.Adopt = nil })
	there.await("demo", "Ready still", is("Ready", "True"))
}

// TestASmallerClusterOverClaimsThatNeverFormedForms: all the initial voters that its claims name are needed for that, also the one whose claim
// was never made; then they follow the spec.
func TestASmallerClusterOverClaimsThatNeverFormedForms(t *testing.T) {
	w := newWorld(t)
	quota := w.bound(corev1.ResourcePersistentVolumeClaims, 0)
	quota.Status.Hard[corev1.ResourcePersistentVolumeClaims] = resource.MustParse("2")
	require.NoError(t, kube.Status().Update(t.Context(), quota))
	w.apply(base)
	c := w.await("demo", "one claim too many", func(c *v1alpha1.KRaftCluster) bool {
		return len(w.claims()) == 2 && strings.Contains(condition(c, "Ready").Message, "exceeded quota")
	})
	require.False(t, c.Status.Formed)
	w.destroy(c)
	require.NoError(t, kube.Delete(t.Context(), quota))
	w.apply(strings.Replace(base, "controllers: {replicas: 3", "controllers: {replicas: 1", 1))
	again := w.await("demo", "one voter", func(c *v1alpha1.KRaftCluster) bool { return is("Ready", "True")(c) && len(c.Status.Quorum.Voters) == 1 })
	require.Equal(t, c.Status.ClusterID, again.Status.ClusterID)
}
