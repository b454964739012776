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
func (t *turns) begin(key types.NamespacedName, image string, all []v1alpha1.KRaftCluster, most int) (others []string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i := range all {
		c := &all[i]
		if k := client.ObjectKeyFromObject(c); k != key && (t.now[k] || c.Status.UpgradingTo == image) && goesOn(c) {
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

// takeTurn tells whether a roll may begin, or go on. One that a new image of the operator's asks for waits while so many other clusters have
// theirs: an image that doesn't start stops in few of them. One that is under way goes on; what the spec asks for doesn't wait, nor does a
// cluster with a node that can't run as it is.
func (r *Reconciler) takeTurn(ctx context.Context, s *scope) (bool, error) {
	st := &s.cluster.Status
	if st.OperatorImage == r.NodeImage || st.UpgradingTo == r.NodeImage {
		return true, nil
	}
	ready := meta.FindStatusCondition(s.written.Conditions, v1alpha1.ConditionReady)
	asked := s.written.AcceptedGeneration != s.cluster.Generation || ready != nil && ready.Reason == reasonRolling
	if asked || rolls(&s.written) || slices.ContainsFunc(s.snapshot().Nodes, cantRun) {
		return true, nil
	}
	var all v1alpha1.KRaftClusterList
	if err := r.List(ctx, &all); err != nil {
		return false, fmt.Errorf("listing the clusters that the operator's image rolls: %w", err)
	}
	if others := r.turns.begin(client.ObjectKeyFromObject(s.cluster), r.NodeImage, all.Items, max(1, r.AtOnce)); others != nil {
		s.turn = fmt.Sprintf("its turn: the operator's new image rolls %s first", strings.Join(others, ", "))
		return false, nil
	}
	st.UpgradingTo = r.NodeImage
	return true, nil
}

func cantRun(n plan.Node) bool {
	return n.Pod != nil && n.Pod.Broken != "" && n.Pod.Broken != plan.Unschedulable
}

// endTurn takes note that every node is as this operator makes it.
func (r *Reconciler) endTurn(s *scope) {
	s.cluster.Status.OperatorImage, s.cluster.Status.UpgradingTo = r.NodeImage, ""
	r.turns.end(client.ObjectKeyFromObject(s.cluster))
}
