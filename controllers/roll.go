package controllers

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	logf "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/kraft-dev/kraft-operator/api/v1alpha1"
	"github.com/kraft-dev/kraft-operator/controllers/plan"
	"github.com/kraft-dev/kraft-operator/controllers/plan/planted"
	"github.com/kraft-dev/kraft-operator/internal/config"
)

// rollWaits is what is being done while a roll waits for its first node.
const rollWaits = "roll"

// patience is how long a step waits at a busy pace for a write to be seen.
const patience = 10 * time.Second

// rollOne carries out the next step of a roll; plan.Roll says which. Before a node is taken down everything is read
// again from the API and asked of the cluster, and the intent is recorded; the act names the pod by its UID.
func (r *Reconciler) rollOne(ctx context.Context, s *scope) (ctrl.Result, error) {
	s.roll, s.rolled = plan.Roll(s.snapshot()), true
	if aboutVoters(s.cluster.Status.Doing) {
		s.cluster.Status.Doing = nil
	}
	if s.roll.Do == plan.RollDone {
		r.endTurn(s)
		s.cluster.Status.Doing = s.votersDoing()
		return ctrl.Result{}, nil
	}
	if may, err := r.takeTurn(ctx, s); !may {
		s.roll, s.rolled = plan.RollStep{}, err == nil
		s.cluster.Status.Doing = s.votersDoing()
		return ctrl.Result{}, err
	}
	switch s.roll.Do {
	case plan.RollWait:
		s.waitFor(s.roll.Why)
		return ctrl.Result{}, nil
	}
	decided := s.roll
	if err := r.lookAgain(ctx, s); err != nil {
		return ctrl.Result{}, err
	}
	s.roll = plan.Roll(s.snapshot())
	if s.roll.Do != decided.Do || s.roll.Node.ID != decided.Node.ID {
		return ctrl.Result{RequeueAfter: soon}, nil // it isn't so any more
	}
	if s.roll.Do == plan.RollBatch {
		return r.restartBatch(ctx, s, s.roll)
	}
	return r.restart(ctx, s, s.roll)
}

func (r *Reconciler) restart(ctx context.Context, s *scope, step plan.RollStep) (ctrl.Result, error) {
	n := s.node(step.Node.ID)
	reason := r.whyRestart(ctx, s, n, step.Node)
	doing := &v1alpha1.Doing{
		What: fmt.Sprintf("restart %s %d", n.component(), n.id), Reason: reason, Node: &n.id,
		TemplateHash: step.Node.Want, Since: metav1.NewTime(s.now),
	}
	if p := step.Node.Pod; p != nil {
		doing.Pod, doing.PodUID = p.Name, p.UID
	}
	if old := s.cluster.Status.Doing; old != nil && old.PodUID == doing.PodUID && old.TemplateHash == doing.TemplateHash {
		doing.Since = old.Since // the same step, tried again
		doing.Reason = old.Reason
	}
	if planted.Bug != planted.RollUnrecorded {
		s.cluster.Status.Doing = doing
	}
	if result, err := r.record(ctx, s); err != nil {
		return result, err
	}
	logf.FromContext(ctx).Info("Restarting node", "nodeID", n.id, "reason", doing.Reason)
	if step.Node.Has != step.Node.Want {
		if err := r.newTemplate(ctx, s, n); err != nil {
			return ctrl.Result{}, err
		}
		return ctrl.Result{RequeueAfter: shortly}, nil
	}
	if set := s.sets[n.name]; set.Status.ObservedGeneration < set.Generation {
		s.waitFor("Kubernetes to take up its new template")
		return ctrl.Result{RequeueAfter: s.untilSeen()}, nil // or the pod would come back as it was, and go down twice
	}
	return r.takeDown(ctx, s, step, doing.Reason)
}

// newTemplate gives a node's StatefulSet its new template, as this pass has seen it: not one that was stopped or removed since by another
// operator, while this one slept.
func (r *Reconciler) newTemplate(ctx context.Context, s *scope, n *node) error {
	live := s.sets[n.name]
	if live == nil {
		return apierrors.NewConflict(appsv1.Resource("statefulsets"), n.name, errors.New("it is gone"))
	}
	return r.applyAsSeen(ctx, marked(n.want), live)
}

// untilSeen is how long to wait for another of Kubernetes' controllers to see a write: a moment, unless it doesn't run.
func (s *scope) untilSeen() time.Duration {
	if d := s.cluster.Status.Doing; d != nil && s.now.Sub(d.Since.Time) > patience {
		return careful
	}
	return shortly
}

