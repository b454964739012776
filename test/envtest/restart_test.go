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

func (w *world) annotate(obj client.Object, key, value string) {
	w.t.Helper()
	require.NoError(w.t, kube.Get(w.t.Context(), client.ObjectKeyFromObject(obj), obj))
	base := obj.DeepCopyObject().(client.Object)
	annotations := obj.GetAnnotations()
	if annotations == nil {
		annotations = map[string]string{}
	}
	annotations[key] = value
	if value == "" {
		delete(annotations, key)
	}
	obj.SetAnnotations(annotations)
	require.NoError(w.t, kube.Patch(w.t.Context(), obj, client.MergeFrom(base)))
}

func (w *world) pod(name string) *corev1.Pod {
	return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: w.ns, Name: name}}
}

// TestAPodIsRestartedByAnAnnotation: behind the gates of a roll, with the reason, and once.
func TestAPodIsRestartedByAnAnnotation(t *testing.T) {
	w := newWorld(t)
	w.apply(base)
	w.await("demo", "Ready", is("Ready", "True"))
	before := w.podUIDs()
	w.takeStarted()
	w.hold(1001, true)
	w.annotate(w.pod("demo-broker-1001-0"), "kraft.dev/restart", "true")
	w.await("demo", "the restart waits", func(c *v1alpha1.KRaftCluster) bool {
		return c.Status.Doing != nil && strings.Contains(c.Status.Doing.WaitsFor, "demo-broker-1001 can't be spared")
	})
	require.Empty(t, w.takeStarted())
	w.hold(1001, false)
	w.await("demo", "Ready after the restart", func(c *v1alpha1.KRaftCluster) bool {
		return is("Ready", "True")(c) && len(w.podUIDs()) == 6 && w.podUIDs()["demo-broker-1001-0"] != before["demo-broker-1001-0"] && c.Status.Pools[1].Ready == 3
	})
	require.Equal(t, []string{"demo-broker-1001@kraft:1"}, w.takeStarted())
	w.awaitEvent("Restarting", "annotation kraft.dev/restart")

	// Of several, the active controller is the last controller.
	w.edit("demo", func(c *v1alpha1.KRaftCluster) { c.Spec.Paused = true })
	w.await("demo", "paused", func(c *v1alpha1.KRaftCluster) bool { return condition(c, "Reconciling").Reason == "Paused" })
	for _, name := range []string{"demo-broker-1000-0", "demo-controller-1-0", "demo-controller-2-0"} {
		w.annotate(w.pod(name), "kraft.dev/restart", "true")
	}
	w.edit("demo", func(c *v1alpha1.KRaftCluster) { c.Spec.Paused = false })
	want := []string{"demo-controller-2@kraft:1", "demo-controller-1@kraft:1", "demo-broker-1000@kraft:1"}
	w.awaitStarted(want[2])
	w.await("demo", "Ready", is("Ready", "True"))
	require.Equal(t, want, w.takeStarted())
}

// TestAClusterIsRestartedByAnAnnotation: every node once; taking it off again restarts nobody.
func TestAClusterIsRestartedByAnAnnotation(t *testing.T) {
	w := newWorld(t)
	w.apply(base)
	c := w.await("demo", "Ready", is("Ready", "True"))
	w.takeStarted()
	w.annotate(c, "kraft.dev/restartedAt", "tomorrow")
	w.await("demo", "refused", func(c *v1alpha1.KRaftCluster) bool {
		return len(c.Status.HeldBack) == 1 && c.Status.HeldBack[0].Reason == "NotATime"
	})
	const at = "2026-11-22T10:00:00+00:00"
	w.annotate(c, "kraft.dev/restartedAt", at)
	w.await("demo", "Ready after all were restarted", func(c *v1alpha1.KRaftCluster) bool {
		return is("Ready", "True")(c) && c.Status.RestartedAt == at && c.Status.Pools[0].Updated == 3 && c.Status.Pools[1].Updated == 3
	})
	require.Len(t, w.takeStarted(), 6)
	w.awaitEvent("Restarting", "changed: metadata.annotations.kraft.dev/restartedAt")
	w.annotate(c, "kraft.dev/restartedAt", "")
	w.edit("demo", func(c *v1alpha1.KRaftCluster) { c.Spec.Brokers.Replicas = 4 })
	w.await("demo", "four brokers", func(c *v1alpha1.KRaftCluster) bool {
		return is("Ready", "True")(c) && c.Status.Brokers.ReadyOfAll == "4/4"
	})
	require.Equal(t, []string{"demo-broker-1003@kraft:1"}, w.takeStarted())
}
