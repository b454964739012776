package controllers

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/kraft-dev/kraft-operator/api/v1alpha1"
	"github.com/kraft-dev/kraft-operator/controllers/plan"
)

// clusters is an API that lists these.
type clusters struct {
	client.Client
	all []v1alpha1.KRaftCluster
	err error
}

func (c *clusters) List(_ context.Context, list client.ObjectList, _ ...client.ListOption) error {
	list.(*v1alpha1.KRaftClusterList).Items = c.all
	return c.err
}

// TestTheOperatorsImageRollsFewClustersAtOnce: those that began are told by their status, or by this process alone.
func TestTheOperatorsImageRollsFewClustersAtOnce(t *testing.T) {
	rolling := func(reason string) []metav1.Condition {
		return []metav1.Condition{{Type: v1alpha1.ConditionRolling, Status: metav1.ConditionTrue, Reason: reason}}
	}
	for _, tc := range []struct {
		name  string
		other func(*v1alpha1.KRaftCluster)
		own   func(*scope)
		waits bool
	}{
		{name: "another rolls", waits: true},
		{name: "another has stopped", waits: true, other: func(c *v1alpha1.KRaftCluster) { c.Status.Conditions = rolling("Stopped") }},
		{name: "another waits for its turn", other: func(c *v1alpha1.KRaftCluster) { c.Status.UpgradingTo, c.Status.Conditions = "", rolling(reasonTurn) }},
		{name: "another rolls for its spec", other: func(c *v1alpha1.KRaftCluster) { c.Status.Rolled, c.Status.UpgradingTo = rolled("2 kraft:2"), "" }},
		{name: "another was in the middle of the last upgrade", other: func(c *v1alpha1.KRaftCluster) { c.Status.UpgradingTo = "1 kraft:1" }},
		{name: "another is paused in its roll", other: func(c *v1alpha1.KRaftCluster) { c.Spec.Paused = true }},
		{name: "another was hibernated", other: func(c *v1alpha1.KRaftCluster) { c.Spec.Hibernated = true }},
		{name: "another is being deleted", other: func(c *v1alpha1.KRaftCluster) { c.DeletionTimestamp = &metav1.Time{Time: time.Unix(1, 0)} }},
		{name: "another is at the image, of an older version", other: func(c *v1alpha1.KRaftCluster) { c.Status.UpgradingTo = "1 kraft:2" }},
		{name: "its spec asks for it", own: func(s *scope) {
			s.cluster.Generation++
			s.spec.Config = v1alpha1.NodeConfig{"log.dirs": "/elsewhere"}
		}},
		{name: "it was scaled, paused and unpaused", waits: true, own: func(s *scope) {
			s.cluster.Generation++
			s.spec.Controllers.Replicas++
		}},
		{name: "a setting was changed that needs no restart", waits: true, own: func(s *scope) {
			s.cluster.Generation++
			s.spec.Config = v1alpha1.NodeConfig{"log.retention.ms": "1000"}
		}},
		{name: "a part of its spec is held back", waits: true, own: func(s *scope) { s.cluster.Generation++ }},
		{name: "a new operator has a default for a new field", waits: true, own: func(s *scope) { s.spec.ImagePullPolicy = "Always" }},
		{name: "its annotation asks for it", own: func(s *scope) { s.cluster.Status.RestartedAt = "2026-01-02T03:04:05Z" }},
		{name: "its templates weren't compared by the pass before", waits: true, own: func(s *scope) {
			s.written.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionReady, Status: metav1.ConditionFalse, Reason: reasonRolling}}
		}},
		{name: "its operator had no turns", waits: true, own: func(s *scope) { s.cluster.Status.Rolled = nil }},
		{name: "it is under way", own: func(s *scope) { s.written.Conditions = rolling("Restarting") }},
		{name: "it has waited", waits: true, own: func(s *scope) { s.written.Conditions = rolling(reasonTurn) }},
		{name: "it has begun", own: func(s *scope) { s.cluster.Status.UpgradingTo = "2 kraft:2" }},
		{name: "its nodes are this operator's", own: func(s *scope) { s.cluster.Status.Rolled = rolled("2 kraft:2") }},
		{name: "its nodes have the image, and an older operator's templates", waits: true, own: func(s *scope) { s.cluster.Status.Rolled.Operator = "1 kraft:2" }},
		{name: "a node of its is down", waits: true, own: func(s *scope) { delete(s.pods, "demo-broker-1000-0") }},
		{name: "a node of its can't run", own: func(s *scope) {
			s.pods["demo-broker-1000-0"].Status = corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{{State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "ImagePullBackOff"}}}}}
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			other := v1alpha1.KRaftCluster{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "other"}}
			other.Status = v1alpha1.KRaftClusterStatus{Rolled: rolled("1 kraft:1"), UpgradingTo: "2 kraft:2", Conditions: rolling("Restarting")}
			if tc.other != nil {
				tc.other(&other)
			}
			s := looked()
			s.cluster.Status.Rolled = s.rollsTo("1 kraft:1")
			s.roll = plan.RollStep{Do: plan.RollEvict}
			if tc.own != nil {
				tc.own(s)
			}
			r := &Reconciler{Client: &clusters{all: []v1alpha1.KRaftCluster{*s.cluster, other}}, NodeImage: "kraft:2", Version: "2"}
			may, err := r.takeTurn(t.Context(), s)
			require.NoError(t, err)
			require.Equal(t, !tc.waits, may, s.turn)
		})
	}
}

