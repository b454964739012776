package controllers

import (
	"context"
	"fmt"
	"slices"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	logf "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/kraft-dev/kraft-operator/api/v1alpha1"
	"github.com/kraft-dev/kraft-operator/controllers/plan"
	"github.com/kraft-dev/kraft-operator/controllers/plan/planted"
)

const (
	reasonHibernated = "Hibernated"
	restText         = "spec.hibernated: every node is stopped, claims and Services are kept"
)

// hibernates tells whether the cluster is to rest. One that hasn't formed does so first: its claims would say nothing
// about who it is.
func (s *scope) hibernates() bool { return s.spec.Hibernated && s.cluster.Status.Formed }

// asleep tells whether a StatefulSet asks for no pod.
func asleep(set *appsv1.StatefulSet) bool { return set == nil || ptr.Deref(set.Spec.Replicas, 1) == 0 }

// resting is what plan.Hibernate decides on. An answer of a moment ago does: a question that isn't answered must not
// undo the order in which nodes stop.
func (s *scope) resting() plan.Snapshot {
	snap := s.snapshot()
	snap.Quorum = s.shownQuorum
	return snap
}

// rests tells whether the cluster is to rest and nothing runs any more.
func (s *scope) rests() bool {
	return s.hibernates() && s.nodes != nil && plan.Hibernate(s.resting()).Do == plan.HibernateDone
}

// waking tells whether nodes were started again and the quorum isn't there yet.
func (s *scope) waking() bool {
	h := s.cluster.Status.Hibernation
	return h != nil && h.Phase == v1alpha1.HibernationWaking
}

// restOrWake notes which way spec.hibernated points, before anything is stopped or started for it.
func (r *Reconciler) restOrWake(_ context.Context, s *scope) (ctrl.Result, error) {
	st := &s.cluster.Status
	if s.cluster.Spec.Paused {
		return ctrl.Result{}, nil
	}
	enter := func(phase v1alpha1.HibernationPhase) {
		st.Hibernation = &v1alpha1.HibernationStatus{Phase: phase, Since: metav1.NewTime(s.now)}
		st.Doing = nil // a roll or another's step: it goes on after waking
	}
	switch {
	case s.hibernates() && (st.Hibernation == nil || s.waking()):
		enter(v1alpha1.HibernationStopping)
	case !s.hibernates() && st.Hibernation != nil && !s.waking():
		enter(v1alpha1.HibernationWaking)
		r.event(s, nil, corev1.EventTypeNormal, "Waking", "Wake", "%s, all at once", count(len(s.nodes), "node"))
	}
	return ctrl.Result{}, nil
}

// ensureAsleep keeps a stopped node's StatefulSet at the template of the spec, or starts it. Nothing runs by it, so no
// turn has to be waited for. It is the StatefulSet that was seen or none: one that another's hand has started since
// gets its template in a roll.
func (r *Reconciler) ensureAsleep(ctx context.Context, s *scope, n *node, live *appsv1.StatefulSet) error {
	if s.hibernates() {
		return r.ensure(ctx, n.want.DeepCopy())
	}
	return r.applyAsSeen(ctx, marked(n.want), live)
}

// hibernate stops the next batch of nodes of a cluster that is to rest; plan.Hibernate says which. Everything is read
// again before, and the intent is recorded; each StatefulSet is changed only as it was read. While the cluster rests
// nothing else is done to its nodes.
func (r *Reconciler) hibernate(ctx context.Context, s *scope) (ctrl.Result, error) {
	if !s.hibernates() {
		return r.woken(s)
	}
	if s.cluster.Status.Hibernation == nil {
		return ctrl.Result{RequeueAfter: shortly}, nil // it formed in this pass
	}
	switch step := plan.Hibernate(s.resting()); step.Do {
	case plan.HibernateDone:
		if s.cluster.Status.Hibernation.Phase != v1alpha1.Hibernated {
			if err := r.seeStopped(ctx, s); err != nil {
				return ctrl.Result{}, err
			}
		}
		if step = plan.Hibernate(s.resting()); step.Do != plan.HibernateDone {
			s.cluster.Status.Doing = s.stopping(step)
			return ctrl.Result{RequeueAfter: soon}, nil
		}
		return r.hibernated(s)
	case plan.HibernateWait:
		s.cluster.Status.Doing = s.stopping(step)
		return ctrl.Result{RequeueAfter: soon}, nil
	default:
		if err := r.lookAgain(ctx, s); err != nil {
			return ctrl.Result{}, err
		}
		again := plan.Hibernate(s.resting())
		if again.Do != step.Do || again.What != step.What {
			return ctrl.Result{RequeueAfter: soon}, nil // it isn't so any more
		}
		return r.stop(ctx, s, again)
	}
}

