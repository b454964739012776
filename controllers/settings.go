package controllers

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	logf "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/kraft-dev/kraft-operator/api/v1alpha1"
	"github.com/kraft-dev/kraft-operator/controllers/plan"
	"github.com/kraft-dev/kraft-operator/internal/admin"
	"github.com/kraft-dev/kraft-operator/internal/config"
)

// settingsEvery is how often settings that nothing asks to change are compared with the cluster's.
const settingsEvery = 10 * time.Second

// othersShown bounds the settings of other hands in status.
const othersShown = 50

// liveSettings are the settings of spec.config that running nodes take: they are the cluster's dynamic defaults, and
// in no node's file.
func (s *scope) liveSettings() map[string]string {
	out := map[string]string{}
	for k, v := range s.spec.Config {
		if config.TakenLive(k, v) {
			out[k] = v
		}
	}
	return out
}

// applySettings brings the cluster's dynamic defaults to what the spec says; plan.Settings says how. Which of them are
// the operator's is recorded before they are set: what is gone from the spec is found again, and reset.
func (r *Reconciler) applySettings(ctx context.Context, s *scope) (ctrl.Result, error) {
	st := &s.cluster.Status
	leader := ""
	if st.Formed && s.quorum != nil && s.quorum.Leader >= 0 {
		leader = s.controllerPodAddress(s.quorum.Leader)
	}
	want, owned := s.liveSettings(), ownedSettings(st)
	if leader == "" {
		if !maps.Equal(want, owned) {
			s.settingsWait = "the quorum to have a leader"
		}
		return ctrl.Result{}, nil
	}
	v := r.views.get(types.NamespacedName{Namespace: s.cluster.Namespace, Name: s.cluster.Name})
	if maps.Equal(want, owned) && s.now.Sub(v.settingsAt) < settingsEvery && st.DynamicConfig != nil {
		return ctrl.Result{}, nil
	}
	actual, err := r.Admin.DynamicDefaults(ctx, leader)
	if err != nil {
		s.settingsWait = "the active controller's word on settings: " + err.Error()
		return ctrl.Result{}, nil //nolint:nilerr // status says so, and the other steps don't wait for it
	}
	v.settingsAt = s.now
	step := plan.Settings(want, owned, actual)
	if !step.Done() {
		if done, err := r.alterSettings(ctx, s, leader, step, actual); !done || err != nil {
			if s.settingsWait != "" {
				v.settingsAt = time.Time{} // soon again
			}
			return ctrl.Result{}, err
		}
	}
	s.release(heldSettings)
	st.DynamicConfig = &v1alpha1.DynamicConfigStatus{Applied: want, Others: shownOthers(step.Others)}
	return ctrl.Result{}, nil
}

// heldSettings is the field of a refusal by the cluster.
const heldSettings = "spec.config (without a restart)"

func (r *Reconciler) alterSettings(ctx context.Context, s *scope, leader string, step plan.SettingsStep, actual map[string]string) (done bool, err error) {
	st := &s.cluster.Status
	now := &v1alpha1.DynamicConfigStatus{Applied: merged(ownedSettings(st), step.Set)}
	if st.DynamicConfig != nil {
		now.Others = st.DynamicConfig.Others
	}
	st.DynamicConfig = now
	if _, err := r.record(ctx, s); err != nil {
		return false, err
	}
	what := describeSettings(step, actual)
	logf.FromContext(ctx).Info("Changing settings of running nodes", "settings", what)
	err = r.Admin.AlterDynamicDefaults(ctx, leader, step.Set, step.Remove)
	var refusal *admin.VoterError
	switch {
	case err == nil:
		r.event(s, nil, corev1.EventTypeNormal, "SettingsApplied", "Configure", "without a restart: %s", what)
		return true, nil
	case errors.As(err, &refusal) && !admin.MayBeMade(err):
		s.holdLate(heldSettings, "SettingsRefused", "the active controller refuses %s: %v", what, refusal)
		r.tellHeldBack(s)
	default: // asked again: it does no harm
		s.settingsWait = err.Error()
	}
	return false, nil
}

func ownedSettings(st *v1alpha1.KRaftClusterStatus) map[string]string {
	if st.DynamicConfig == nil {
		return nil
	}
	return st.DynamicConfig.Applied
}

// describeSettings is a step in words: "a=1 (was 2), b reset".
func describeSettings(step plan.SettingsStep, actual map[string]string) string {
	var out []string
	for _, k := range slices.Sorted(maps.Keys(step.Set)) {
		text := k + "=" + step.Set[k]
		if was, ok := actual[k]; ok {
			text += " (was " + was + ")"
		}
		out = append(out, text)
	}
	for _, k := range step.Remove {
		out = append(out, k+" reset")
	}
	const most = 10
	if len(out) > most {
		out = append(out[:most], fmt.Sprintf("and %d more", len(out)-most))
	}
	return strings.Join(out, ", ")
}

