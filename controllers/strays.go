package controllers

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	logf "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/kraft-dev/kraft-operator/controllers/plan/planted"
)

// strayAfter is how long a StatefulSet's pod is missing before it is looked for by its name, and how often again.
const strayAfter = 2 * time.Second

// missing is a pod that its StatefulSet wants and that isn't seen.
type missing struct {
	since  time.Time
	looked time.Time // when it was looked for last, or since
	place  string    // what stands under its name, and isn't the node's
}

// findStrays puts labels back that a hand took off a node's pod. Its StatefulSet lets go of such a pod, can't make
// another of that name, and takes it again once it is labelled; without, it runs on and nobody sees it. A pod that
// lacks only some of them is seen; one without the cluster's is looked for when it has been missing for a while.
func (r *Reconciler) findStrays(ctx context.Context, s *scope) (ctrl.Result, error) {
	v := r.views.get(types.NamespacedName{Namespace: s.cluster.Namespace, Name: s.cluster.Name})
	was := v.missing
	v.missing = map[string]missing{}
	for _, n := range s.nodes {
		name, set := podName(n.name), s.sets[n.name]
		if p := s.pods[name]; p != nil {
			if err := r.relabelPod(ctx, n, set, p); err != nil {
				return ctrl.Result{}, err
			}
			continue
		}
		if asleep(set) || set.DeletionTimestamp != nil {
			continue
		}
		m, before := was[name]
		if !before {
			m.since, m.looked = s.now, s.now
		}
		if s.now.Sub(m.looked) >= strayAfter {
			p, err := r.podByName(ctx, s, n)
			if err == nil && p != nil {
				err = r.relabelPod(ctx, n, set, p)
			}
			if err != nil {
				return ctrl.Result{}, err
			}
			m.looked, m.place = s.now, ""
			if p != nil && p.DeletionTimestamp == nil {
				m.place = whoseElse(n, set, p)
			}
		}
		v.missing[name], n.place, n.podless = m, m.place, m.since
	}
	return ctrl.Result{}, nil
}

// seeStopped adds to what was observed the pods of stopped nodes that run without their labels: a node isn't stopped
// as long as its pod is there. Labelled again, its StatefulSet stops it.
func (r *Reconciler) seeStopped(ctx context.Context, s *scope) error {
	for _, n := range s.nodes {
		set := s.sets[n.name]
		if set == nil || !asleep(set) || s.pods[podName(n.name)] != nil {
			continue
		}
		p, err := r.podByName(ctx, s, n)
		if err != nil {
			return err
		}
		if p == nil || whoseElse(n, set, p) != "" {
			continue
		}
		if err := r.relabelPod(ctx, n, set, p); err != nil {
			return err
		}
		s.pods[p.Name] = p
	}
	return nil
}

// podByName is what stands in the API itself under the name of a node's pod; nil if nothing does.
func (r *Reconciler) podByName(ctx context.Context, s *scope, n *node) (*corev1.Pod, error) {
	var p corev1.Pod
	err := r.Live.Get(ctx, types.NamespacedName{Namespace: s.cluster.Namespace, Name: podName(n.name)}, &p)
	if apierrors.IsNotFound(err) {
		return nil, nil
	} else if err != nil {
		return nil, fmt.Errorf("pod %s: %w", podName(n.name), err)
	}
	return &p, nil
}

// whoseElse says why a pod under a node's name isn't the node's; "" when it is: it is on the node's disk, and nobody but
// the node's StatefulSet controls it.
func whoseElse(n *node, set *appsv1.StatefulSet, p *corev1.Pod) string {
	onDisk := slices.ContainsFunc(p.Spec.Volumes, func(v corev1.Volume) bool {
		return v.PersistentVolumeClaim != nil && v.PersistentVolumeClaim.ClaimName == claimName(n.name)
	})
	owner := metav1.GetControllerOf(p)
	switch {
	case owner != nil && owner.UID != set.UID:
		return fmt.Sprintf("pod %s stands in its place and belongs to %s %s: delete it", p.Name, owner.Kind, owner.Name)
	case !onDisk:
		return fmt.Sprintf("pod %s stands in its place and isn't on claim %s: delete it", p.Name, claimName(n.name))
	}
	return ""
}

// relabelPod puts back the labels of a node's pod as its StatefulSet's template has them, if one of the operator's own
// is missing or another. A pod that isn't the node's is left as it is.
func (r *Reconciler) relabelPod(ctx context.Context, n *node, set *appsv1.StatefulSet, p *corev1.Pod) error {
	asItIs := true
	for key, value := range n.labels() {
		asItIs = asItIs && p.Labels[key] == value
	}
	if asItIs || planted.Bug == planted.LabelsStayOff || set == nil || p.DeletionTimestamp != nil || whoseElse(n, set, p) != "" {
		return nil
	}
	labels := merged(set.Spec.Template.Labels, n.labels())
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"uid": p.UID, "labels": labels}})
	if err != nil {
		return fmt.Errorf("labels of pod %s: %w", p.Name, err)
	}
	logf.FromContext(ctx).Info("Putting a pod's labels back", "pod", p.Name)
	err = r.Patch(ctx, p.DeepCopy(), client.RawPatch(types.MergePatchType, patch), client.FieldOwner(fieldManager))
	if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) { // the next pass looks again
		return fmt.Errorf("labels of pod %s: %w", p.Name, err)
	}
	return nil
}
