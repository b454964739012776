package controllers

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/kraft-dev/kraft-operator/api/v1alpha1"
	"github.com/kraft-dev/kraft-operator/controllers/plan"
)

// AtOnce is how many clusters a new image of the operator's rolls at once, unless it is told otherwise.
const AtOnce = 3

// reasonTurn is of a roll that waits for other clusters'.
const reasonTurn = "WaitsForTurn"

// turns are the clusters that the operator's image rolls now, as far as this process has begun them: their status may not tell yet.
type turns struct {
	mu  sync.Mutex
	now map[types.NamespacedName]bool // guarded by mu
}

func (t *turns) end(key types.NamespacedName) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.now, key)
}

// begin takes a turn, unless so many others have theirs; it returns who those are.
func (t *turns) begin(key types.NamespacedName, operator string, all []v1alpha1.KRaftCluster, most int) (others []string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i := range all {
		c := &all[i]
		if k := client.ObjectKeyFromObject(c); k != key && (t.now[k] || c.Status.UpgradingTo == operator) && goesOn(c) {
			others = append(others, k.String())
		}
	}
	if len(others) >= most {
		slices.Sort(others)
		return others
	}
	if t.now == nil {
		t.now = map[types.NamespacedName]bool{}
	}
	t.now[key] = true
	return nil
}

// goesOn tells whether a cluster's roll gets to an end by itself, if its nodes come back.
func goesOn(c *v1alpha1.KRaftCluster) bool {
	return c.DeletionTimestamp.IsZero() && !c.Spec.Paused && !c.Spec.Hibernated
}

// rolls tells whether a roll that had begun was under way when a status was written.
func rolls(st *v1alpha1.KRaftClusterStatus) bool {
	c := meta.FindStatusCondition(st.Conditions, v1alpha1.ConditionRolling)
	return c != nil && c.Status == metav1.ConditionTrue && c.Reason != reasonTurn
}

// takeTurn tells whether a roll may begin, or go on. One that a new operator asks for waits while so many other clusters have theirs: an image
// that doesn't start stops in few of them. One that is under way goes on; what the spec asks for doesn't wait, nor does a cluster with a node
// that can't run as it is. A cluster whose first node can't go yet has no turn: it would keep it from others.
func (r *Reconciler) takeTurn(ctx context.Context, s *scope) (bool, error) {
	st := &s.cluster.Status
	if st.Rolled == nil { // an operator without turns was here
		st.Rolled = s.rollsTo("")
	}
	if st.Rolled.Operator == r.self() || st.UpgradingTo == r.self() {
		return true, nil
	}
	if s.asksForRoll() || rolls(&s.written) || slices.ContainsFunc(s.snapshot().Nodes, cantRun) {
		return true, nil
	}
	if s.roll.Do == plan.RollWait {
		s.turn = s.roll.Why
		return false, nil
	}
	var all v1alpha1.KRaftClusterList
	if err := r.List(ctx, &all); err != nil {
		return false, fmt.Errorf("listing the clusters that the operator's image rolls: %w", err)
	}
	if others := r.turns.begin(client.ObjectKeyFromObject(s.cluster), r.self(), all.Items, max(1, r.AtOnce)); others != nil {
		s.turn = fmt.Sprintf("its turn: the new operator rolls %s first", strings.Join(others, ", "))
		return false, nil
	}
	st.UpgradingTo = r.self()
	return true, nil
}

// self names this operator by all that decides what its templates are like.
func (r *Reconciler) self() string { return strings.TrimSpace(r.Version + " " + r.NodeImage) }

// asksForRoll tells whether the spec or the annotation asks for other nodes than the last roll made, whoever makes them. Where nobody edited it
// a spec may look another to a new operator, which has a default for a new field.
func (s *scope) asksForRoll() bool {
	was, is := s.cluster.Status.Rolled, s.rollsTo("")
	return was.RestartedAt != is.RestartedAt || was.Generation != is.Generation && was.SpecHash != is.SpecHash
}

// rollsTo is what a roll brings the nodes to.
func (s *scope) rollsTo(operator string) *v1alpha1.RolledStatus {
	return &v1alpha1.RolledStatus{
		Operator: operator, Generation: s.cluster.Generation, SpecHash: hashOf(s.templatesOf()), RestartedAt: s.cluster.Status.RestartedAt,
	}
}

// templatesOf is the spec without what no node is restarted for.
func (s *scope) templatesOf() *v1alpha1.KRaftClusterSpec {
	spec := s.spec.DeepCopy()
	spec.Paused, spec.Hibernated, spec.Adopt = false, false, nil
	spec.Quorum, spec.Rolling, spec.Storage = v1alpha1.QuorumSpec{}, v1alpha1.RollingSpec{}, v1alpha1.StoragePolicy{}
	spec.Controllers.Replicas, spec.Controllers.Storage = 0, v1alpha1.VolumeSpec{}
	if b := spec.Brokers; b != nil {
		b.Replicas, b.Storage, b.ReplaceAfter = 0, v1alpha1.VolumeSpec{}, ""
	}
	for k := range s.liveSettings() {
		delete(spec.Config, k)
	}
	return spec
}

func cantRun(n plan.Node) bool {
	return n.Pod != nil && n.Pod.Broken != "" && n.Pod.Broken != plan.Unschedulable
}

// endTurn takes note that every node is as this operator makes it, once all are Ready: what the last of them does is known then.
func (r *Reconciler) endTurn(s *scope) {
	if s.notUp() != "" {
		return
	}
	s.cluster.Status.Rolled, s.cluster.Status.UpgradingTo = s.rollsTo(r.self()), ""
	r.turns.end(client.ObjectKeyFromObject(s.cluster))
}