// takeDown evicts a Ready pod, under its budget, and deletes one that isn't, or lags. Never by force, and not where another operator has
// written the status since: this one may have slept, between two pods of a batch as well.
func (r *Reconciler) takeDown(ctx context.Context, s *scope, step plan.RollStep, reason string) (ctrl.Result, error) {
	if err := r.stillCurrent(ctx, s); err != nil {
		return ctrl.Result{}, err
	}
	uid := step.Node.Pod.UID
	pod := s.pods[step.Node.Pod.Name]
	precondition := &metav1.Preconditions{UID: &uid}
	if planted.Bug == planted.AnyPodOfThatName {
		precondition = nil
	}
	how := "evict"
	var err error
	if step.Do == plan.RollEvict {
		eviction := &policyv1.Eviction{
			ObjectMeta:    metav1.ObjectMeta{Name: pod.Name, Namespace: pod.Namespace},
			DeleteOptions: &metav1.DeleteOptions{Preconditions: precondition},
		}
		err = r.SubResource("eviction").Create(ctx, pod.DeepCopy(), eviction)
	} else {
		how = "delete"
		err = r.Delete(ctx, pod.DeepCopy(), client.Preconditions{UID: &uid})
	}
	switch {
	case apierrors.IsTooManyRequests(err):
		why := "its disruption budget, which allows no eviction now"
		if shut := s.snapshot().Shut(step.Node); shut != "" {
			why += ": " + shut
		}
		s.waitFor(why)
		return ctrl.Result{RequeueAfter: soon}, nil
	case apierrors.IsNotFound(err) || apierrors.IsConflict(err):
		return ctrl.Result{RequeueAfter: soon}, nil // gone, or another pod: look again
	case err != nil:
		return ctrl.Result{}, fmt.Errorf("taking down pod %s: %w", pod.Name, err)
	}
	r.Metrics.restarted(how)
	if step.Do == plan.RollEvict {
		r.event(s, pod, corev1.EventTypeNormal, "Restarting", "Evict", "%s", reason)
	} else {
		r.event(s, pod, corev1.EventTypeNormal, "Replacing", "Delete", "%s; %s", whyDelete(step.Node.Pod), reason)
	}
	s.waitFor(step.Node.Name + " to come back with its new template")
	return ctrl.Result{RequeueAfter: soon}, nil
}

func whyDelete(p *plan.Pod) string {
	switch {
	case p.Broken != "":
		return "it isn't Ready (" + p.Broken + ")"
	case p.Ready:
		return "it lags, and the others of its pool can't be spared for that"
	}
	return "it isn't Ready"
}

// intend says in status what is about to be done, unless nodes that a roll took down aren't back: it is known by what is said of them alone
// that their clocks stand still, and that their budget stays shut.
func (s *scope) intend(d *v1alpha1.Doing) {
	snap := s.snapshot()
	for _, n := range snap.Nodes {
		if !n.Up() && (n.ID == snap.Restarting || snap.InBatch(n)) {
			return
		}
	}
	s.cluster.Status.Doing = d
}

// endRestart takes note that a pod that a roll took down has a successor that is Ready: what befalls it from here on is no restart.
func (s *scope) endRestart() {
	d := s.cluster.Status.Doing
	if d == nil {
		return
	}
	if d.Pod != "" && s.succeeded(d.Pod, d.PodUID) {
		d.Pod, d.PodUID = "", ""
	}
	for i, b := range d.Batch {
		d.Batch[i].Back = b.Back || s.succeeded(b.Pod, b.PodUID)
	}
}

// succeeded tells whether a pod has a successor that is Ready and stays.
func (s *scope) succeeded(pod string, uid types.UID) bool {
	p := s.pods[pod]
	if p == nil || p.UID == uid || p.DeletionTimestamp != nil {
		return false
	}
	_, isReady := podReady(p)
	return isReady
}

// waitFor says in status what the current step waits for.
func (s *scope) waitFor(why string) {
	d := s.cluster.Status.Doing
	if d == nil {
		d = &v1alpha1.Doing{What: rollWaits, Since: metav1.NewTime(s.now)}
		s.cluster.Status.Doing = d
	}
	d.WaitsFor = why
}

func (s *scope) node(id int32) *node {
	for _, n := range s.nodes {
		if n.id == id {
			return n
		}
	}
	return nil
}

// whatChanged names the fields and settings in which a node's new template differs from what it runs.
func (r *Reconciler) whatChanged(ctx context.Context, s *scope, n *node) string {
	live := s.sets[n.name]
	if live == nil {
		return "no StatefulSet"
	}
	var before, after any
	if json.Unmarshal([]byte(live.Annotations[annotationTemplate]), &before) != nil ||
		json.Unmarshal([]byte(n.want.Annotations[annotationTemplate]), &after) != nil {
		return "the template changed"
	}
	var out, settings []string
	for _, path := range plan.Diff(before, after) {
		if strings.HasPrefix(path, "spec.volumes[config]") {
			settings = append(settings, r.whichSettings(ctx, s, configMapOf(live.Spec.Template.Spec.Volumes), configMapOf(n.want.Spec.Template.Spec.Volumes))...)
			continue
		}
		out = append(out, path)
	}
	out = append(settings, out...)
	if len(out) == 0 {
		return "its pod is of an older template"
	}
	const most = 5
	if len(out) > most {
		out = append(out[:most], fmt.Sprintf("and %d more", len(out)-most))
	}
	return "changed: " + strings.Join(out, ", ")
}

func (r *Reconciler) whichSettings(ctx context.Context, s *scope, before, after string) []string {
	read := func(name string) map[string]string {
		var cm corev1.ConfigMap
		if r.Get(ctx, types.NamespacedName{Namespace: s.cluster.Namespace, Name: name}, &cm) != nil {
			return nil
		}
		p, err := config.Parse([]byte(cm.Data[configFile]))
		if err != nil {
			return nil
		}
		return p
	}
	a, b := read(before), read(after)
	if a == nil || b == nil {
		return []string{"settings"}
	}
	var out []string
	for k := range merged(a, b) {
		_, moved := s.liveSettings()[k] // it is a dynamic default now
		if a[k] != b[k] && !moved {
			out = append(out, "config "+k)
		}
	}
	slices.Sort(out)
	return out
}

// configMapOf is the one with a node's settings.
func configMapOf(vols []corev1.Volume) string {
	for _, v := range vols {
		if v.Name == "config" && v.ConfigMap != nil {
			return v.ConfigMap.Name
		}
	}
	return ""
}
