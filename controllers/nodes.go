package controllers

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/kraft-dev/kraft-operator/api/v1alpha1"
	"github.com/kraft-dev/kraft-operator/controllers/plan"
	"github.com/kraft-dev/kraft-operator/controllers/plan/planted"
)

// chooseNodes records the node ids of each pool; new ones join, and nobody is rolled for it.
func (r *Reconciler) chooseNodes(_ context.Context, s *scope) (ctrl.Result, error) {
	choose := func(name, field string, want int32) {
		p := s.pool(name)
		m := plan.Members{First: p.FirstID, IDs: p.NodeIDs, Want: want, Kept: s.keptIDs(p.FirstID)}
		ids, err := m.Grow()
		if err != nil {
			s.hold(field, "NoNodeIDs", "%v", err)
			return
		}
		p.NodeIDs = ids
	}
	choose(poolControllers, "spec.controllers.replicas", s.spec.Controllers.Replicas)
	if s.spec.Brokers != nil {
		choose(poolBrokers, "spec.brokers.replicas", s.spec.Brokers.Replicas)
	}
	s.makeNodes()
	return ctrl.Result{}, nil
}

// keptIDs are the node ids of a pool's range that have a claim.
func (s *scope) keptIDs(first int32) (ids []int32) {
	for _, c := range s.planClaims() {
		if c.NodeID >= first && c.NodeID < first+plan.PoolSize {
			ids = append(ids, c.NodeID)
		}
	}
	return ids
}

// describeCluster asks the cluster about itself.
func (r *Reconciler) describeCluster(ctx context.Context, s *scope) (ctrl.Result, error) {
	maxAge := freshWhileBusy
	if s.wasReady() {
		maxAge = freshWhenIdle
	}
	r.ask(ctx, s, maxAge)
	s.endRestart()
	r.watchVoters(s)
	r.watchBrokers(s)
	r.lookForLoss(ctx, s)
	return ctrl.Result{}, nil
}

// restWherePaused ends the pass of a paused cluster: to look, and to write down what was seen (that the quorum has formed, too), is all.
func (r *Reconciler) restWherePaused(_ context.Context, s *scope) (ctrl.Result, error) {
	if s.cluster.Spec.Paused {
		return ctrl.Result{RequeueAfter: steadily}, nil
	}
	return ctrl.Result{}, nil
}

// ensureShared makes what all nodes need, before the first of them.
func (r *Reconciler) ensureShared(ctx context.Context, s *scope) (ctrl.Result, error) {
	refused := false
	ports := map[string]int32{}
	for _, obj := range s.shared() {
		err := r.ensure(ctx, obj)
		if why := s.dispensable(obj, err); why != "" {
			if !refused {
				r.holdOn(s, heldListeners, reasonListenerRefused, why)
			}
			refused = true
			continue
		}
		if err != nil {
			return ctrl.Result{}, err
		}
		if svc, ok := obj.(*corev1.Service); ok && svc.Spec.Type == corev1.ServiceTypeNodePort {
			maps.Copy(ports, nodePorts(svc))
		}
	}
	s.bootstrapPorts = ports
	if !refused {
		s.releaseFor(heldListeners, reasonListenerRefused)
	}
	live := s.liveConfigMap()
	hash := hashOf(live.Data)
	if err := r.ensure(ctx, live); err != nil {
		return ctrl.Result{}, err
	}
	return ctrl.Result{}, r.hurryPods(ctx, s, hash)
}

// The field of a listener whose Service can't be, and the reason.
const (
	heldListeners         = "spec.listeners"
	reasonListenerRefused = "ListenerRefused"
)

// dispensable is why a formed cluster goes on without an object that can't be made: a listener's own way in, whose port or name the API refuses.
func (s *scope) dispensable(obj client.Object, err error) string {
	taken := (*takenError)(nil)
	if !s.cluster.Status.Formed || !refusal(err) && !errors.As(err, &taken) {
		return ""
	}
	for _, l := range s.spec.Listeners {
		if l.Type == v1alpha1.ListenerNodePort && listenerBootstrapName(s.cluster.Name, l.Name) == obj.GetName() {
			return fmt.Sprintf("listener %s has no address that leads to any broker: %v", l.Name, err)
		}
	}
	return ""
}

