package crashpoints

import (
	"fmt"
	"slices"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/kraft-dev/kraft-operator/api/v1alpha1"
	"github.com/kraft-dev/kraft-operator/internal/config"
)

// How long things take in Kubernetes.
const (
	setsLag   = 100 * time.Millisecond // of the StatefulSet controller's cache
	starts    = 150 * time.Millisecond // a container
	stops     = 200 * time.Millisecond // a container, from SIGTERM
	badImage  = "no/such:image"
	pullFails = 200 * time.Millisecond
)

// sets is the StatefulSet controller: it acts on what its cache has.
type sets struct {
	cache map[string]*appsv1.StatefulSet
	seen  int
}

func (w *world) kubernetesTick() {
	w.collectGarbage()
	w.statefulSets()
	for _, pod := range all[*corev1.Pod](w.store) {
		w.kubelet(pod)
	}
	for _, claim := range all[*corev1.PersistentVolumeClaim](w.store) {
		if claim.DeletionTimestamp != nil && !w.inUse(claim.Name) {
			w.drop(keyOf(claim))
		}
	}
	claims := map[types.UID]bool{}
	for _, claim := range all[*corev1.PersistentVolumeClaim](w.store) {
		claims[claim.UID] = true
	}
	w.fleet.keep(claims)
	w.budgets()
}

// collectGarbage deletes what no owner is left of.
func (w *world) collectGarbage() {
	uids := map[types.UID]bool{}
	for _, obj := range w.objs {
		uids[obj.GetUID()] = true
	}
	var orphans []key
	for k, obj := range w.objs {
		refs := obj.GetOwnerReferences()
		owned := slices.ContainsFunc(refs, func(ref metav1.OwnerReference) bool { return uids[ref.UID] })
		if len(refs) > 0 && !owned && obj.GetDeletionTimestamp() == nil {
			orphans = append(orphans, k)
		}
	}
	slices.SortFunc(orphans, func(a, b key) int {
		if a.String() < b.String() {
			return -1
		}
		return 1
	})
	for _, k := range orphans {
		if k.kind == "PersistentVolumeClaim" && w.rules.retains {
			w.violate("%s goes with its owner, and shall be retained", k)
		}
		must(w.remove(k, nil))
	}
}

func (w *world) statefulSets() {
	for ; w.sets.seen < len(w.log) && w.now.Sub(w.log[w.sets.seen].at) >= setsLag; w.sets.seen++ {
		c := w.log[w.sets.seen]
		if c.key.kind != "StatefulSet" {
			continue
		}
		delete(w.sets.cache, c.key.name)
		if c.obj != nil {
			w.sets.cache[c.key.name] = c.obj.(*appsv1.StatefulSet)
		}
	}
	for _, live := range all[*appsv1.StatefulSet](w.store) {
		set := w.sets.cache[live.Name]
		if set == nil {
			continue
		}
		if live.UID == set.UID && live.Status.ObservedGeneration < set.Generation {
			next := live.DeepCopy()
			next.Status.ObservedGeneration = set.Generation
			w.put(keyOf(next), next)
		}
		w.onePod(set)
	}
}

func owners(set *appsv1.StatefulSet) []metav1.OwnerReference {
	return []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "StatefulSet", Name: set.Name, UID: set.UID, Controller: ptr.To(true)}}
}

// onePod makes a StatefulSet's pod, or takes it away. One without its labels it lets go of, and takes it again with them.
func (w *world) onePod(set *appsv1.StatefulSet) {
	name := set.Name + "-0"
	pod := get[*corev1.Pod](w.store, name)
	if pod != nil {
		in, err := metav1.LabelSelectorAsSelector(set.Spec.Selector)
		must(err)
		fits := in.Matches(labels.Set(pod.Labels))
		if next := pod.DeepCopy(); !fits && metav1.IsControlledBy(pod, set) {
			next.OwnerReferences = nil
			w.put(keyOf(next), next)
		} else if fits && metav1.GetControllerOf(pod) == nil && pod.DeletionTimestamp == nil {
			next.OwnerReferences = owners(set)
			w.put(keyOf(next), next)
		}
		pod = get[*corev1.Pod](w.store, name)
	}
	switch {
	case ptr.Deref(set.Spec.Replicas, 1) == 0:
		if pod != nil && metav1.IsControlledBy(pod, set) && pod.DeletionTimestamp == nil {
			must(w.remove(keyOf(pod), nil))
		}
	case pod == nil:
		t := set.Spec.Template.DeepCopy()
		t.Labels[corev1.LabelTopologyZone] = zoneOf(t.Labels["kraft.dev/node-id"])
		_, err := w.create(&corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{
				Name: name, Labels: t.Labels, Annotations: t.Annotations,
				OwnerReferences: owners(set),
			},
			Spec: t.Spec, Status: corev1.PodStatus{Phase: corev1.PodPending},
		})
		must(err)
	}
}