// TestATurnEnds with the roll, and the next cluster has it.
func TestATurnEnds(t *testing.T) {
	first, second := looked(), looked()
	second.cluster.Name = "second"
	r := &Reconciler{Client: &clusters{all: []v1alpha1.KRaftCluster{*first.cluster, *second.cluster}}, NodeImage: "kraft:2", Version: "2", AtOnce: 1}
	take := func(s *scope) bool {
		s.roll = plan.RollStep{Do: plan.RollEvict}
		s.turn = ""
		may, err := r.takeTurn(t.Context(), s)
		require.NoError(t, err)
		return may
	}
	require.True(t, take(first))
	require.True(t, take(first), "it goes on")
	require.False(t, take(second))
	require.Equal(t, "its turn: the new operator rolls ns/demo first", second.turn)
	second.roll = plan.RollStep{} // as rollOne does
	second.report(nil)
	require.True(t, second.isReady())
	require.True(t, !rolls(&second.cluster.Status))
	name := podName(first.nodes[0].name)
	last := first.pods[name]
	delete(first.pods, name)
	r.endTurn(first)
	require.False(t, take(second), "the last of the first's nodes isn't back")
	first.pods[name] = last
	r.endTurn(first)
	require.True(t, take(second))
	require.Equal(t, "2 kraft:2", second.cluster.Status.UpgradingTo)
	r.endTurn(second)
	require.Equal(t, "2 kraft:2", second.cluster.Status.Rolled.Operator)
	require.Empty(t, second.cluster.Status.UpgradingTo)
}

// TestARollTakesItsTurn: no step of a roll that waits is taken.
func TestARollTakesItsTurn(t *testing.T) {
	s := looked()
	other := v1alpha1.KRaftCluster{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "other"}}
	other.Status = v1alpha1.KRaftClusterStatus{UpgradingTo: "2 kraft:2", Conditions: []metav1.Condition{{Type: v1alpha1.ConditionRolling, Status: metav1.ConditionTrue, Reason: "Restarting"}}}
	r := &Reconciler{Client: &clusters{all: []v1alpha1.KRaftCluster{other}}, NodeImage: "kraft:2", Version: "2"}
	s.pods[podName(s.nodes[0].name)].Annotations = map[string]string{annotationTemplateHash: "old"}
	result, err := r.rollOne(t.Context(), s)
	require.NoError(t, err)
	require.True(t, result.IsZero(), "the other steps have their turn")
	require.Equal(t, plan.RollDone, s.roll.Do)
	require.NotEmpty(t, s.turn)
	require.True(t, s.rolled)

	r.Client = &clusters{err: errors.New("the API is away")}
	_, err = r.rollOne(t.Context(), s)
	require.ErrorContains(t, err, "the API is away")
	require.False(t, s.rolled, "nothing is known of the roll")
}

// TestARollThatCantBeginTakesNoTurn: nor is it taken for one that is under way.
func TestARollThatCantBeginTakesNoTurn(t *testing.T) {
	first, second := looked(), looked()
	second.cluster.Name = "second"
	r := &Reconciler{Client: &clusters{all: []v1alpha1.KRaftCluster{*first.cluster, *second.cluster}}, NodeImage: "kraft:2", AtOnce: 1}
	for range 2 {
		first.roll, first.rolled = plan.RollStep{Do: plan.RollWait, Why: "b1000 can't be spared"}, true
		may, err := r.takeTurn(t.Context(), first)
		require.NoError(t, err)
		require.False(t, may)
		first.roll = plan.RollStep{}
		first.report(nil)
		first.written = *first.cluster.Status.DeepCopy()
		require.True(t, first.isReady())
		require.Contains(t, meta.FindStatusCondition(first.written.Conditions, v1alpha1.ConditionRolling).Message, "b1000 can't be spared")
	}
	second.roll = plan.RollStep{Do: plan.RollEvict}
	may, err := r.takeTurn(t.Context(), second)
	require.NoError(t, err)
	require.True(t, may)
}

func rolled(operator string) *v1alpha1.RolledStatus {
	return &v1alpha1.RolledStatus{Operator: operator}
}
