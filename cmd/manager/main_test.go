package main

import (
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	toolscache "k8s.io/client-go/tools/cache"
)

// TestACachedPodKeepsWhatIsAskedOfIt: who it is, where it runs, with which settings, and how it is.
func TestACachedPodKeepsWhatIsAskedOfIt(t *testing.T) {
	full := corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "a", UID: "1", Labels: map[string]string{"x": "y"}, Annotations: map[string]string{"x": "y"}},
		Spec:       corev1.PodSpec{NodeName: "n", Volumes: []corev1.Volume{{Name: "config"}}},
		Status:     corev1.PodStatus{Phase: corev1.PodRunning, PodIP: "10.0.0.1"},
	}
	given := full.DeepCopy()
	given.ManagedFields = []metav1.ManagedFieldsEntry{{Manager: "kubelet"}}
	given.Spec.Containers = []corev1.Container{{Name: "kraftd", Env: []corev1.EnvVar{{Name: "A"}}}}
	got, err := slimPod(given)
	require.NoError(t, err)
	require.Equal(t, &full, got)
	gone := toolscache.DeletedFinalStateUnknown{Key: "ns/a"}
	got, err = slimPod(gone)
	require.NoError(t, err)
	require.Equal(t, gone, got)
}