// zoneOf spreads nodes over three zones; Kubernetes copies the label at binding.
func zoneOf(id string) string { return fmt.Sprintf("zone-%d", (id[len(id)-1]-'0')%3) }

// kubelet brings one pod a step further.
func (w *world) kubelet(pod *corev1.Pod) {
	born, known := w.born[pod.UID]
	if !known {
		w.born[pod.UID], born = w.now, w.now
	}
	w.fleet.cut(pod.UID, w.cut[pod.Name])
	runs := w.fleet.run[pod.UID]
	switch {
	case w.cut[pod.Name]:
	case pod.DeletionTimestamp != nil:
		w.fleet.stop(pod.UID)
		ends, ending := w.ends[pod.UID]
		if !ending {
			ends = w.now.Add(stops)
			w.ends[pod.UID] = ends
		}
		if runs == nil || !w.now.Before(ends) {
			w.fleet.end(pod.UID)
			w.drop(keyOf(pod))
			w.note("%s is gone", pod.Name)
			return
		}
	case runs == nil && w.now.Sub(born) >= starts && pod.Spec.Containers[0].Image != badImage:
		if err := w.startPod(pod); err != nil {
			w.setPod(pod, corev1.PodStatus{Phase: corev1.PodPending}, err.Error())
			return
		}
	}
	w.podStatus(pod, w.now.Sub(born))
}

func (w *world) podStatus(pod *corev1.Pod, age time.Duration) {
	runs := w.fleet.run[pod.UID]
	switch {
	case runs != nil:
		st := corev1.PodStatus{
			Phase: corev1.PodRunning, PodIP: runs.ip, HostIP: "192.0.2.10",
			Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionFalse, LastTransitionTime: metav1.NewTime(w.now)}},
		}
		if runs.ready {
			st.Conditions[0].Status = corev1.ConditionTrue
		}
		w.setPod(pod, st, "")
	case pod.Spec.Containers[0].Image == badImage && age >= pullFails:
		w.setPod(pod, corev1.PodStatus{Phase: corev1.PodPending}, "ImagePullBackOff")
	}
}

// setPod writes a pod's status if it is news; waiting is why its container doesn't run.
func (w *world) setPod(pod *corev1.Pod, st corev1.PodStatus, waiting string) {
	if waiting != "" {
		st.ContainerStatuses = []corev1.ContainerStatus{{Name: "kraftd", State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: waiting}}}}
	}
	was := pod.Status
	if was.Phase == st.Phase && was.PodIP == st.PodIP && isReady(&was) == isReady(&st) && len(was.ContainerStatuses) == len(st.ContainerStatuses) {
		return
	}
	next := pod.DeepCopy()
	next.Status = st
	w.put(keyOf(next), next)
	if isReady(&was) != isReady(&st) {
		w.note("%s is Ready: %t", pod.Name, isReady(&st))
		w.rules.readiness(pod, isReady(&st))
	}
}

func isReady(st *corev1.PodStatus) bool {
	return slices.ContainsFunc(st.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
	})
}

