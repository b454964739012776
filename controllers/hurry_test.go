package controllers

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
)

// TestAPodThatHasAPlaceAndDoesntStartIsTouched: after 1.5 s, 3 s and so on, five times; a running one never.
func TestAPodThatHasAPlaceAndDoesntStartIsTouched(t *testing.T) {
	made := time.Unix(1_700_000_000, 0)
	pod := func(phase corev1.PodPhase, host string) *corev1.Pod {
		return &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "demo-controller-0-0", UID: "u", CreationTimestamp: metav1.NewTime(made)},
			Spec:       corev1.PodSpec{NodeName: host}, Status: corev1.PodStatus{Phase: phase},
		}
	}
	touches := func(p *corev1.Pod) (seconds []float64) {
		r := &Reconciler{Client: fake.NewClientBuilder().WithObjects(p).Build()}
		was := ""
		for ms := time.Duration(0); ms < 2*time.Minute; ms += 500 * time.Millisecond {
			s := fixture(nil)
			live := &corev1.Pod{}
			require.NoError(t, r.Get(t.Context(), client.ObjectKeyFromObject(p), live))
			if now := live.Annotations[annotationHurried]; now != was {
				was, seconds = now, append(seconds, (ms-500*time.Millisecond).Seconds())
			}
			s.now, s.pods = made.Add(ms), map[string]*corev1.Pod{live.Name: live}
			_, err := r.hurryStarts(t.Context(), s)
			require.NoError(t, err)
		}
		return seconds
	}
	require.Equal(t, []float64{1.5, 3, 6, 12, 24}, touches(pod(corev1.PodPending, "node-1")))
	require.Empty(t, touches(pod(corev1.PodRunning, "node-1")))
	require.Empty(t, touches(pod(corev1.PodPending, "")), "not placed yet")
}
