package controllers

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/kraft-dev/kraft-operator/api/v1alpha1"
	"github.com/kraft-dev/kraft-operator/internal/config"
)

// revisionsKept is how many accepted specs are kept.
const revisionsKept = 5

// acceptSpec compares the spec with what can be done. A part that can't is held back: the last accepted one goes on,
// and status says which field, why, and the way out.
func (r *Reconciler) acceptSpec(ctx context.Context, s *scope) (ctrl.Result, error) {
	last, revisions, err := r.lastAccepted(ctx, s)
	if err != nil {
		return ctrl.Result{}, err
	}
	st := &s.cluster.Status
	st.HeldBack = nil
	s.leaveAsPaused(last)
	s.image = cmp.Or(s.spec.Image, r.NodeImage)
	r.tryOut(ctx, s, last)
	s.holdBack(last)
	s.noteRestart()
	s.keepLate()
	r.tellHeldBack(s)
	if s.refused != "" {
		return ctrl.Result{RequeueAfter: steadily}, nil
	}
	st.Image = s.image
	if s.cluster.Spec.Paused && last != nil {
		return ctrl.Result{}, nil
	}
	return ctrl.Result{}, r.keepAccepted(ctx, s, last, revisions)
}

// leaveAsPaused puts the accepted spec in the place of what was changed while the cluster is paused.
func (s *scope) leaveAsPaused(last *v1alpha1.KRaftClusterSpec) {
	if !s.cluster.Spec.Paused || last == nil {
		return
	}
	accepted := last.DeepCopy()
	accepted.Paused = true
	s.changedPaused = !equality.Semantic.DeepEqual(*accepted, s.spec)
	s.spec = *accepted
}

// tryOut asks the API, as a dry run, whether it would take pod templates that weren't accepted yet: a StatefulSet of each kind of node. What it
// refuses is held back, or every later step would wait for it.
func (r *Reconciler) tryOut(ctx context.Context, s *scope, last *v1alpha1.KRaftClusterSpec) {
	if last == nil || !s.cluster.Status.Formed {
		return // nothing runs that could go on as it is
	}
	pools := []struct {
		field      string
		controller bool
		now, was   *v1alpha1.PodTemplate
		res, had   *v1alpha1.ResourcesSpec
	}{{"spec.controllers", true, &s.spec.Controllers.Template, &last.Controllers.Template, &s.spec.Controllers.Resources, &last.Controllers.Resources}}
	if now, was := s.spec.Brokers, last.Brokers; now != nil && was != nil {
		pools = append(pools, pools[0])
		p := &pools[1]
		p.field, p.controller, p.now, p.was, p.res, p.had = "spec.brokers", false, &now.Template, &was.Template, &now.Resources, &was.Resources
	}
	for _, p := range pools {
		if equality.Semantic.DeepEqual(p.now, p.was) && equality.Semantic.DeepEqual(p.res, p.had) {
			continue
		}
		n := &node{cluster: s.cluster.Name, controller: p.controller, broker: !p.controller || s.combined(), template: *p.now, resources: *p.res}
		n.name = s.cluster.Name + "-tried"
		err := r.apply(ctx, s.statefulSet(n, n.name), client.DryRunAll)
		if err != nil { // also where the API doesn't answer: the accepted one goes on until it does
			s.hold(p.field, "TemplateRefused", "template or resources: %v", err)
			*p.now, *p.res = *p.was.DeepCopy(), *p.had.DeepCopy()
		}
	}
}

// holdBack edits s.spec to what is carried out and lists what isn't.
func (s *scope) holdBack(last *v1alpha1.KRaftClusterSpec) {
	// What the API refuses since may stand in an object that is older.
	if id := s.cluster.Status.ClusterID; s.spec.Adopt != nil && s.spec.Adopt.ClusterID != "" && s.spec.Adopt.ClusterID != id {
		s.hold("spec.adopt.clusterID", "AnotherCluster", "this is cluster %s, and stays it: set that, or remove the field", id)
		s.spec.Adopt = nil
	}
	if n := int32(len(s.pool(poolControllers).NodeIDs)); s.combined() && s.spec.Controllers.Replicas < n {
		s.hold("spec.controllers.replicas", "BrokersHoldReplicas", "combined nodes may hold replicas that would be lost: %d stay; put back %d", n, n)
		voters := voterCount(&s.spec)
		s.spec.Quorum.Voters, s.spec.Controllers.Replicas = &voters, n
	}
	if s.spec.Brokers != nil {
		if n := int32(len(s.pool(poolBrokers).NodeIDs)); s.spec.Brokers.Replicas < n {
			s.spec.Brokers.Replicas = n // until mindBrokers has taken them out
		}
	}
	if err := s.checkSettings(); err != nil {
		s.hold("spec.config", "InvalidSetting", "%v", err)
		if last == nil {
			s.refused = "spec.config: " + err.Error()
		} else {
			s.spec.Config, s.spec.Listeners = last.Config, last.Listeners
			s.spec.Controllers.Template.Env = last.Controllers.Template.Env
			if s.spec.Brokers != nil && last.Brokers != nil {
				s.spec.Brokers.Template.Env = last.Brokers.Template.Env
			}
		}
	}
}