// startPod starts the kraftd of a pod whose volumes are there; without them it waits.
func (w *world) startPod(pod *corev1.Pod) error {
	claim := get[*corev1.PersistentVolumeClaim](w.store, claimOf(pod))
	var texts []string
	for _, v := range pod.Spec.Volumes {
		if v.ConfigMap == nil {
			continue
		}
		cm := get[*corev1.ConfigMap](w.store, v.ConfigMap.Name)
		if cm == nil {
			return nil
		}
		for _, text := range cm.Data {
			texts = append(texts, text)
		}
	}
	if claim == nil || claim.DeletionTimestamp != nil {
		return nil
	}
	if len(texts) != 2 {
		return fmt.Errorf("%d settings", len(texts))
	}
	if err := w.fleet.start(pod.UID, pod.Name, claim.UID, texts[0], texts[1]); err != nil {
		return err
	}
	w.rules.starts(pod, w.fleet.run[pod.UID])
	return nil
}

// livePermit tells whether the live settings let an empty disk form the quorum.
func (w *world) livePermit() bool {
	cm := get[*corev1.ConfigMap](w.store, clusterName+"-live")
	if cm == nil {
		return false
	}
	for _, text := range cm.Data {
		p, err := config.Parse([]byte(text))
		if err == nil && p[config.KraftFormationPermit] == "false" {
			return false
		}
	}
	return true
}

// budgets is the disruption controller.
func (w *world) budgets() {
	for _, b := range all[*policyv1.PodDisruptionBudget](w.store) {
		healthy, expected := w.counted(b)
		desired := max(0, expected-b.Spec.MaxUnavailable.IntVal)
		st := policyv1.PodDisruptionBudgetStatus{
			ObservedGeneration: b.Generation, CurrentHealthy: healthy, DesiredHealthy: desired, ExpectedPods: expected,
			DisruptionsAllowed: max(0, healthy-desired),
		}
		if equality.Semantic.DeepEqual(b.Status, st) {
			continue
		}
		next := b.DeepCopy()
		next.Status = st
		w.put(keyOf(next), next)
	}
}

func (w *world) counted(b *policyv1.PodDisruptionBudget) (healthy, expected int32) {
	in := selects(b)
	for _, set := range all[*appsv1.StatefulSet](w.store) {
		if in.Matches(labels.Set(set.Labels)) {
			expected += ptr.Deref(set.Spec.Replicas, 1)
		}
	}
	for _, pod := range all[*corev1.Pod](w.store) {
		if in.Matches(labels.Set(pod.Labels)) && isReady(&pod.Status) && pod.DeletionTimestamp == nil {
			healthy++
		}
	}
	return healthy, expected
}

func selects(b *policyv1.PodDisruptionBudget) labels.Selector {
	in, err := metav1.LabelSelectorAsSelector(b.Spec.Selector)
	must(err)
	return in
}

// evictable says why a pod can't be evicted now; "" when it can. The budget is charged for it.
func (w *world) evictable(k key, p *metav1.Preconditions) string {
	pod := get[*corev1.Pod](w.store, k.name)
	if pod == nil || p != nil && p.UID != nil && *p.UID != pod.UID || pod.DeletionTimestamp != nil || pod.Status.Phase == corev1.PodPending {
		return ""
	}
	for _, b := range all[*policyv1.PodDisruptionBudget](w.store) {
		if !selects(b).Matches(labels.Set(pod.Labels)) {
			continue
		}
		st := b.Status
		switch {
		case st.ObservedGeneration < b.Generation:
			return "the budget isn't observed yet"
		case !isReady(&pod.Status) && st.CurrentHealthy >= st.DesiredHealthy && st.DesiredHealthy > 0:
			return ""
		case st.DisruptionsAllowed <= 0:
			return "the budget allows no disruption"
		}
		next := b.DeepCopy()
		next.Status.DisruptionsAllowed--
		w.put(keyOf(next), next)
	}
	return ""
}

func must(err error) {
	if err != nil {
		panic(fmt.Sprintf("the model: %v", err))
	}
}

// What a person does with kubectl.

func (w *world) edit(change func(*v1alpha1.KRaftClusterSpec)) {
	next := w.cluster().DeepCopy()
	change(&next.Spec)
	w.must(w.platform.update(next))
	w.rules.retains = next.Spec.Storage.DeletionPolicy != v1alpha1.DeletionDelete
}

func (w *world) deleteObject(obj client.Object, name string) {
	obj.SetName(name)
	w.must(client.IgnoreNotFound(w.platform.remove(keyOf(obj))))
}