// hurryPods annotates pods whose kubelet may not have looked at the live settings since they changed: half a second
// instead of a minute.
func (r *Reconciler) hurryPods(ctx context.Context, s *scope, hash string) error {
	if !s.cluster.Status.Formed {
		return nil // the first settings: pods start with them
	}
	for _, n := range s.nodes {
		p := s.pods[podName(n.name)]
		if p == nil || p.DeletionTimestamp != nil || p.Annotations[annotationLiveHash] == hash {
			continue
		}
		if err := r.patchPod(ctx, p, "annotations", annotationLiveHash, strconv.Quote(hash)); err != nil {
			return fmt.Errorf("hurrying pod %s: %w", p.Name, err)
		}
	}
	return nil
}

// patchPod sets one label or annotation (field says which map) of this very pod; value is JSON, null takes it off. A pod that is gone, or
// another one by now, is no error: the next pass looks again.
func (r *Reconciler) patchPod(ctx context.Context, pod *corev1.Pod, field, key, value string) error {
	patch := fmt.Appendf(nil, `{"metadata":{"uid":%q,%q:{%q:%s}}}`, pod.UID, field, key, value)
	err := r.Patch(ctx, pod.DeepCopy(), client.RawPatch(types.MergePatchType, patch), client.FieldOwner(fieldManager))
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return nil
	}
	return err
}

// A kubelet that is refused something at a pod's first try (its rights follow the binding by a moment) tries again
// after 10 s or more, or when the pod changes. A pod that doesn't start is changed after 1.5 s, 3 s, 6 s and so on.
const (
	hurryAfter = 1500 * time.Millisecond
	hurryTimes = 5
)

// hurryStarts touches pods that have a place and don't start, see hurryAfter, and lets those be made anew that looked for a place before
// their claim was made.
func (r *Reconciler) hurryStarts(ctx context.Context, s *scope) (ctrl.Result, error) {
	for _, n := range s.nodes {
		p := s.pods[podName(n.name)]
		if p != nil && waitedForClaim(p, s.claims[claimName(n.name)]) {
			uid, version := p.UID, p.ResourceVersion
			err := r.Delete(ctx, p.DeepCopy(), client.Preconditions{UID: &uid, ResourceVersion: &version})
			if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) { // or it has a place by now
				return ctrl.Result{}, fmt.Errorf("deleting pod %s, which has no place: %w", p.Name, err)
			}
			continue
		}
		if p == nil || p.DeletionTimestamp != nil || p.Spec.NodeName == "" || p.Status.Phase != corev1.PodPending {
			continue
		}
		times, err := strconv.Atoi(p.Annotations[annotationHurried])
		if err != nil {
			times = 0 // not yet
		}
		if times >= hurryTimes || s.now.Sub(p.CreationTimestamp.Time) < hurryAfter<<times {
			continue
		}
		if err := r.patchPod(ctx, p, "annotations", annotationHurried, fmt.Sprintf(`"%d"`, times+1)); err != nil {
			return ctrl.Result{}, fmt.Errorf("hurrying pod %s: %w", p.Name, err)
		}
	}
	return ctrl.Result{}, nil
}

// waitedForClaim: the scheduler found no place for a pod whose claim was gone, and tries again after 1 s, 2 s, 4 s and so on. The
// claim is here by now; a new pod is tried at once.
func waitedForClaim(p *corev1.Pod, claim *corev1.PersistentVolumeClaim) bool {
	return p.Spec.NodeName == "" && p.DeletionTimestamp == nil && unschedulable(p) &&
		claim != nil && claim.DeletionTimestamp == nil && claim.CreationTimestamp.After(p.CreationTimestamp.Time)
}

