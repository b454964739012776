package crashpoints

import (
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/kraft-dev/kraft-operator/api/v1alpha1"
)

type appsSet = appsv1.StatefulSet

const templateHash = "kraft.dev/template-hash"

// rules are what no act of the operator may break, whenever it dies. They are written without its planners.
type rules struct {
	w       *world
	said    []string       // every status that was written, as JSON
	taken   map[int32]bool // nodes the operator took down that aren't back
	retains bool           // claims outlive the cluster
	ids     map[string]string
	formed  map[string]bool // by UID of the KRaftCluster
}

func newRules(w *world) *rules {
	return &rules{w: w, taken: map[int32]bool{}, ids: map[string]string{}, formed: map[string]bool{}, retains: true}
}

func (r *rules) clone() *rules {
	c := *r
	c.said, c.taken, c.ids, c.formed = slices.Clone(r.said), maps.Clone(r.taken), maps.Clone(r.ids), maps.Clone(r.formed)
	return &c
}

// recorded is called with each status that is written.
func (r *rules) recorded(obj client.Object) {
	c, ok := obj.(*v1alpha1.KRaftCluster)
	if !ok {
		return
	}
	text, err := json.Marshal(c.Status)
	must(err)
	r.said = append(r.said, string(text))
	uid := string(c.UID)
	if was := r.ids[uid]; was != "" && was != c.Status.ClusterID {
		r.w.violate("the cluster id changes from %s to %q", was, c.Status.ClusterID)
	}
	r.ids[uid] = c.Status.ClusterID
	if r.formed[uid] && !c.Status.Formed {
		r.w.violate("formed is unset")
	}
	r.formed[uid] = c.Status.Formed
	if meta.IsStatusConditionTrue(c.Status.Conditions, v1alpha1.ConditionReady) && r.w.livePermit() {
		r.w.violate("Ready, and an empty disk may still form a quorum")
	}
	if h := c.Status.Hibernation; h != nil && h.Phase == v1alpha1.Hibernated && len(all[*corev1.Pod](r.w.store)) > 0 {
		r.w.violate("Hibernated, and pods run")
	}
}

// intended tells whether a status ever spoke of something before it was done.
func (r *rules) intended(what string) bool {
	for _, text := range slices.Backward(r.said) {
		if strings.Contains(text, what) {
			return true
		}
	}
	return false
}

// deletes is called before the operator deletes or evicts.
func (r *rules) deletes(m *manager, k key, was client.Object, o *client.DeleteOptions) {
	named := o.Preconditions != nil && o.Preconditions.UID != nil
	switch k.kind {
	case "PersistentVolumeClaim":
		r.w.violate("%s deletes %s", m.name, k)
		return
	case "Pod", "StatefulSet":
		if !named {
			r.w.violate("%s deletes %s without saying which UID", m.name, k)
		}
	}
	if was == nil || named && *o.Preconditions.UID != was.GetUID() {
		return
	}
	switch obj := was.(type) {
	case *corev1.Pod:
		if !r.intended(string(obj.UID)) {
			r.w.violate("%s takes down %s (%s) and has not recorded it", m.name, k, obj.UID)
		}
		r.takeDown(m, obj)
	case *appsv1.StatefulSet:
		if pod := get[*corev1.Pod](r.w.store, k.name+"-0"); pod != nil {
			r.takeDown(m, pod)
			delete(r.taken, nodeID(pod)) // for good
		}
	}
}

// patched is called after the operator changed an object.
func (r *rules) patched(m *manager, was, now client.Object) {
	set, ok := now.(*appsv1.StatefulSet)
	before, existed := was.(*appsv1.StatefulSet)
	if !ok || !existed || before == nil {
		return
	}
	hash := set.Spec.Template.Annotations[templateHash]
	runs := ptr.Deref(before.Spec.Replicas, 1) == 1
	if hash != before.Spec.Template.Annotations[templateHash] && runs && !r.intended(hash) {
		r.w.violate("%s gives %s a new template and has not recorded it", m.name, set.Name)
	}
	if runs && ptr.Deref(set.Spec.Replicas, 1) == 0 {
		if pod := get[*corev1.Pod](r.w.store, set.Name+"-0"); pod != nil {
			r.takeDown(m, pod)
			delete(r.taken, nodeID(pod)) // until it is wanted again
		}
	}
}

// takeDown is called before a pod goes by the operator's act: neither a majority nor min.insync.replicas goes with it, and
// no more nodes than may be are down by such acts.
func (r *rules) takeDown(m *manager, pod *corev1.Pod) {
	w := r.w
	id := nodeID(pod)
	c := w.cluster()
	if c == nil || c.Spec.Hibernated || pod.DeletionTimestamp != nil {
		return
	}
	if m.mayRest && m == w.active { // it was told to, and will see in its next pass that it isn't any more; one that slept may not
		return
	}
	if q := w.fleet.q; q != nil && len(q.voters) > 1 {
		live, majority := w.fleet.liveOf(q.voters), len(q.voters)/2+1
		i := slices.IndexFunc(q.voters, func(v voter) bool { return v.id == id })
		if i >= 0 && w.fleet.live(q.voters[i]) && live >= majority && live-1 < majority {
			w.violate("%s takes down %s: %d of %d voters are left", m.name, pod.Name, live-1, len(q.voters))
		}
	}
	for _, p := range w.fleet.partitions {
		if slices.Contains(p.isr, id) && len(p.isr) == p.minISR && len(p.replicas) > p.minISR {
			w.violate("%s takes down %s: %s has %d in-sync replicas left of %d", m.name, pod.Name, p.topic, len(p.isr)-1, p.minISR)
		}
	}
	if isReady(&pod.Status) {
		limit := r.most(c)
		if strings.HasPrefix(pod.Name, clusterName+"-controller-") {
			limit = 1
		}
		if n := len(r.taken); n >= limit && !r.taken[id] {
			w.violate("%s takes down %s while %d others are down by its acts", m.name, pod.Name, n)
		}
		r.taken[id] = true
	}
}

