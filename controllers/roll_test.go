package controllers

import (
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"

	"github.com/kraft-dev/kraft-operator/api/v1alpha1"
	"github.com/kraft-dev/kraft-operator/controllers/plan"
)

// TestARestartEndsWithItsSuccessor: what befalls that one later is no restart, and no clock stands still for it.
func TestARestartEndsWithItsSuccessor(t *testing.T) {
	name := podName("demo-broker-1000")
	for _, tc := range []struct {
		name string
		uid  types.UID
		up   corev1.ConditionStatus
		want int32 // Restarting
	}{
		{"not taken down yet", "old", corev1.ConditionTrue, 1000},
		{"its successor starts", "new", corev1.ConditionFalse, 1000},
		{"its successor is Ready", "new", corev1.ConditionTrue, -1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := looked()
			s.cluster.Status.Doing = &v1alpha1.Doing{What: "restart broker 1000", Node: ptr.To(int32(1000)), Pod: name, PodUID: "old", TemplateHash: "b"}
			s.pods[name].ObjectMeta = metav1.ObjectMeta{Name: name, UID: tc.uid}
			s.pods[name].Status.Conditions[0].Status = tc.up
			s.endRestart()
			require.Equal(t, tc.want, s.snapshot().Restarting)
		})
	}
}

// TestABrokerOfABatchThatWasBackIsNoLongerRestarted.
func TestABrokerOfABatchThatWasBackIsNoLongerRestarted(t *testing.T) {
	s := looked()
	name := podName("demo-broker-1000")
	s.cluster.Status.Doing = &v1alpha1.Doing{What: "restart brokers 1000, 1001", Batch: []v1alpha1.BatchPod{{Node: 1000, Pod: name, PodUID: "old"}, {Node: 1001, Pod: "none", PodUID: "other"}}}
	s.pods[name].UID = "new"
	s.endRestart()
	s.pods[name].Status.Conditions[0].Status = corev1.ConditionFalse
	s.endRestart()
	batch := s.snapshot().Batch
	require.True(t, batch[0].Back)
	require.False(t, batch[1].Back)
}

// TestAnotherStepDoesntForgetARestart: by what status says of it alone is known that its clock stands still.
func TestAnotherStepDoesntForgetARestart(t *testing.T) {
	s := looked()
	name := podName("demo-broker-1000")
	s.cluster.Status.Doing = &v1alpha1.Doing{What: "restart broker 1000", Node: ptr.To(int32(1000)), Pod: name, PodUID: "old", TemplateHash: "b"}
	s.voters = plan.VoterStep{Do: plan.VotersAdd, Voter: plan.Voter{ID: 1, DirectoryID: "d1"}, Why: "3 voters are asked for"}
	was := s.pods[name]
	delete(s.pods, name)
	s.intend(s.votersDoing())
	require.EqualValues(t, 1000, s.snapshot().Restarting, "it is down")
	s.pods[name] = was
	s.intend(s.votersDoing())
	require.EqualValues(t, -1, s.snapshot().Restarting, "it is back")
	require.Contains(t, s.cluster.Status.Doing.What, "add voter 1")
}