func (r *Reconciler) stop(ctx context.Context, s *scope, step plan.HibernateStep) (ctrl.Result, error) {
	s.cluster.Status.Doing = s.stopping(step)
	if result, err := r.record(ctx, s); err != nil {
		return result, err
	}
	logf.FromContext(ctx).Info("Stopping nodes", "nodes", step.What)
	for _, pn := range step.Nodes {
		n, live := s.node(pn.ID), s.sets[pn.Name]
		set := n.want.DeepCopy()
		set.Spec.Replicas = ptr.To(int32(0))
		mark(set)
		write := r.applyAsSeen
		if planted.Bug == planted.StopsAsIfAlone {
			write = r.applyOver
		}
		if err := write(ctx, set, live); err != nil {
			return ctrl.Result{}, fmt.Errorf("stopping node %d: %w", n.id, err)
		}
	}
	r.event(s, nil, corev1.EventTypeNormal, "Stopping", "Stop", "%s: spec.hibernated", step.What)
	return ctrl.Result{RequeueAfter: soon}, nil
}

// stopping is a step for status.
func (s *scope) stopping(step plan.HibernateStep) *v1alpha1.Doing {
	d := &v1alpha1.Doing{What: "stop " + step.What, Reason: "spec.hibernated", WaitsFor: step.Why, Since: metav1.NewTime(s.now)}
	if old := s.cluster.Status.Doing; old != nil && old.What == d.What {
		d.Since = old.Since
	}
	return d
}

func (r *Reconciler) hibernated(s *scope) (ctrl.Result, error) {
	st := &s.cluster.Status
	st.Doing = nil
	r.views.rest(types.NamespacedName{Namespace: s.cluster.Namespace, Name: s.cluster.Name})
	s.shownQuorum, s.shownTopics = nil, nil // nobody says so any more
	if st.Hibernation.Phase != v1alpha1.Hibernated {
		took := s.now.Sub(st.Hibernation.Since.Time).Round(time.Second)
		st.Hibernation = &v1alpha1.HibernationStatus{Phase: v1alpha1.Hibernated, Since: metav1.NewTime(s.now)}
		r.event(s, nil, corev1.EventTypeNormal, reasonHibernated, "Stop", "every node is stopped, after %s", took)
	}
	return ctrl.Result{RequeueAfter: steadily}, nil
}

// woken ends a hibernation: every StatefulSet asks for its pod, and the quorum has a leader.
func (r *Reconciler) woken(s *scope) (ctrl.Result, error) {
	st := &s.cluster.Status
	down := slices.ContainsFunc(s.nodes, func(n *node) bool { return asleep(s.sets[n.name]) && !n.leaving && !n.refused })
	if st.Hibernation == nil || down || s.quorum == nil || s.quorum.Leader < 0 {
		return ctrl.Result{}, nil
	}
	r.event(s, nil, corev1.EventTypeNormal, "Woken", "Wake", "controller %d leads, after %s", s.quorum.Leader, s.now.Sub(st.Hibernation.Since.Time).Round(time.Second))
	st.Hibernation = nil
	return ctrl.Result{}, nil
}

// restVerdict is the verdict on a cluster that is to rest.
func (s *scope) restVerdict() verdict {
	step := plan.Hibernate(s.resting())
	switch {
	case s.nodes == nil:
		return verdict{reason: "Hibernating", message: "the pass ended before the nodes were looked at"}
	case step.Do == plan.HibernateWait:
		return verdict{reason: "Hibernating", message: "stops " + step.What + ": waits for " + step.Why}
	case step.Do == plan.HibernateStop:
		return verdict{reason: "Hibernating", message: "stops " + step.What}
	case len(s.cluster.Status.HeldBack) > 0:
		return s.heldVerdict()
	}
	return verdict{ready: true, reason: reasonHibernated, message: restText}
}

func (s *scope) wakingMessage() string {
	if why := s.notUp(); why != "" {
		return why
	}
	return "waits for the quorum to have a leader"
}
