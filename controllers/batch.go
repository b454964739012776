package controllers

import (
	"context"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	logf "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/kraft-dev/kraft-operator/api/v1alpha1"
	"github.com/kraft-dev/kraft-operator/controllers/plan"
)

// labelBatch takes a pod out of its pool's disruption budget: it is of a batch that is proved safe, and the budget is
// shut for all others meanwhile. Its successor comes without it.
const labelBatch = "kraft.dev/batch"

// restartBatch restarts several brokers at once; plan.Roll has proved that they can be missed together. In this order:
// the intent with every pod is recorded, the pool's budget is shut (so a drain adds nobody), everything is read and
// proved again, the templates are set, and the pods evicted by their UIDs.
func (r *Reconciler) restartBatch(ctx context.Context, s *scope, step plan.RollStep) (ctrl.Result, error) {
	doing := s.batchDoing(step.Batch)
	if old := s.cluster.Status.Doing; old != nil && covers(old.Batch, doing.Batch) {
		doing = old.DeepCopy() // the same batch, or what is left of it
	} else {
		doing.Reason = r.whyRestart(ctx, s, s.node(step.Node.ID), step.Node)
		s.cluster.Status.Doing = doing
		result, err := r.record(ctx, s)
		if err == nil {
			result = ctrl.Result{RequeueAfter: shortly} // the next pass shuts the budget, then reads and proves again
		}
		return result, err
	}
	s.cluster.Status.Doing = doing
	shut, err := r.budgetShut(ctx, s, step.Batch)
	if err != nil || !shut {
		s.waitFor("the brokers' disruption budget to shut")
		return ctrl.Result{RequeueAfter: s.untilSeen()}, err
	}
	if result, err := r.record(ctx, s); err != nil {
		return result, err
	}
	ready, err := r.retemplate(ctx, s, step.Batch)
	if err != nil || !ready {
		s.waitFor("Kubernetes to take up their new templates")
		return ctrl.Result{RequeueAfter: s.untilSeen()}, err
	}
	logf.FromContext(ctx).Info("Restarting brokers together", "nodes", names(step.Batch), "reason", doing.Reason)
	for _, n := range step.Batch {
		if err := r.outOfBudget(ctx, s, n); err != nil {
			return ctrl.Result{}, err
		}
		if _, err := r.takeDown(ctx, s, plan.RollStep{Do: plan.RollEvict, Node: n}, doing.Reason); err != nil {
			return ctrl.Result{}, err
		}
	}
	s.waitFor(fmt.Sprintf("%d brokers to come back with their new template", len(doing.Batch)))
	return ctrl.Result{RequeueAfter: soon}, nil
}

func (s *scope) batchDoing(batch []plan.Node) *v1alpha1.Doing {
	doing := &v1alpha1.Doing{What: "restart brokers " + names(batch), Since: metav1.NewTime(s.now)}
	for _, n := range batch {
		doing.Batch = append(doing.Batch, v1alpha1.BatchPod{Node: n.ID, Pod: n.Pod.Name, PodUID: n.Pod.UID, TemplateHash: n.Want})
	}
	return doing
}

// names are a batch's node ids: "1001, 1002 and 14 more".
func names(batch []plan.Node) string {
	const most = 5
	var ids []string
	for i, n := range batch {
		if i == most && len(batch) > most+1 {
			return fmt.Sprintf("%s and %d more", strings.Join(ids, ", "), len(batch)-most)
		}
		ids = append(ids, fmt.Sprint(n.ID))
	}
	return strings.Join(ids, ", ")
}

func covers(recorded, batch []v1alpha1.BatchPod) bool {
	return !slices.ContainsFunc(batch, func(b v1alpha1.BatchPod) bool { return !slices.Contains(recorded, b) })
}

// budgetShut tells whether the brokers' budget allows nobody, and whoever was evicted before it was shut is out.
func (r *Reconciler) budgetShut(ctx context.Context, s *scope, batch []plan.Node) (bool, error) {
	want := s.budget(poolBrokers, 0)
	var live policyv1.PodDisruptionBudget
	if err := r.Live.Get(ctx, client.ObjectKeyFromObject(want), &live); err != nil {
		return false, fmt.Errorf("budget %s: %w", want.Name, err)
	}
	if m := live.Spec.MaxUnavailable; m == nil || *m != intstr.FromInt32(0) || live.Spec.MinAvailable != nil {
		return false, nil
	}
	for name := range live.Status.DisruptedPods { // its eviction was granted, its deletion may not have been seen
		p := s.pods[name]
		inBatch := slices.ContainsFunc(batch, func(n plan.Node) bool { return n.Pod.Name == name })
		if p != nil && p.DeletionTimestamp == nil && !inBatch {
			return false, nil
		}
	}
	return true, nil
}

// retemplate gives every StatefulSet of a batch its new template. It reports whether Kubernetes has seen all of them:
// a pod that goes before that would come back as it was.
func (r *Reconciler) retemplate(ctx context.Context, s *scope, batch []plan.Node) (bool, error) {
	seen := true
	for _, n := range batch {
		set := s.sets[n.Name]
		switch {
		case n.Has != n.Want:
			if err := r.newTemplate(ctx, s, s.node(n.ID)); err != nil {
				return false, err
			}
			seen = false
		case set.Status.ObservedGeneration < set.Generation:
			seen = false
		}
	}
	return seen, nil
}

func (r *Reconciler) outOfBudget(ctx context.Context, s *scope, n plan.Node) error {
	pod := s.pods[n.Pod.Name]
	if pod.Labels[labelBatch] == "true" {
		return nil
	}
	return r.label(ctx, pod, `"true"`)
}

// backIntoBudget takes the mark off pods whose batch is over.
func (r *Reconciler) backIntoBudget(ctx context.Context, s *scope, snap plan.Snapshot) error {
	for _, n := range snap.Nodes {
		if n.Pod == nil || n.Pod.Terminating || s.pods[n.Pod.Name].Labels[labelBatch] == "" {
			continue
		}
		if snap.BatchOpen() && slices.Contains(snap.Batch, plan.BatchPod{Node: n.ID, UID: n.Pod.UID, Hash: n.Want}) {
			continue
		}
		if err := r.label(ctx, s.pods[n.Pod.Name], "null"); err != nil {
			return err
		}
	}
	return nil
}

func (r *Reconciler) label(ctx context.Context, pod *corev1.Pod, value string) error {
	if err := r.patchPod(ctx, pod, "labels", labelBatch, value); err != nil {
		return fmt.Errorf("labelling pod %s: %w", pod.Name, err)
	}
	return nil
}

// maxUnavailable is spec.rolling.maxUnavailable as a number of brokers: a percentage is rounded down, and never to none.
func (s *scope) maxUnavailable() int {
	n, err := intstr.GetScaledValueFromIntOrPercent(&s.spec.Rolling.MaxUnavailable, int(brokerCount(&s.spec)), false)
	if err != nil { // the API checks it
		return 1
	}
	return max(1, n)
}

func recordedBatch(d *v1alpha1.Doing) (out []plan.BatchPod) {
	if d == nil {
		return nil
	}
	for _, b := range d.Batch {
		out = append(out, plan.BatchPod{Node: b.Node, UID: b.PodUID, Hash: b.TemplateHash, Back: b.Back})
	}
	return out
}
