package crashpoints

import (
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"

	"github.com/kraft-dev/kraft-operator/api/v1alpha1"
)

// step is one act of a hand or of fate, as soon as a condition holds.
type step struct {
	what string
	when func(*world) bool
	do   func(*world)
}

// verb is one thing that is asked of the operator.
type verb struct {
	name string
	from func(*world) // makes what was there; nil: nothing
	play []step
	// done says what is still missing; "" when all is well.
	done func(*world) string
	// varies: how often a node starts is a matter of when the hand acts.
	varies bool
	// leads: which nodes it is about follows from who leads, which is chance on the real ones.
	leads bool
}

func now(what string, do func(*world)) step { return step{what, nil, do} }

func when(what string, cond func(*world) bool, do func(*world)) step { return step{what, cond, do} }

// cluster is a KRaftCluster written out in full, as the API's defaults make it.
func cluster(controllers, voters, brokers int32) *v1alpha1.KRaftCluster {
	c := &v1alpha1.KRaftCluster{
		ObjectMeta: metav1.ObjectMeta{Name: clusterName},
		Spec: v1alpha1.KRaftClusterSpec{
			Version: "4.3", ImagePullPolicy: "IfNotPresent",
			Quorum: v1alpha1.QuorumSpec{Voters: ptr.To(voters), ReplaceAfter: "10s"},
			Controllers: v1alpha1.ControllersSpec{
				Replicas: controllers, Roles: []v1alpha1.Role{v1alpha1.RoleController}, Storage: size("1Gi"),
			},
			Listeners: []v1alpha1.ListenerSpec{{Name: "internal", Port: 9092, Type: v1alpha1.ListenerInternal, Protocol: "PLAINTEXT"}},
			Rolling:   v1alpha1.RollingSpec{MaxUnavailable: intstr.FromInt32(1)},
			Storage:   v1alpha1.StoragePolicy{DeletionPolicy: v1alpha1.DeletionRetain},
		},
		Status: v1alpha1.KRaftClusterStatus{ObservedGeneration: -1},
	}
	if brokers > 0 {
		c.Spec.Brokers = &v1alpha1.BrokersSpec{Replicas: brokers, Storage: size("2Gi")}
	} else {
		c.Spec.Controllers.Roles = append(c.Spec.Controllers.Roles, v1alpha1.RoleBroker)
	}
	return c
}

func size(text string) v1alpha1.VolumeSpec { return v1alpha1.VolumeSpec{Size: intstr.FromString(text)} }

// formed makes such a cluster, Ready, with topics on all brokers.
func formed(controllers, voters, brokers int32, change ...func(*v1alpha1.KRaftCluster)) func(*world) {
	return func(w *world) {
		c := cluster(controllers, voters, brokers)
		for _, f := range change {
			f(c)
		}
		w.make(c)
		w.settle("forming", ready)
		ids := []int32{}
		for _, k := range w.fleet.sorted() {
			if k.broker && k.id != emptyBroker {
				ids = append(ids, k.id)
			}
		}
		w.platform.makeTopics(ids...)
		w.settle("topics", ready)
	}
}

// emptyBroker is one that gets no replicas.
const emptyBroker = 1003

// after is a world to which more has happened.
func after(from func(*world), done func(*world) string, play ...step) func(*world) {
	return func(w *world) {
		from(w)
		w.settle("what came before", done, play...)
	}
}

func (w *world) make(c *v1alpha1.KRaftCluster) {
	w.must(w.platform.create(c.DeepCopy()))
	w.rules.retains = c.Spec.Storage.DeletionPolicy != v1alpha1.DeletionDelete
}

// settle plays without a fault until all is well, for a setup.
func (w *world) settle(what string, done func(*world) string, play ...step) {
	if len(w.violations) > 0 {
		return
	}
	w.script = play
	out := w.run(done, nil, w.platform.pace().before, 10*60)
	if out.problem != "" {
		w.violate("before the verb: %s: %s", what, out.problem)
	}
	w.active, w.faulty, w.points = nil, nil, nil
	w.counts, w.last = map[string]int{}, ""
}

// ready says what is missing until the cluster is as its spec says.
func ready(w *world) string {
	c := w.cluster()
	if c == nil {
		return "no KRaftCluster"
	}
	st := c.Status
	switch k := meta.FindStatusCondition(st.Conditions, v1alpha1.ConditionReady); {
	case k == nil:
		return "no condition Ready"
	case k.Status != metav1.ConditionTrue || k.ObservedGeneration != c.Generation:
		return fmt.Sprintf("Ready is %s for generation %d of %d: %s", k.Status, k.ObservedGeneration, c.Generation, k.Message)
	case st.AcceptedGeneration != c.Generation:
		return "the spec isn't accepted"
	case st.Doing != nil:
		return fmt.Sprintf("doing %s", st.Doing.What)
	case st.VoterChange != nil:
		return "a change of the voters is open"
	}
	for _, p := range st.Pools {
		if int(p.Ready) != len(p.NodeIDs) || int(p.Updated) != len(p.NodeIDs) {
			return fmt.Sprintf("pool %s: %d ready, %d updated of %d", p.Name, p.Ready, p.Updated, len(p.NodeIDs))
		}
	}
	for _, p := range w.fleet.partitions {
		if len(p.isr) < len(p.replicas) {
			return p.topic + " isn't in sync"
		}
	}
	for _, pod := range all[*corev1.Pod](w.store) {
		if pod.DeletionTimestamp != nil {
			return pod.Name + " is still stopping"
		}
	}
	return w.rightVoters(c)
}

func (w *world) rightVoters(c *v1alpha1.KRaftCluster) string {
	q := w.fleet.q
	want := int(c.Spec.Controllers.Replicas)
	if v := c.Spec.Quorum.Voters; v != nil {
		want = int(*v)
	}
	switch {
	case q == nil || q.leader < 0:
		return "no leader"
	case len(q.voters) != want || w.fleet.liveOf(q.voters) != want:
		return fmt.Sprintf("voters %v, %d are asked for", q.voters, want)
	}
	return ""
}

// votes tells who votes.
func (w *world) votes(ids ...int32) bool {
	var have []int32
	for _, v := range w.fleet.q.voters {
		have = append(have, v.id)
	}
	return slices.Equal(have, ids)
}

func allOf(conditions ...func(*world) string) func(*world) string {
	return func(w *world) string {
		for _, cond := range conditions {
			if missing := cond(w); missing != "" {
				return missing
			}
		}
		return ""
	}
}

// gone says what is left of a cluster that was deleted; its claims are counted.
func gone(claims int) func(*world) string {
	return func(w *world) string {
		left := 0
		for k := range w.objs {
			if k.kind != "PersistentVolumeClaim" {
				return k.String() + " is left"
			}
			left++
		}
		if left != claims {
			return fmt.Sprintf("%d claims are left of %d", left, claims)
		}
		return ""
	}
}
