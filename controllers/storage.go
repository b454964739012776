package controllers

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/kraft-dev/kraft-operator/api/v1alpha1"
	"github.com/kraft-dev/kraft-operator/controllers/plan/planted"
)

// ensureClaims keeps the claims' annotations, owner and size as they shall be. A claim never shrinks and is never
// deleted. Claims whose node has left keep all but their owner: the policy is the cluster's, and one that stayed behind
// when the others go would be taken up by the next cluster of this name.
func (r *Reconciler) ensureClaims(ctx context.Context, s *scope) (ctrl.Result, error) {
	refused := map[string]*growth{poolControllers: {}, poolBrokers: {}}
	for _, n := range s.nodes {
		live := s.claims[claimName(n.name)]
		if live == nil || live.DeletionTimestamp != nil {
			continue
		}
		if err := r.ensureMarks(ctx, s, n, live); err != nil {
			return ctrl.Result{}, err
		}
		if err := r.growClaim(ctx, s, n, live, refused[n.pool]); err != nil {
			return ctrl.Result{}, err
		}
	}
	for _, pool := range []string{poolControllers, poolBrokers} {
		field := "spec." + pool + ".storage.size"
		if why := refused[pool].why; why != "" {
			r.holdOn(s, field, reasonCannotGrow, why)
		} else {
			s.releaseFor(field, reasonCannotGrow)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(s.claims)) {
		live := s.claims[name]
		here := slices.ContainsFunc(s.nodes, func(n *node) bool { return claimName(n.name) == name })
		if here || live.DeletionTimestamp != nil || !s.madeIt(live) {
			continue
		}
		if err := r.ensureOwner(ctx, s, live); err != nil {
			return ctrl.Result{}, err
		}
	}
	return ctrl.Result{}, nil
}

// madeIt tells a node's claim from somebody's copy of one, which has its labels and annotations and another name.
func (s *scope) madeIt(c *corev1.PersistentVolumeClaim) bool {
	id, err := strconv.ParseInt(c.Annotations[annotationNodeID], 10, 32)
	if err != nil || c.Annotations[annotationClusterID] != s.cluster.Status.ClusterID {
		return false
	}
	name := func(controller bool) string { return claimName(nodeName(s.cluster.Name, controller, int32(id))) }
	return c.Name == name(true) || c.Name == name(false)
}

// ensureOwner sets the owner of a claim by the policy, and nothing else.
func (r *Reconciler) ensureOwner(ctx context.Context, s *scope, live *corev1.PersistentVolumeClaim) error {
	mended := live.DeepCopy()
	mended.OwnerReferences = s.claimOwners(live)
	return r.patchClaim(ctx, mended, live)
}

// claimOwners are a claim's owners as they shall be: this cluster by the policy, and others' as they are.
func (s *scope) claimOwners(live *corev1.PersistentVolumeClaim) []metav1.OwnerReference {
	others := slices.DeleteFunc(slices.Clone(live.OwnerReferences), func(ref metav1.OwnerReference) bool {
		return ref.Kind == "KRaftCluster" && ref.Name == s.cluster.Name
	})
	if s.spec.Storage.DeletionPolicy != v1alpha1.DeletionDelete {
		return others
	}
	return append(others, ownerOf(s.cluster))
}

// patchClaim writes a claim's metadata if they are others by now.
func (r *Reconciler) patchClaim(ctx context.Context, mended, live *corev1.PersistentVolumeClaim) error {
	if equality.Semantic.DeepEqual(mended.ObjectMeta, live.ObjectMeta) {
		return nil
	}
	if err := r.Patch(ctx, mended, seen(live), client.FieldOwner(fieldManager)); client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("claim %s: %w", live.Name, err)
	}
	return nil
}

func (r *Reconciler) ensureMarks(ctx context.Context, s *scope, n *node, live *corev1.PersistentVolumeClaim) error {
	want := s.claim(n)
	mended := live.DeepCopy()
	mended.Labels = merged(live.Labels, want.Labels)
	mended.Annotations = merged(live.Annotations, want.Annotations)
	delete(mended.Annotations, annotationLeft) // it is here
	if dir := s.seenDirectory(n.id, live.CreationTimestamp.Time); n.controller && dir != "" {
		mended.Annotations[annotationDirectoryID] = dir
	}
	if planted.Bug != planted.OwnersStay {
		mended.OwnerReferences = s.claimOwners(live)
	}
	return r.patchClaim(ctx, mended, live)
}

// seenDirectory is the directory id under which a controller has fetched, or led, since its claim was made; "" while the
// quorum doesn't know. A key that is silent may be of a disk that is gone, and an answer of a moment ago of the claim before.
func (s *scope) seenDirectory(id int32, made time.Time) string {
	if s.quorum == nil {
		return ""
	}
	const second = 2 * time.Second // times of creation are cut to seconds, and clocks differ
	for _, r := range slices.Concat(s.quorum.Voters, s.quorum.Observers) {
		leads := r.ID == s.quorum.Leader
		if r.ID == id && (leads || r.Fetches()) && s.quorumAt.Add(-max(0, r.SinceFetch)).After(made.Add(second)) {
			return r.DirectoryID
		}
	}
	return ""
}

const (
	reasonCannotGrow = "ClaimCannotGrow"
	// growAgain is when a claim that was refused a size is tried once more: its class or a quota may allow it by then.
	growAgain = 5 * time.Minute
)

// growth is what a pass learns of a pool's claims that can't grow.
type growth struct {
	why     string // the first one's
	refused bool   // in this pass: what refuses one mostly refuses the others, and they are tried in later passes
}

// refusedSize is the API's no to a claim's size.
type refusedSize struct {
	size, why string
	at        time.Time
}

func (r *Reconciler) growClaim(ctx context.Context, s *scope, n *node, live *corev1.PersistentVolumeClaim, pool *growth) error {
	v := r.views.get(types.NamespacedName{Namespace: s.cluster.Namespace, Name: s.cluster.Name})
	want, has := n.size(), live.Spec.Resources.Requests[corev1.ResourceStorage]
	if want.Cmp(has) <= 0 {
		delete(v.refusedSizes, live.Name)
		return nil
	}
	if last, ok := v.refusedSizes[live.Name]; ok && last.size == want.String() && (pool.refused || s.now.Sub(last.at) < growAgain) {
		pool.why = cmp.Or(pool.why, last.why)
		return nil
	}
	if pool.refused {
		return nil
	}
	grown := live.DeepCopy()
	grown.Spec.Resources.Requests[corev1.ResourceStorage] = want
	err := r.Patch(ctx, grown, seen(live), client.FieldOwner(fieldManager))
	switch {
	case apierrors.IsForbidden(err) || apierrors.IsInvalid(err):
		why := fmt.Sprintf("claim %s stays at %s: %v; use a StorageClass with allowVolumeExpansion", live.Name, has.String(), err)
		pool.why, pool.refused = cmp.Or(pool.why, why), true
		if v.refusedSizes == nil {
			v.refusedSizes = map[string]refusedSize{}
		}
		v.refusedSizes[live.Name] = refusedSize{size: want.String(), why: why, at: s.now}
		return nil
	case err != nil:
		return fmt.Errorf("growing claim %s: %w", live.Name, err)
	}
	delete(v.refusedSizes, live.Name)
	r.event(s, nil, corev1.EventTypeNormal, "ClaimGrown", "Grow", "claim %s from %s to %s", live.Name, has.String(), want.String())
	return nil
}

func merged(have, over map[string]string) map[string]string {
	out := maps.Clone(have)
	if out == nil {
		out = map[string]string{}
	}
	maps.Copy(out, over)
	return out
}