// ensureNodes makes each node's addresses, settings, claim and StatefulSet, in that order. A StatefulSet of another
// template than the spec asks for keeps it until its turn in a roll.
func (r *Reconciler) ensureNodes(ctx context.Context, s *scope) (ctrl.Result, error) {
	refused := map[string]*refusals{poolControllers: {}, poolBrokers: {}}
	asItWas := map[string]*refusals{poolControllers: {}, poolBrokers: {}}
	for _, n := range s.nodes {
		in := refused[n.pool]
		if in.tried == refusalsAPass && s.unmade(n) {
			n.refused = true
			in.add(n, nil)
			continue
		}
		switch err := r.ensureNode(ctx, s, n); {
		case err == nil:
		case s.unmade(n) && refusal(err):
			n.refused = true
			in.add(n, err)
		case s.goesOn(n) && (refusal(err) || errors.As(err, new(*takenError))):
			n.want = s.sets[n.name].DeepCopy() // what its next template would need may not be there
			n.want.ManagedFields = nil
			asItWas[n.pool].add(n, err)
		default:
			return ctrl.Result{}, fmt.Errorf("node %d: %w", n.id, err)
		}
	}
	for _, pool := range []string{poolControllers, poolBrokers} {
		r.holdWhere(s, "spec."+pool+".replicas", reasonNodeRefused, refused[pool].words("can't be made"))
		r.holdWhere(s, "spec."+pool, reasonChangeRefused, asItWas[pool].words("can't be made what the spec asks, and stays as it is"))
	}
	return ctrl.Result{}, nil
}

// holdWhere holds a field back where there is a reason, and no more where there is none.
func (r *Reconciler) holdWhere(s *scope, field, reason, why string) {
	if why == "" {
		s.releaseFor(field, reason)
		return
	}
	r.holdOn(s, field, reason, why)
}

// goesOn tells whether a node of a formed cluster runs, and can without what the spec asks for now.
func (s *scope) goesOn(n *node) bool {
	set := s.sets[n.name]
	return s.cluster.Status.Formed && set != nil && set.DeletionTimestamp == nil && s.claims[claimName(n.name)] != nil
}

const (
	reasonNodeRefused   = "NodeRefused"
	reasonChangeRefused = "ChangeRefused"
	// refusalsAPass bounds the new nodes of a pool that a pass tries in vain: what refuses so many refuses the others too, and every
	// try is a write.
	refusalsAPass = 3
)

// refusals are the nodes of a pool that the API refuses to make, or to change. The others don't wait for them.
type refusals struct {
	tried int
	nodes []string
	why   error // the first
}

// add notes a node; without an error it wasn't tried.
func (f *refusals) add(n *node, err error) {
	if err != nil {
		f.tried++
	}
	if n.leaving {
		return // it goes, and nobody misses it
	}
	f.nodes = append(f.nodes, fmt.Sprint(n.id))
	if f.why == nil {
		f.why = err
	}
}

// words are "node 1003 can't be made: " and the API's; "" for none.
func (f *refusals) words(what string) string {
	switch more := len(f.nodes) - 1; {
	case more < 0 || f.why == nil:
		return ""
	case more == 0:
		return fmt.Sprintf("node %s %s: %v", f.nodes[0], what, f.why)
	default:
		return fmt.Sprintf("node %s and %d more %s: %v", f.nodes[0], more, what, f.why)
	}
}

// unmade tells whether a node of a formed cluster is yet to be made: those that have a StatefulSet don't need it.
func (s *scope) unmade(n *node) bool { return s.cluster.Status.Formed && s.sets[n.name] == nil }

// refusal tells whether an error is the API's no to what it was asked (a quota, an admission, a field), which the next try will meet
// again. A namespace that goes is no such thing: nothing can be made there any more.
func refusal(err error) bool {
	return (apierrors.IsForbidden(err) || apierrors.IsInvalid(err)) && !apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause)
}

