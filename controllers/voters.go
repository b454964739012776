package controllers

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	logf "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/kraft-dev/kraft-operator/api/v1alpha1"
	"github.com/kraft-dev/kraft-operator/controllers/plan"
	"github.com/kraft-dev/kraft-operator/controllers/plan/planted"
	"github.com/kraft-dev/kraft-operator/internal/admin"
	"github.com/kraft-dev/kraft-operator/internal/uuid"
)

const defaultReplaceAfter = 5 * time.Minute

// goal is what the spec asks of the controllers.
func (s *scope) goal() plan.VoterGoal {
	after, err := time.ParseDuration(s.spec.Quorum.ReplaceAfter)
	if err != nil { // the API checks it; an object that is older than the field has none
		after = defaultReplaceAfter
	}
	return plan.VoterGoal{Controllers: int(s.spec.Controllers.Replicas), Voters: int(voterCount(&s.spec)), ReplaceAfter: after}
}

// watchVoters keeps the clocks of voters that don't keep up, and forgets a change that has been made or can't be any more.
func (r *Reconciler) watchVoters(s *scope) {
	st := &s.cluster.Status
	if s.snapshot().Open() == nil && st.VoterChange != nil {
		st.VoterChange = nil
	}
	st.GoneVoters = nil
	if s.hibernates() {
		return // nobody is gone from a cluster that rests
	}
	for _, g := range plan.Clock(s.watched(), s.goal()) {
		st.GoneVoters = append(st.GoneVoters, v1alpha1.GoneVoter{ID: g.ID, DirectoryID: g.DirectoryID, Since: metav1.NewTime(g.Since)})
	}
}

// watched is a snapshot with the clocks as they were written down.
func (s *scope) watched() plan.Snapshot {
	snap := s.snapshot()
	snap.Gone = goneVoters(s.written.GoneVoters)
	return snap
}

func goneVoters(in []v1alpha1.GoneVoter) (out []plan.GoneVoter) {
	for _, g := range in {
		out = append(out, plan.GoneVoter{Voter: plan.Voter{ID: g.ID, DirectoryID: g.DirectoryID}, Since: g.Since.Time})
	}
	return out
}

func pendingChange(c *v1alpha1.VoterChange) *plan.VoterChange {
	if c == nil {
		return nil
	}
	return &plan.VoterChange{
		Remove: c.Change == v1alpha1.VoterRemove, Voter: plan.Voter{ID: c.ID, DirectoryID: c.DirectoryID}, Since: c.Since.Time,
	}
}

// changeVoters carries out the next step towards the voters that the spec asks for; plan.Voters says which. Before it
// acts everything is read and asked again, and the change is recorded: an operator that dies in the middle finds it.
func (r *Reconciler) changeVoters(ctx context.Context, s *scope) (ctrl.Result, error) {
	s.voters = plan.Voters(s.snapshot(), s.goal())
	v := r.views.get(client.ObjectKeyFromObject(s.cluster))
	if why := v.tooSoon(s.voters, s.now); why != "" {
		s.voters = plan.VoterStep{Do: plan.VotersWait, Why: why} // and other steps have their turn
	}
	switch s.voters.Do {
	case plan.VotersDone:
		return ctrl.Result{}, nil
	case plan.VotersWait:
		if s.voters.Busy {
			s.intend(s.votersDoing())
			return ctrl.Result{RequeueAfter: soon}, nil
		}
		return ctrl.Result{}, nil
	}
	decided := s.voters
	if err := r.lookAgain(ctx, s); err != nil {
		return ctrl.Result{}, err
	}
	s.voters = plan.Voters(s.snapshot(), s.goal())
	if s.voters.Do != decided.Do || s.voters.Voter != decided.Voter || s.voters.Node.ID != decided.Node.ID {
		return ctrl.Result{RequeueAfter: soon}, nil // it isn't so any more
	}
	if s.voters.Do == plan.VotersLeave {
		return r.leave(ctx, s)
	}
	return r.askForChange(ctx, s)
}