func shownOthers(others map[string]string) map[string]string {
	out := map[string]string{}
	for _, k := range slices.Sorted(maps.Keys(others)) {
		if len(out) == othersShown {
			break
		}
		out[k] = others[k]
		if config.Sensitive(k) {
			out[k] = ""
		}
	}
	if len(out) == 0 {
		return nil
	}
	return out
}

// settingsFor is a node's settings file. A node that runs with an older operator's, which has live settings in it too,
// keeps that file while nothing else changes: what it says of them is overridden, and no restart is needed to say it.
func (r *Reconciler) settingsFor(ctx context.Context, s *scope, n *node) (*corev1.ConfigMap, error) {
	want := s.configMap(n)
	live := s.sets[n.name]
	if live == nil {
		return want, nil
	}
	name := configMapOf(live.Spec.Template.Spec.Volumes)
	if name == "" || name == want.Name || s.statefulSet(n, name).Spec.Template.Annotations[annotationTemplateHash] != live.Spec.Template.Annotations[annotationTemplateHash] {
		return want, nil
	}
	var old corev1.ConfigMap
	err := r.Get(ctx, types.NamespacedName{Namespace: s.cluster.Namespace, Name: name}, &old)
	switch {
	case apierrors.IsNotFound(err):
		return want, nil
	case err != nil:
		return nil, fmt.Errorf("settings %s: %w", name, err)
	}
	if !sameButLive(old.Data[configFile], want.Data[configFile], s.liveSettings()) {
		return want, nil
	}
	old.TypeMeta = want.TypeMeta
	return &old, nil
}

// sameButLive tells whether two properties files differ in nothing but settings that are dynamic defaults now.
func sameButLive(old, want string, live map[string]string) bool {
	a, errA := config.Parse([]byte(old))
	b, errB := config.Parse([]byte(want))
	if errA != nil || errB != nil {
		return false
	}
	maps.DeleteFunc(a, func(k, _ string) bool { _, is := live[k]; return is })
	return maps.Equal(a, b)
}

// holdLate is hold for a reason that a later step than acceptSpec finds: it stands until release, over passes.
func (s *scope) holdLate(field, reason, format string, args ...any) {
	s.release(field)
	s.hold(field, reason, format, args...)
}

// holdOn is holdLate for what every pass finds again: the entry keeps its place, another reason for the field stands, and the event is
// made once, though the API's words may change.
func (r *Reconciler) holdOn(s *scope, field, reason, message string) {
	st := &s.cluster.Status
	i := slices.IndexFunc(st.HeldBack, func(h v1alpha1.HeldBack) bool { return h.Field == field })
	switch {
	case i < 0:
		s.hold(field, reason, "%s", message)
	case st.HeldBack[i].Reason != reason:
		return
	default:
		st.HeldBack[i].Message = message
	}
	if !slices.ContainsFunc(s.written.HeldBack, func(h v1alpha1.HeldBack) bool { return h.Field == field && h.Reason == reason }) {
		r.event(s, nil, corev1.EventTypeWarning, reason, "HoldBack", "%s: %s", field, message)
	}
}

// release ends what holdLate said.
func (s *scope) release(field string) {
	st := &s.cluster.Status
	st.HeldBack = slices.DeleteFunc(slices.Clone(st.HeldBack), func(h v1alpha1.HeldBack) bool { return h.Field == field })
	if len(st.HeldBack) == 0 {
		st.HeldBack = nil
	}
}

// releaseFor is release of one reason.
func (s *scope) releaseFor(field, reason string) {
	if slices.ContainsFunc(s.cluster.Status.HeldBack, func(h v1alpha1.HeldBack) bool { return h.Field == field && h.Reason == reason }) {
		s.release(field)
	}
}

// keepLate carries over what later steps have held back: they say themselves when it is over.
func (s *scope) keepLate() {
	for _, h := range s.written.HeldBack {
		fewer := s.cluster.Spec.Brokers != nil && int(s.cluster.Spec.Brokers.Replicas) < len(s.pool(poolBrokers).NodeIDs)
		if h.Field == heldSettings || h.Field == heldListeners || h.Reason == reasonNodeRefused || h.Reason == reasonChangeRefused || h.Reason == reasonCannotGrow || h.Field == fieldBrokers && h.Reason == reasonHoldReplica && fewer {
			s.hold(h.Field, h.Reason, "%s", h.Message)
		}
	}
}