func (r *Reconciler) ensureNode(ctx context.Context, s *scope, n *node) error {
	before, err := r.oneAddress(ctx, s, n)
	if err != nil {
		return err
	}
	for _, svc := range s.nodeServices(n, before) {
		if err := r.ensure(ctx, svc); err != nil {
			return err
		}
		if svc.Spec.Type == corev1.ServiceTypeNodePort {
			n.nodePorts = nodePorts(svc)
		}
	}
	settings, err := r.settingsFor(ctx, s, n)
	if err != nil {
		return err
	}
	n.want = s.statefulSet(n, settings.Name) // also of a node that can't be made: tidy would remove its settings
	live := s.sets[n.name]
	if s.hibernates() && asleep(live) && (live != nil || s.pods[podName(n.name)] == nil) {
		n.want.Spec.Replicas = ptr.To(int32(0))
	}
	if err := r.createIfMissing(ctx, settings); err != nil {
		return err
	}
	if err := r.ensureClaim(ctx, s, n); err != nil {
		return err
	}
	switch {
	case live != nil && live.DeletionTimestamp != nil:
		return nil // made again when it is gone
	case live != nil && asleep(live) && s.cluster.Status.Hibernation != nil:
		return r.ensureAsleep(ctx, s, n, live)
	case live == nil:
		return r.makeStatefulSet(ctx, s, n)
	case live.Spec.Template.Annotations[annotationTemplateHash] == n.want.Spec.Template.Annotations[annotationTemplateHash] || planted.Bug == planted.TemplateBeforeItsTurn:
		return r.ensure(ctx, n.want.DeepCopy())
	default:
		return r.keepRunning(ctx, live, *n.want.Spec.Replicas)
	}
}

// nodePorts are the node ports that a Service got, by listener.
func nodePorts(svc *corev1.Service) map[string]int32 {
	ports := map[string]int32{}
	for _, p := range svc.Spec.Ports {
		ports[p.Name] = p.NodePort
	}
	return ports
}

// makeStatefulSet applies a StatefulSet that the API itself doesn't have: one that the cache hasn't seen may be of
// another template, which changes only in its turn.
func (r *Reconciler) makeStatefulSet(ctx context.Context, s *scope, n *node) error {
	var there appsv1.StatefulSet
	err := r.Live.Get(ctx, types.NamespacedName{Namespace: s.cluster.Namespace, Name: n.name}, &there)
	if err == nil {
		if err := takeable("StatefulSet", n.want, &there); err != nil {
			return err
		}
		return r.relabel(ctx, s, n, &there)
	} else if !apierrors.IsNotFound(err) {
		return err
	}
	if err := r.stillCurrent(ctx, s); err != nil { // a node that has left since isn't made again
		return err
	}
	if err := r.applyNew(ctx, marked(n.want)); err != nil {
		return err
	}
	r.event(s, nil, corev1.EventTypeNormal, "NodeCreated", "Create", "node %d (%s)", n.id, n.name)
	return nil
}

// keepRunning puts right what a hand may have changed on a StatefulSet whose template waits for its turn.
func (r *Reconciler) keepRunning(ctx context.Context, live *appsv1.StatefulSet, replicas int32) error {
	if ptr.Deref(live.Spec.Replicas, 1) == replicas && live.Spec.UpdateStrategy.Type == appsv1.OnDeleteStatefulSetStrategyType {
		return nil
	}
	mended := live.DeepCopy()
	mended.Spec.Replicas = ptr.To(replicas)
	mended.Spec.UpdateStrategy = appsv1.StatefulSetUpdateStrategy{Type: appsv1.OnDeleteStatefulSetStrategyType}
	return r.Patch(ctx, mended, seen(live), client.FieldOwner(fieldManager))
}

func (r *Reconciler) createIfMissing(ctx context.Context, cm *corev1.ConfigMap) error {
	err := r.Get(ctx, client.ObjectKeyFromObject(cm), &corev1.ConfigMap{})
	if apierrors.IsNotFound(err) {
		_, err = r.create(ctx, cm)
	}
	return err
}

// ensureClaim makes a node's claim, before its StatefulSet. One of the same name that doesn't say it is this node's is
// refused: nothing of it is touched.
func (r *Reconciler) ensureClaim(ctx context.Context, s *scope, n *node) error {
	if s.claims[claimName(n.name)] != nil {
		return nil
	}
	claim := s.claim(n)
	made, err := r.create(ctx, claim)
	if made || err != nil {
		return err
	}
	var other corev1.PersistentVolumeClaim
	if err := r.Live.Get(ctx, client.ObjectKeyFromObject(claim), &other); err != nil {
		return fmt.Errorf("claim %s: %w", claim.Name, err)
	}
	if other.Annotations[annotationClusterID] == s.cluster.Status.ClusterID && other.Annotations[annotationNodeID] == fmt.Sprint(n.id) {
		return r.relabel(ctx, s, n, &other) // or the cache hasn't seen it yet
	}
	s.refused = fmt.Sprintf("claim %s stands here and doesn't say that it is node %d of cluster %s: move it away, delete it, or annotate it (%s, %s)",
		claim.Name, n.id, s.cluster.Status.ClusterID, annotationClusterID, annotationNodeID)
	return errors.New(s.refused)
}

