package envtest

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/kraft-dev/kraft-operator/api/v1alpha1"
)

// TestLabelsAndSettingsThatAHandTookArePutBack: on StatefulSets, claims and Services; no pod goes down, no claim is lost.
func TestLabelsAndSettingsThatAHandTookArePutBack(t *testing.T) {
	w := newWorld(t)
	w.apply(base)
	w.await("demo", "Ready", is("Ready", "True"))
	pods, claims := w.podUIDs(), w.claims()
	named := func(obj client.Object, name string) client.Object {
		require.NoError(t, kube.Get(t.Context(), client.ObjectKey{Namespace: w.ns, Name: name}, obj))
		return obj
	}
	objects := map[string]func() client.Object{
		"demo-controller-0":      func() client.Object { return &appsv1.StatefulSet{} },
		"data-demo-broker-1001":  func() client.Object { return &corev1.PersistentVolumeClaim{} },
		"data-demo-controller-1": func() client.Object { return &corev1.PersistentVolumeClaim{} },
		"demo-bootstrap":         func() client.Object { return &corev1.Service{} },
	}
	for name, empty := range objects {
		require.NoError(t, kube.Patch(t.Context(), named(empty(), name), stripped))
	}
	settings := w.sets()["demo-broker-1000"].Spec.Template.Spec.Volumes[1].ConfigMap.Name
	for _, name := range []string{"demo-live", settings} {
		require.NoError(t, kube.Delete(t.Context(), named(&corev1.ConfigMap{}, name)))
	}
	w.await("demo", "put back", func(*v1alpha1.KRaftCluster) bool {
		for name, empty := range objects {
			if named(empty(), name).GetLabels()["kraft.dev/cluster"] != "demo" {
				return false
			}
		}
		for _, name := range []string{"demo-live", settings} {
			if kube.Get(t.Context(), client.ObjectKey{Namespace: w.ns, Name: name}, &corev1.ConfigMap{}) != nil {
				return false
			}
		}
		return true
	})
	w.await("demo", "Ready", is("Ready", "True"))
	require.Equal(t, pods, w.podUIDs())
	after := w.claims()
	require.Len(t, after, len(claims))
	for i := range claims {
		require.Equal(t, claims[i].UID, after[i].UID)
	}
}

var stripped = client.RawPatch("application/merge-patch+json", []byte(`{"metadata":{"labels":null}}`))

// TestLabelsThatAHandTookOffAPodArePutBack: its StatefulSet has let go of it, and takes the same pod again.
func TestLabelsThatAHandTookOffAPodArePutBack(t *testing.T) {
	w := newWorld(t)
	w.apply(base)
	w.await("demo", "Ready", is("Ready", "True"))
	pods := w.podUIDs()
	w.takeStarted()
	require.NoError(t, kube.Patch(t.Context(), w.pod("demo-broker-1000-0"), stripped))
	require.NoError(t, kube.Patch(t.Context(), w.pod("demo-controller-1-0"), stripped))
	part := client.RawPatch("application/merge-patch+json", []byte(`{"metadata":{"labels":{"kraft.dev/node-id":null,"kraft.dev/broker":null}}}`))
	require.NoError(t, kube.Patch(t.Context(), w.pod("demo-broker-1001-0"), part))
	for _, name := range []string{"demo-broker-1000", "demo-controller-1", "demo-broker-1001"} {
		w.until(name+" has its pod again", func() bool {
			pod, set := w.pod(name+"-0"), w.sets()[name]
			require.NoError(t, kube.Get(t.Context(), client.ObjectKeyFromObject(pod), pod))
			for key, value := range set.Spec.Template.Labels {
				if pod.Labels[key] != value {
					return false
				}
			}
			return metav1.IsControlledBy(pod, &set)
		})
	}
	w.await("demo", "Ready", is("Ready", "True"))
	require.Equal(t, pods, w.podUIDs())
	require.Empty(t, w.takeStarted())
}

// TestAPodThatIsNobodysIsStoppedToo: no cluster is called Hibernated while a node's pod runs without its labels.
func TestAPodThatIsNobodysIsStoppedToo(t *testing.T) {
	w := newWorld(t)
	w.apply(base)
	w.await("demo", "Ready", is("Ready", "True"))
	require.NoError(t, kube.Patch(t.Context(), w.pod("demo-controller-2-0"), stripped))
	require.NoError(t, kube.Patch(t.Context(), w.pod("demo-broker-1001-0"), stripped))
	w.hibernate(true)
	w.await("demo", "Hibernated", hibernated)
	require.Empty(t, w.podUIDs())
	requireStopOrder(t, w.takeStopped(), []string{"broker-1000", "broker-1001", "broker-1002"},
		[]string{"controller-0", "controller-2"}, []string{"controller-1"})
}

// TestAnothersPodInANodesPlaceIsLeftAlone: it isn't on the node's disk. The status names it, and the node starts when it is gone.
func TestAnothersPodInANodesPlaceIsLeftAlone(t *testing.T) {
	w := newWorld(t)
	w.apply(base)
	w.await("demo", "Ready", is("Ready", "True"))
	spec := w.sets()["demo-broker-1002"].Spec.Template.Spec
	for i := range spec.Volumes {
		if spec.Volumes[i].PersistentVolumeClaim != nil {
			spec.Volumes[i].VolumeSource = corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}
		}
	}
	other := w.pod("demo-broker-1002-0")
	other.Spec = spec
	w.mu.Lock()
	require.NoError(t, kube.Delete(t.Context(), w.pod(other.Name), client.GracePeriodSeconds(0)))
	require.NoError(t, kube.Create(t.Context(), other))
	w.mu.Unlock()
	c := w.await("demo", "Stalled", is("Stalled", "True"))
	require.Equal(t, "NodesBroken", condition(c, "Stalled").Reason)
	require.Contains(t, condition(c, "Stalled").Message, "demo-broker-1002 (pod demo-broker-1002-0 stands in its place and isn't on claim data-demo-broker-1002: delete it)")
	require.Contains(t, c.Status.NextCommand, "describe pod demo-broker-1002-0")
	require.NoError(t, kube.Get(t.Context(), client.ObjectKeyFromObject(other), other))
	require.Empty(t, other.Labels)
	require.NoError(t, kube.Delete(t.Context(), other, client.GracePeriodSeconds(0)))
	w.await("demo", "Ready", is("Ready", "True"))
}

// TestANamespaceThatGoesIsSurvived: nothing can be made there any more; the operator says so and goes on with others.
func TestANamespaceThatGoesIsSurvived(t *testing.T) {
	w := newWorld(t)
	w.apply(base)
	w.await("demo", "Ready", is("Ready", "True"))
	ns := &corev1.Namespace{}
	require.NoError(t, kube.Get(t.Context(), client.ObjectKey{Name: w.ns}, ns))
	require.NoError(t, kube.Delete(t.Context(), ns))
	svc := &corev1.Service{}
	require.NoError(t, kube.Get(t.Context(), client.ObjectKey{Namespace: w.ns, Name: "demo-bootstrap"}, svc))
	require.NoError(t, kube.Delete(t.Context(), svc))
	w.await("demo", "an error that says why", func(c *v1alpha1.KRaftCluster) bool {
		return is("Ready", "False")(c) && strings.Contains(condition(c, "Ready").Message, "being terminated")
	})
	require.Len(t, w.claims(), 6)
}
