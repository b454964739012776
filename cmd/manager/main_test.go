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

func TestGarbageIsAShareOfTheHeapAndNeverTooLittle(t *testing.T) {
	for _, tc := range []struct {
		live uint64 // MiB
		want int    // percent
	}{{0, 25}, {1, 400}, {2, 400}, {4, 200}, {8, 100}, {16, 50}, {32, 25}, {50, 25}, {1000, 25}} {
		require.Equal(t, tc.want, percentFor(tc.live<<20), "%d MiB", tc.live)
	}
}
