package controllers

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	logf "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/kraft-dev/kraft-operator/api/v1alpha1"
	"github.com/kraft-dev/kraft-operator/controllers/plan"
)

// The refusal of fewer brokers.
const (
	fieldBrokers      = "spec.brokers.replicas"
	reasonHoldReplica = "BrokersHoldReplicas"
)

// brokerGoal is what the spec asks of the brokers.
func (s *scope) brokerGoal() plan.BrokerGoal {
	b := s.cluster.Spec.Brokers
	if b == nil {
		return plan.BrokerGoal{}
	}
	goal := plan.BrokerGoal{Brokers: int(b.Replicas)}
	if after, err := time.ParseDuration(b.ReplaceAfter); err == nil { // "" is for ever
		goal.ReplaceAfter = after
	}
	return goal
}

// watchBrokers keeps the clocks of lost brokers, and what remains to be moved off those that have been replaced.
func (r *Reconciler) watchBrokers(s *scope) {
	st := &s.cluster.Status
	snap := s.snapshot()
	snap.Lost = lostBrokers(s.written.LostBrokers)
	var out []v1alpha1.LostBroker
	for _, l := range st.LostBrokers {
		if !l.Replaced || slices.Contains(s.pool(poolBrokers).NodeIDs, l.ID) { // or its id is in use again
			continue
		}
		if s.topics != nil {
			count, names := s.topics.On(l.ID)
			l.Partitions, l.Examples = int32(count), names
		}
		out = append(out, l)
	}
	if s.hibernates() {
		st.LostBrokers = out // nobody is lost to a cluster that rests
		return
	}
	for _, l := range plan.ClockBrokers(snap, s.brokerGoal()) {
		out = append(out, v1alpha1.LostBroker{ID: l.ID, Since: metav1.NewTime(l.Since)})
	}
	st.LostBrokers = out
}

func lostBrokers(in []v1alpha1.LostBroker) (out []plan.LostBroker) {
	for _, l := range in {
		if !l.Replaced {
			out = append(out, plan.LostBroker{ID: l.ID, Since: l.Since.Time})
		}
	}
	return out
}

// mindBrokers takes out brokers that the spec has no place for, and has lost ones replaced; plan.Brokers
// says which. Before it acts everything is read and asked again.
func (r *Reconciler) mindBrokers(ctx context.Context, s *scope) (ctrl.Result, error) {
	if s.spec.Brokers == nil {
		return ctrl.Result{}, nil
	}
	if err := r.forgetReplaced(ctx, s); err != nil {
		return ctrl.Result{}, err
	}
	var held plan.BrokerStep
	s.brokers, held = plan.Brokers(s.snapshot(), s.brokerGoal())
	if held.Do == plan.BrokersHeld {
		r.holdBrokers(s, held)
	} else if s.brokers.Do != plan.BrokersHeld {
		s.releaseFor(fieldBrokers, reasonHoldReplica)
	}
	switch s.brokers.Do {
	case plan.BrokersDone:
		return ctrl.Result{}, nil
	case plan.BrokersHeld:
		r.holdBrokers(s, s.brokers)
		return ctrl.Result{}, nil
	case plan.BrokersWait:
		if s.brokers.Busy {
			s.intend(s.brokersDoing())
			return ctrl.Result{RequeueAfter: soon}, nil
		}
		return ctrl.Result{}, nil
	}
	decided := s.brokers
	if err := r.lookAgain(ctx, s); err != nil {
		return ctrl.Result{}, err
	}
	s.brokers, _ = plan.Brokers(s.snapshot(), s.brokerGoal())
	switch {
	case s.brokers.Do == plan.BrokersHeld: // it holds replicas by now: that is said at once, or the spec would pass for carried out
		r.holdBrokers(s, s.brokers)
		return ctrl.Result{}, nil
	case s.brokers.Do != decided.Do || s.brokers.Node.ID != decided.Node.ID:
		return ctrl.Result{RequeueAfter: soon}, nil // it isn't so any more
	}
	return r.moveBroker(ctx, s)
}

// moveBroker records that a broker stops, returns, leaves or is replaced; what follows from that is the next pass's.
func (r *Reconciler) moveBroker(ctx context.Context, s *scope) (ctrl.Result, error) {
	step, p := s.brokers, s.pool(poolBrokers)
	id := step.Node.ID
	without := func(ids []int32) []int32 {
		return slices.DeleteFunc(slices.Clone(ids), func(i int32) bool { return i == id })
	}
	reason, note, text := "NodeLeft", corev1.EventTypeNormal, "it is empty and stopped, unregistered; its claim is kept"
	switch step.Do {
	case plan.BrokersStop:
		p.Leaving = append(p.Leaving, id)
		reason, text = "NodeStopping", "it holds no replicas, and leaves"
	case plan.BrokersReturn:
		p.Leaving = without(p.Leaving)
		reason, text = "NodeReturns", "it is started again"
	case plan.BrokersReplace:
		p.NodeIDs, p.Leaving = without(p.NodeIDs), without(p.Leaving)
		s.markReplaced(id)
		reason, note, text = "BrokerReplaced", corev1.EventTypeWarning, "another id takes its place; its claim is kept"
	default:
		leader := s.controllerPodAddress(s.quorum.Leader)
		if leader == "" {
			return ctrl.Result{RequeueAfter: soon}, nil
		}
		if err := r.stillCurrent(ctx, s); err != nil {
			return ctrl.Result{}, err
		}
		if err := r.Admin.UnregisterBroker(ctx, leader, id); err != nil {
			return ctrl.Result{}, fmt.Errorf("unregistering broker %d: %w", id, err)
		}
		p.NodeIDs, p.Leaving = without(p.NodeIDs), without(p.Leaving)
	}
	s.intend(s.brokersDoing())
	if result, err := r.record(ctx, s); err != nil {
		return result, err
	}
	logf.FromContext(ctx).Info("Changing brokers", "nodeID", id, "step", reason, "reason", step.Why)
	r.event(s, nil, note, reason, "Scale", "broker %d: %s (%s)", id, text, step.Why)
	return ctrl.Result{RequeueAfter: shortly}, nil
}