// most is how many nodes may be down at once by the operator's acts.
func (r *rules) most(c *v1alpha1.KRaftCluster) int {
	if c.Spec.Brokers == nil {
		return 1
	}
	n, err := intstr.GetScaledValueFromIntOrPercent(&c.Spec.Rolling.MaxUnavailable, int(c.Spec.Brokers.Replicas), false)
	must(err)
	return max(1, n)
}

// starts is called when a node has started: whose cluster it is was recorded before.
func (r *rules) starts(pod *corev1.Pod, k *kraftd) {
	c, set := r.w.cluster(), get[*appsv1.StatefulSet](r.w.store, strings.TrimSuffix(pod.Name, "-0"))
	if c == nil || set == nil || !metav1.IsControlledBy(set, c) || !metav1.IsControlledBy(pod, set) {
		return
	}
	if c.Status.ClusterID != k.disk.cluster {
		r.w.violate("%s starts as one of cluster %s, and the cluster recorded is %q", pod.Name, k.disk.cluster, c.Status.ClusterID)
	}
}

// readiness is called when a pod becomes Ready, or no longer is.
func (r *rules) readiness(pod *corev1.Pod, ready bool) {
	if ready {
		delete(r.taken, nodeID(pod))
	}
}

// changes is called before the operator asks for a change of the voters.
func (r *rules) changes(m *manager, remove bool, v voter) {
	f := r.w.fleet
	what := "add"
	if remove {
		what = "remove"
	}
	if len(f.pending) > 0 {
		r.w.violate("%s asks to %s voter %d while another change is in flight", m.name, what, v.id)
	}
	if f.q == nil {
		return
	}
	awake := m == r.w.active // what a process asks for that slept through another's work, the quorum itself refuses
	if !f.q.committed && awake {
		r.w.violate("%s asks to %s voter %d before the last change is committed", m.name, what, v.id)
	}
	if !r.intended(`"id":` + strconv.Itoa(int(v.id)) + `,"directoryID":"` + v.dir + `","reason"`) {
		r.w.violate("%s asks to %s voter %d and has not recorded it", m.name, what, v.id)
	}
	if c := r.w.cluster(); remove && awake && c != nil && c.Spec.Quorum.Voters != nil && len(f.q.voters) <= int(*c.Spec.Quorum.Voters) {
		k := f.up(v.id) // the same id on a new disk can't be added first
		if k == nil || k.disk.dir == v.dir {
			r.w.violate("%s asks to remove voter %d before another takes its place", m.name, v.id)
		}
	}
	after := slices.DeleteFunc(slices.Clone(f.q.voters), func(o voter) bool { return o == v })
	if !remove {
		after = append(after, v)
	}
	if n := f.liveOf(after); n <= len(after)/2 && f.liveOf(f.q.voters) > len(f.q.voters)/2 {
		r.w.violate("%s asks to %s voter %d: %d of %d voters would live", m.name, what, v.id, n, len(after))
	}
}

// unregisters is called before the operator has a broker forgotten.
func (r *rules) unregisters(m *manager, id int32) {
	for _, p := range r.w.fleet.partitions {
		if slices.Contains(p.replicas, id) {
			r.w.violate("%s unregisters broker %d, which holds replicas of %s", m.name, id, p.topic)
		}
	}
	if r.w.fleet.up(id) != nil {
		r.w.violate("%s unregisters broker %d, which runs", m.name, id)
	}
}

// tick holds at every moment.
func (r *rules) tick() {
	w := r.w
	seen := map[int32]string{}
	for _, k := range w.fleet.sorted() {
		if other, twice := seen[k.id]; twice {
			w.violate("node %d runs twice: %s and %s", k.id, other, k.pod)
		}
		seen[k.id] = k.pod
	}
	dirs := map[string]int32{}
	clusters := map[string]bool{}
	for _, claim := range all[*corev1.PersistentVolumeClaim](w.store) {
		d := w.fleet.disks[claim.UID]
		if d == nil || !d.formatted {
			continue
		}
		if _, twice := dirs[d.dir]; twice {
			w.violate("two disks have directory id %s", d.dir)
		}
		dirs[d.dir] = d.id
		clusters[d.cluster] = true
	}
	if len(clusters) > 1 {
		w.violate("disks of %d clusters", len(clusters))
	}
	if q := w.fleet.q; q != nil {
		for i := 1; i < len(q.voters); i++ {
			if q.voters[i].id == q.voters[i-1].id {
				w.violate("node %d votes twice", q.voters[i].id)
			}
		}
	}
}

// nodeID is of the pod's name: a hand may have taken its labels off.
func nodeID(pod *corev1.Pod) int32 {
	node := strings.TrimSuffix(pod.Name, "-0")
	id, err := strconv.ParseInt(node[strings.LastIndex(node, "-")+1:], 10, 32)
	must(err)
	return int32(id)
}
