package envtest

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
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
	strip := client.RawPatch("application/merge-patch+json", []byte(`{"metadata":{"labels":null}}`))
	objects := map[string]func() client.Object{
		"demo-controller-0":      func() client.Object { return &appsv1.StatefulSet{} },
		"data-demo-broker-1001":  func() client.Object { return &corev1.PersistentVolumeClaim{} },
		"data-demo-controller-1": func() client.Object { return &corev1.PersistentVolumeClaim{} },
		"demo-bootstrap":         func() client.Object { return &corev1.Service{} },
	}
	for name, empty := range objects {
		require.NoError(t, kube.Patch(t.Context(), named(empty(), name), strip))
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