// checkSettings tries the settings of one node of each kind.
func (s *scope) checkSettings() error {
	ports := map[string]int32{}
	for _, l := range s.spec.Listeners {
		ports[l.Name] = 30000
	}
	controller := &node{cluster: s.cluster.Name, id: firstController, controller: true, broker: s.combined(), template: s.spec.Controllers.Template, nodePorts: ports}
	controller.name = nodeName(s.cluster.Name, true, controller.id)
	if err := cmp.Or(s.checkConfig(controller), config.ValidateDynamic(s.liveSettings(), false)); err != nil {
		return err
	}
	if s.spec.Brokers == nil {
		return nil
	}
	broker := &node{cluster: s.cluster.Name, id: firstBroker, broker: true, template: s.spec.Brokers.Template, nodePorts: ports}
	broker.name = nodeName(s.cluster.Name, false, broker.id)
	return s.checkConfig(broker)
}

// tellHeldBack makes an event of each new refusal.
func (r *Reconciler) tellHeldBack(s *scope) {
	for _, h := range s.cluster.Status.HeldBack {
		if !slices.Contains(s.written.HeldBack, h) {
			r.event(s, nil, corev1.EventTypeWarning, h.Reason, "HoldBack", "%s: %s", h.Field, h.Message)
		}
	}
}

// lastAccepted reads the newest ControllerRevision: the spec that was carried out last.
func (r *Reconciler) lastAccepted(ctx context.Context, s *scope) (*v1alpha1.KRaftClusterSpec, []appsv1.ControllerRevision, error) {
	var list appsv1.ControllerRevisionList
	if err := r.List(ctx, &list, client.InNamespace(s.cluster.Namespace), client.MatchingLabels{labelCluster: s.cluster.Name}); err != nil {
		return nil, nil, fmt.Errorf("listing revisions: %w", err)
	}
	var ours []appsv1.ControllerRevision
	for _, rev := range list.Items {
		if owner := metav1.GetControllerOf(&rev); owner == nil || owner.UID == s.cluster.UID { // what a deleted cluster owns makes room by itself
			s.lastRevision = max(s.lastRevision, rev.Revision)
		}
		if metav1.IsControlledBy(&rev, s.cluster) {
			ours = append(ours, rev)
		}
	}
	slices.SortFunc(ours, func(a, b appsv1.ControllerRevision) int { return cmp.Compare(b.Revision, a.Revision) })
	if len(ours) == 0 {
		return nil, nil, nil
	}
	var spec v1alpha1.KRaftClusterSpec
	if err := json.Unmarshal(ours[0].Data.Raw, &spec); err != nil {
		return nil, ours, fmt.Errorf("revision %s: %w", ours[0].Name, err)
	}
	return &spec, ours, nil
}

// keepAccepted keeps the accepted spec as a revision of its own when it differs from the last.
func (r *Reconciler) keepAccepted(ctx context.Context, s *scope, last *v1alpha1.KRaftClusterSpec, revisions []appsv1.ControllerRevision) error {
	if last != nil && equality.Semantic.DeepEqual(*last, s.spec) {
		return nil
	}
	raw, err := json.Marshal(s.spec)
	if err != nil {
		return fmt.Errorf("accepted spec: %w", err)
	}
	next := s.lastRevision + 1
	meta := s.meta(fmt.Sprintf("%s-spec-%d", s.cluster.Name, next))
	if _, err := r.create(ctx, &appsv1.ControllerRevision{
		TypeMeta:   metav1.TypeMeta{APIVersion: "apps/v1", Kind: "ControllerRevision"},
		ObjectMeta: meta, Revision: next, Data: runtime.RawExtension{Raw: raw},
	}); err != nil {
		return err
	}
	for i := revisionsKept - 1; i < len(revisions); i++ {
		if err := r.Delete(ctx, &revisions[i]); client.IgnoreNotFound(err) != nil {
			return fmt.Errorf("deleting revision %s: %w", revisions[i].Name, err)
		}
	}
	return nil
}
