package controllers

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
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

// TestAPodThatLookedForAPlaceBeforeItsClaimIsMadeAnew: the scheduler lets it wait, though its claim is here by now.
func TestAPodThatLookedForAPlaceBeforeItsClaimIsMadeAnew(t *testing.T) {
	at := func(seconds int64) metav1.Time { return metav1.NewTime(time.Unix(1_700_000_000+seconds, 0)) }
	claim := func(made int64) *corev1.PersistentVolumeClaim {
		return &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{CreationTimestamp: at(made)}}
	}
	for _, c := range []struct {
		name   string
		pod    func(p *corev1.Pod)
		claim  *corev1.PersistentVolumeClaim
		anew   bool
		sooner bool // it has changed since it was read
	}{
		{name: "its claim is younger", claim: claim(15), anew: true},
		{name: "its claim is younger, and it has a place by now", claim: claim(15), sooner: true},
		{name: "its claim is older", claim: claim(5)},
		{name: "its claim is as old", claim: claim(10)},
		{name: "it has no claim"},
		{name: "its claim is going", claim: func() *corev1.PersistentVolumeClaim {
			going, now := claim(15), at(16)
			going.DeletionTimestamp = &now
			return going
		}()},
		{name: "it has a place", claim: claim(15), pod: func(p *corev1.Pod) { p.Spec.NodeName = "node-1" }},
		{name: "the scheduler hasn't tried it", claim: claim(15), pod: func(p *corev1.Pod) { p.Status.Conditions = nil }},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := fixture(nil)
			n := s.nodes[0]
			p := &corev1.Pod{
				ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: podName(n.name), UID: "u", CreationTimestamp: at(10)},
				Status: corev1.PodStatus{Phase: corev1.PodPending, Conditions: []corev1.PodCondition{
					{Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: corev1.PodReasonUnschedulable}}},
			}
			if c.pod != nil {
				c.pod(p)
			}
			r := &Reconciler{Client: fake.NewClientBuilder().WithObjects(p).Build()}
			seen := &corev1.Pod{}
			require.NoError(t, r.Get(t.Context(), client.ObjectKeyFromObject(p), seen))
			if c.sooner {
				later := seen.DeepCopy()
				later.Labels = map[string]string{"changed": "yes"}
				require.NoError(t, r.Update(t.Context(), later))
			}
			s.now, s.pods = at(20).Time, map[string]*corev1.Pod{seen.Name: seen}
			s.claims = map[string]*corev1.PersistentVolumeClaim{claimName(n.name): c.claim}
			_, err := r.hurryStarts(t.Context(), s)
			require.NoError(t, err)
			err = r.Get(t.Context(), client.ObjectKeyFromObject(p), &corev1.Pod{})
			require.Equal(t, c.anew, apierrors.IsNotFound(err), "%v", err)
		})
	}
}