// ensureBudgets keeps the disruption budgets at what the data can bear now.
func (r *Reconciler) ensureBudgets(ctx context.Context, s *scope) (ctrl.Result, error) {
	snap := s.snapshot()
	if err := r.backIntoBudget(ctx, s, snap); err != nil {
		return ctrl.Result{}, err
	}
	for _, pool := range []string{poolControllers, poolBrokers} {
		ids := s.pool(pool).NodeIDs
		if len(ids) == 0 {
			continue
		}
		allowed := plan.Budget(snap, func(n plan.Node) bool { return slices.Contains(ids, n.ID) })
		if err := r.ensure(ctx, s.budget(pool, allowed)); err != nil {
			return ctrl.Result{}, err
		}
	}
	return ctrl.Result{}, nil
}

// tidy removes what is left over: settings that no node and no pod uses, Services of listeners that are gone.
func (r *Reconciler) tidy(ctx context.Context, s *scope) (ctrl.Result, error) {
	if s.wasReady() != s.isReady() || s.statusChanged() { // only when nothing else is going on
		return ctrl.Result{}, nil
	}
	used := map[string]bool{liveConfigName(s.cluster.Name): true}
	services := map[string]bool{}
	note := func(vols []corev1.Volume) {
		for _, v := range vols {
			if v.ConfigMap != nil {
				used[v.ConfigMap.Name] = true
			}
		}
	}
	for _, n := range s.nodes {
		if n.want != nil { // one that is refused may have come to none
			note(n.want.Spec.Template.Spec.Volumes)
		}
		for _, svc := range s.nodeServices(n, false) {
			services[svc.Name] = true
		}
	}
	for _, set := range s.sets {
		note(set.Spec.Template.Spec.Volumes)
	}
	for _, p := range s.pods {
		note(p.Spec.Volumes)
	}
	for _, o := range s.shared() {
		services[o.GetName()] = true
	}
	if err := r.removeUnused(ctx, s, &corev1.ConfigMapList{}, used); err != nil {
		return ctrl.Result{}, err
	}
	return ctrl.Result{}, r.removeUnused(ctx, s, &corev1.ServiceList{}, services)
}

// removeUnused deletes objects that this cluster owns and that aren't in use.
func (r *Reconciler) removeUnused(ctx context.Context, s *scope, list client.ObjectList, used map[string]bool) error {
	if err := r.List(ctx, list, client.InNamespace(s.cluster.Namespace), client.MatchingLabels{labelCluster: s.cluster.Name}); err != nil {
		return fmt.Errorf("listing %T: %w", list, err)
	}
	var objs []client.Object
	switch l := list.(type) {
	case *corev1.ConfigMapList:
		for i := range l.Items {
			objs = append(objs, &l.Items[i])
		}
	case *corev1.ServiceList:
		for i := range l.Items {
			objs = append(objs, &l.Items[i])
		}
	}
	for _, o := range objs {
		owned := slices.ContainsFunc(o.GetOwnerReferences(), func(ref metav1.OwnerReference) bool { return ref.UID == s.cluster.UID })
		if used[o.GetName()] || !owned {
			continue
		}
		uid := o.GetUID()
		if err := r.Delete(ctx, o, client.Preconditions{UID: &uid}); client.IgnoreNotFound(err) != nil {
			return fmt.Errorf("deleting %s: %w", o.GetName(), err)
		}
	}
	return nil
}

func insert(ids []int32, id int32) []int32 {
	i, found := slices.BinarySearch(ids, id)
	if found {
		return ids
	}
	return slices.Insert(ids, i, id)
}