func (s *scope) markReplaced(id int32) {
	st := &s.cluster.Status
	for i := range st.LostBrokers {
		if st.LostBrokers[i].ID == id {
			st.LostBrokers[i].Replaced = true
			if s.topics != nil {
				count, names := s.topics.On(id)
				st.LostBrokers[i].Partitions, st.LostBrokers[i].Examples = int32(count), names
			}
		}
	}
}

// forgetReplaced unregisters brokers that were replaced once no partition names them any more.
func (r *Reconciler) forgetReplaced(ctx context.Context, s *scope) error {
	st := &s.cluster.Status
	for _, l := range slices.Clone(st.LostBrokers) {
		if !l.Replaced || !s.forgettable(l.ID) {
			continue
		}
		if err := r.lookAgain(ctx, s); err != nil {
			return err
		}
		if !s.forgettable(l.ID) {
			continue // it isn't so any more
		}
		if err := r.stillCurrent(ctx, s); err != nil {
			return err
		}
		leader := s.controllerPodAddress(s.quorum.Leader)
		if err := r.Admin.UnregisterBroker(ctx, leader, l.ID); err != nil {
			return fmt.Errorf("unregistering broker %d: %w", l.ID, err)
		}
		st.LostBrokers = slices.DeleteFunc(st.LostBrokers, func(o v1alpha1.LostBroker) bool { return o.ID == l.ID })
		r.event(s, nil, corev1.EventTypeNormal, "NodeLeft", "Scale", "broker %d, which was replaced, has no partitions left: it is unregistered", l.ID)
	}
	return nil
}

// forgettable tells whether a replaced broker is of no use to anybody: no pod of its is left, and no partition names it.
func (s *scope) forgettable(id int32) bool {
	if s.topics == nil || s.quorum == nil || s.quorum.Leader < 0 || slices.Contains(s.topics.Unfenced, id) || s.controllerPodAddress(s.quorum.Leader) == "" {
		return false
	}
	count, _ := s.topics.On(id)
	return count == 0 && s.pods[podName(nodeName(s.cluster.Name, false, id))] == nil
}

// stillCurrent fails with a conflict where another operator has written the status since this pass read it: the cluster
// itself knows nothing of resource versions, and this pass may have slept.
func (r *Reconciler) stillCurrent(ctx context.Context, s *scope) error {
	var now v1alpha1.KRaftCluster
	if err := r.Live.Get(ctx, client.ObjectKeyFromObject(s.cluster), &now); err != nil {
		return err
	}
	if now.ResourceVersion != s.cluster.ResourceVersion {
		return apierrors.NewConflict(v1alpha1.GroupVersion.WithResource("kraftclusters").GroupResource(), s.cluster.Name, errors.New("somebody else wrote it"))
	}
	return nil
}

func (s *scope) brokersDoing() *v1alpha1.Doing {
	step := s.brokers
	d := &v1alpha1.Doing{What: fmt.Sprintf("take out broker %d", step.Node.ID), Node: &step.Node.ID, Reason: step.Why, Since: metav1.NewTime(s.now)}
	if step.Lost {
		d.What = fmt.Sprintf("replace broker %d", step.Node.ID)
	}
	switch step.Do {
	case plan.BrokersReturn:
		d.What = fmt.Sprintf("start broker %d again", step.Node.ID)
	case plan.BrokersWait:
		d.Reason, d.WaitsFor = "", step.Why
	}
	if old := s.written.Doing; old != nil && old.What == d.What {
		d.Since = old.Since
	}
	return d
}

// holdBrokers refuses fewer brokers: the highest one holds replicas.
func (r *Reconciler) holdBrokers(s *scope, step plan.BrokerStep) {
	n := len(s.pool(poolBrokers).NodeIDs)
	s.releaseFor(fieldBrokers, reasonHoldReplica)
	s.hold(fieldBrokers, reasonHoldReplica, "broker %d, the next to leave, holds %s: %d brokers stay; move its replicas to others (AlterPartitionReassignments), or put back %d",
		step.Node.ID, step.Why, n, n)
	if !slices.ContainsFunc(s.written.HeldBack, func(h v1alpha1.HeldBack) bool { return h.Field == fieldBrokers && h.Reason == reasonHoldReplica }) {
		r.tellHeldBack(s) // once: what it holds changes while it is moved
	}
}

func (s *scope) brokersMessage() string {
	d := s.brokersDoing()
	if d.WaitsFor != "" {
		return d.What + ": waits for " + d.WaitsFor
	}
	return d.What + ": " + d.Reason
}
