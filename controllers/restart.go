package controllers

import (
	"context"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/kraft-dev/kraft-operator/api/v1alpha1"
	"github.com/kraft-dev/kraft-operator/controllers/plan"
)

// noteRestart takes up a new value of the cluster's annotation: it becomes part of every node's template, so that all
// are rolled once. Taking the annotation off again rolls nobody.
func (s *scope) noteRestart() {
	at, st := s.cluster.Annotations[annotationRestartedAt], &s.cluster.Status
	if at == "" || at == st.RestartedAt || s.cluster.Spec.Paused {
		return
	}
	if _, err := time.Parse(time.RFC3339, at); err != nil {
		s.hold("metadata.annotations["+annotationRestartedAt+"]", "NotATime",
			"%.64q is not a time such as 2006-01-02T15:04:05Z: nobody is restarted for it; set it to $(date -Is)", at)
		return
	}
	st.RestartedAt = at
	// In the same write: who waits for this time and then for Ready waits for the roll.
	s.setCondition(v1alpha1.ConditionReady, false, reasonRolling, "every node is to be restarted: annotation "+annotationRestartedAt)
}

// whyRestart is the reason for taking a node down: what changed in its template, or that somebody asked for it.
func (r *Reconciler) whyRestart(ctx context.Context, s *scope, n *node, seen plan.Node) string {
	if p := seen.Pod; p != nil && p.Restart && seen.Has == seen.Want && p.Hash == seen.Want {
		return "annotation " + annotationRestart
	}
	return r.whatChanged(ctx, s, n)
}

// restartAsked tells whether somebody wants this pod to be restarted.
func restartAsked(p *corev1.Pod) bool { return p.Annotations[annotationRestart] == "true" }