func (r *Reconciler) askForChange(ctx context.Context, s *scope) (ctrl.Result, error) {
	step, st := s.voters, &s.cluster.Status
	leader := s.controllerPodAddress(s.quorum.Leader)
	dir, err := uuid.Parse(step.Voter.DirectoryID)
	if err != nil {
		return ctrl.Result{}, fmt.Errorf("directory id of voter %d: %w", step.Voter.ID, err)
	}
	if leader == "" {
		s.voters = plan.VoterStep{Do: plan.VotersWait, Why: fmt.Sprintf("the address of the active controller, %d", s.quorum.Leader)}
		return ctrl.Result{}, nil
	}
	change := &v1alpha1.VoterChange{Change: v1alpha1.VoterAdd, ID: step.Voter.ID, DirectoryID: step.Voter.DirectoryID, Reason: step.Why, Since: metav1.NewTime(r.Now())}
	reason := "VoterAdded"
	if step.Do == plan.VotersRemove {
		change.Change, reason = v1alpha1.VoterRemove, "VoterRemoved"
	}
	if planted.Bug != planted.ChangeUnrecorded {
		st.VoterChange = change
		s.intend(s.votersDoing())
	}
	if result, err := r.record(ctx, s); err != nil {
		return result, err
	}
	if err := r.stillCurrent(ctx, s); err != nil {
		return ctrl.Result{}, err
	}
	logf.FromContext(ctx).Info("Changing voters", "change", change.Change, "nodeID", change.ID, "directoryID", change.DirectoryID, "reason", change.Reason)
	key := admin.ReplicaKey{ID: step.Voter.ID, DirectoryID: dir}
	if step.Do == plan.VotersRemove {
		err = r.Admin.RemoveVoter(ctx, []string{leader}, key)
	} else {
		err = r.Admin.AddVoter(ctx, []string{leader}, key, []admin.Endpoint{{Listener: controllerListener, Host: s.controllerHost(step.Voter.ID), Port: controllerPort}})
	}
	v := r.views.get(client.ObjectKeyFromObject(s.cluster))
	switch {
	case err == nil:
		st.VoterChange = nil
		r.event(s, nil, corev1.EventTypeNormal, reason, string(change.Change), "voter %d (directory %s): %s", change.ID, change.DirectoryID, change.Reason)
	case !admin.MayBeMade(err):
		st.VoterChange = nil
		r.event(s, nil, corev1.EventTypeWarning, "VoterChangeRefused", string(change.Change), "%v", err)
		s.voters = plan.VoterStep{Do: plan.VotersWait, Why: err.Error()}
		v.wasInVain(step, err.Error(), r.Now().Add(careful))
		return ctrl.Result{}, nil
	default: // it may still be made: the quorum tells, or the time since now
		if st.VoterChange != nil {
			st.VoterChange.Since = metav1.NewTime(r.Now()) // this pass, and the wait for the answer, may have taken long
		}
		r.event(s, nil, corev1.EventTypeWarning, "VoterChangeUnclear", string(change.Change), "%v", err)
		s.voters = plan.VoterStep{Do: plan.VotersWait, Busy: true, Why: err.Error()}
		v.wasInVain(step, err.Error(), r.Now().Add(plan.UnclearFor+careful))
	}
	return ctrl.Result{RequeueAfter: soon}, nil
}

