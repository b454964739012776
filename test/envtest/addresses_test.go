package envtest

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/kraft-dev/kraft-operator/api/v1alpha1"
)

// ports of a Service by name, and whether it publishes not-ready addresses.
func (w *world) ports(service string) (ports []string, notReady bool) {
	w.t.Helper()
	var svc corev1.Service
	require.NoError(w.t, kube.Get(w.t.Context(), client.ObjectKey{Namespace: w.ns, Name: service}, &svc))
	for _, p := range svc.Spec.Ports {
		ports = append(ports, p.Name)
	}
	return ports, svc.Spec.PublishNotReadyAddresses
}

// TestACombinedNodeHasAnAddressARole: the controller's holds always, the broker's while the node is Ready.
func TestACombinedNodeHasAnAddressARole(t *testing.T) {
	w := newWorld(t)
	w.lead(0)
	w.apply(combined)
	w.await("demo", "Ready", is("Ready", "True"))
	for _, node := range []string{"demo-controller-0", "demo-controller-1", "demo-controller-2"} {
		ports, notReady := w.ports(node)
		require.Equal(t, []string{"controller"}, ports)
		require.True(t, notReady)
		ports, notReady = w.ports(node + "-broker")
		require.Equal(t, []string{"internal"}, ports)
		require.False(t, notReady)
	}
}

// TestListenersStayAtTheirOldAddressUntilTheRestart: a combined node that runs with the settings of an operator that had one
// Service for both roles is reached there until its turn in the roll, and only until then.
func TestListenersStayAtTheirOldAddressUntilTheRestart(t *testing.T) {
	w := newWorld(t)
	w.lead(0)
	w.apply(combined)
	w.await("demo", "Ready", is("Ready", "True"))
	w.edit("demo", func(c *v1alpha1.KRaftCluster) { c.Spec.Paused = true })
	w.await("demo", "paused", func(c *v1alpha1.KRaftCluster) bool { return condition(c, "Reconciling").Reason == "Paused" })
	w.runWithOneAddress("demo-controller-1")
	w.hold(1, true)
	w.takeStarted()

	w.edit("demo", func(c *v1alpha1.KRaftCluster) { c.Spec.Paused = false })
	w.await("demo", "the roll waits", func(c *v1alpha1.KRaftCluster) bool {
		return c.Status.Doing != nil && strings.Contains(c.Status.Doing.WaitsFor, "orders-0")
	})
	ports, _ := w.ports("demo-controller-1")
	require.Equal(t, []string{"controller", "internal"}, ports, "the node that runs advertises it")
	ports, _ = w.ports("demo-controller-0")
	require.Equal(t, []string{"controller"}, ports)

	w.hold(1, false)
	w.await("demo", "rolled, and the old port is gone", func(c *v1alpha1.KRaftCluster) bool {
		ports, _ := w.ports("demo-controller-1")
		return is("Ready", "True")(c) && len(ports) == 1
	})
	require.Equal(t, []string{"demo-controller-1@kraft:1"}, w.takeStarted())
}

// runWithOneAddress restarts a node with the settings that an operator before decision 14's change wrote.
func (w *world) runWithOneAddress(node string) {
	w.t.Helper()
	set := w.sets()[node]
	base := set.DeepCopy()
	for i, v := range set.Spec.Template.Spec.Volumes {
		if v.Name != "config" {
			continue
		}
		var now corev1.ConfigMap
		require.NoError(w.t, kube.Get(w.t.Context(), client.ObjectKey{Namespace: w.ns, Name: v.ConfigMap.Name}, &now))
		old := now.DeepCopy()
		old.ObjectMeta = metav1.ObjectMeta{Namespace: w.ns, Name: node + "-before", Labels: now.Labels, OwnerReferences: now.OwnerReferences}
		settings := strings.ReplaceAll(now.Data["kraftd.properties"], node+"-broker.", node+".")
		require.NotEqual(w.t, now.Data["kraftd.properties"], settings)
		old.Data = map[string]string{"kraftd.properties": settings}
		require.NoError(w.t, kube.Create(w.t.Context(), old))
		set.Spec.Template.Spec.Volumes[i].ConfigMap.Name = old.Name
	}
	set.Spec.Template.Annotations["kraft.dev/template-hash"] = "before"
	require.NoError(w.t, kube.Patch(w.t.Context(), &set, client.MergeFrom(base)))
	require.NoError(w.t, kube.Delete(w.t.Context(), &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: w.ns, Name: node + "-0"}}))
	w.await("demo", node+" runs with them", func(*v1alpha1.KRaftCluster) bool {
		var p corev1.Pod
		err := kube.Get(w.t.Context(), client.ObjectKey{Namespace: w.ns, Name: node + "-0"}, &p)
		return err == nil && p.Annotations["kraft.dev/template-hash"] == "before" && ready(&p)
	})
}