// votersDoing is the voters' step for status; nil when there is none.
func (s *scope) votersDoing() *v1alpha1.Doing {
	step := s.voters
	d := &v1alpha1.Doing{What: "change voters", Since: metav1.NewTime(s.now)}
	switch step.Do {
	case plan.VotersDone:
		return nil
	case plan.VotersWait:
		d.WaitsFor = step.Why
		if c := pendingChange(s.cluster.Status.VoterChange); c != nil {
			d.What, d.Node, d.Reason = c.String(), &c.ID, s.cluster.Status.VoterChange.Reason
		}
	case plan.VotersLeave:
		d.What, d.Node, d.Reason = fmt.Sprintf("take out controller %d", step.Node.ID), &step.Node.ID, step.Why
	default:
		c := plan.VoterChange{Remove: step.Do == plan.VotersRemove, Voter: step.Voter}
		d.What, d.Node, d.Reason = c.String(), &c.ID, step.Why
	}
	if old := s.written.Doing; old != nil && old.What == d.What {
		d.Since = old.Since
	}
	return d
}

// aboutVoters tells whether an intent is changeVoters'; a roll's has a template, or is called so.
func aboutVoters(d *v1alpha1.Doing) bool {
	return d != nil && d.TemplateHash == "" && len(d.Batch) == 0 && d.What != rollWaits
}

// controllerPodAddress is where a controller is reached now; "" nowhere.
func (s *scope) controllerPodAddress(id int32) string {
	if p := s.pods[podName(nodeName(s.cluster.Name, true, id))]; p != nil && p.Status.PodIP != "" {
		return net.JoinHostPort(p.Status.PodIP, strconv.Itoa(controllerPort))
	}
	return ""
}

// leave takes a node out of its pool, for good: it doesn't vote, and its claim keeps its id from being used again.
func (r *Reconciler) leave(ctx context.Context, s *scope) (ctrl.Result, error) {
	n := s.voters.Node
	p := s.pool(poolControllers)
	p.NodeIDs = slices.DeleteFunc(slices.Clone(p.NodeIDs), func(id int32) bool { return id == n.ID })
	if result, err := r.record(ctx, s); err != nil {
		return result, err
	}
	r.event(s, nil, corev1.EventTypeNormal, "NodeLeft", "Leave", "node %d (%s): %s; its claim is kept", n.ID, n.Name, s.voters.Why)
	return ctrl.Result{RequeueAfter: shortly}, nil
}

// removeLeft deletes StatefulSets of nodes that have left their pool, and marks their claims: a cluster that is
// made again over its claims does without them.
func (r *Reconciler) removeLeft(ctx context.Context, s *scope) (ctrl.Result, error) {
	if !s.cluster.Status.Formed || s.quorum == nil || s.quorum.Leader < 0 {
		return ctrl.Result{}, nil
	}
	left := func(labels map[string]string) bool {
		id, err := strconv.ParseInt(labels[labelNodeID], 10, 32)
		switch {
		case err != nil || s.node(int32(id)) != nil:
			return false
		case labels[labelPool] == poolControllers:
			return !s.quorum.Voter(int32(id))
		}
		return labels[labelPool] == poolBrokers && s.spec.Brokers != nil && !slices.Contains(s.pool(poolBrokers).NodeIDs, int32(id))
	}
	for _, claim := range s.claims {
		if !left(claim.Labels) || claim.Annotations[annotationLeft] == "true" || claim.DeletionTimestamp != nil {
			continue
		}
		marked := claim.DeepCopy()
		marked.Annotations = merged(claim.Annotations, map[string]string{annotationLeft: "true"})
		if err := r.Patch(ctx, marked, seen(claim), client.FieldOwner(fieldManager)); client.IgnoreNotFound(err) != nil {
			return ctrl.Result{}, fmt.Errorf("claim %s: %w", claim.Name, err)
		}
	}
	for _, set := range s.sets {
		if !left(set.Labels) || set.DeletionTimestamp != nil || !metav1.IsControlledBy(set, s.cluster) {
			continue
		}
		uid := set.UID
		if err := r.Delete(ctx, set, client.Preconditions{UID: &uid}, client.PropagationPolicy(metav1.DeletePropagationBackground)); client.IgnoreNotFound(err) != nil {
			return ctrl.Result{}, fmt.Errorf("deleting StatefulSet %s: %w", set.Name, err)
		}
	}
	return ctrl.Result{}, nil
}
