package crashpoints

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/kraft-dev/kraft-operator/internal/admin"
)

// TestEachRuleCanBeBroken: an operator that does what it must not is found out, by the rule that is meant for it.
func TestEachRuleCanBeBroken(t *testing.T) {
	begin := setUp(formed(3, 3, 2))
	named := func(name string) metav1.ObjectMeta { return metav1.ObjectMeta{Namespace: "play-0", Name: name} }
	pod := func(w *world, name string) *corev1.Pod { return get[*corev1.Pod](w.store, name).DeepCopy() }
	for _, tc := range []struct {
		name, want string
		do         func(w *world, c client.Client, m *manager) error
	}{
		{"a claim is deleted", "deletes PersistentVolumeClaim", func(_ *world, c client.Client, _ *manager) error {
			return c.Delete(context.Background(), &corev1.PersistentVolumeClaim{ObjectMeta: named("data-demo-controller-0")})
		}},
		{"any pod of that name is deleted", "without saying which UID", func(w *world, c client.Client, _ *manager) error {
			return c.Delete(context.Background(), pod(w, "demo-controller-0-0"))
		}},
		{"a pod is deleted out of the blue", "has not recorded it", func(w *world, c client.Client, _ *manager) error {
			p := pod(w, "demo-controller-0-0")
			return c.Delete(context.Background(), p, client.Preconditions{UID: &p.UID})
		}},
		{"a pod is killed", "by force", func(w *world, c client.Client, _ *manager) error {
			return c.Delete(context.Background(), pod(w, "demo-controller-0-0"), client.GracePeriodSeconds(0))
		}},
		{"a voter too many is taken down", "1 of 3 voters are left", func(w *world, c client.Client, _ *manager) error {
			cutOff("controller-1", true)(w)
			w.platform.elapse(time.Second)
			p := pod(w, "demo-controller-0-0")
			w.rules.said = append(w.rules.said, string(p.UID))
			return c.Delete(context.Background(), p, client.Preconditions{UID: &p.UID})
		}},
		{"the last broker in sync is taken down", "has 0 in-sync replicas left of 1", func(w *world, c client.Client, _ *manager) error {
			cutOff("broker-1000", true)(w)
			w.platform.elapse(time.Second)
			p := pod(w, "demo-broker-1001-0")
			w.rules.said = append(w.rules.said, string(p.UID))
			return c.Delete(context.Background(), p, client.Preconditions{UID: &p.UID})
		}},
		{"two changes of the voters at once", "while another change is in flight", func(w *world, _ client.Client, m *manager) error {
			v := w.fleet.q.voters[2]
			w.fleet.pending = append(w.fleet.pending, lateChange{at: w.now.Add(time.Minute), remove: true, v: v})
			_ = m.r.Admin.RemoveVoter(context.Background(), nil, admin.ReplicaKey{ID: v.id, DirectoryID: mustParse(v.dir)})
			return nil
		}},
		{"a change of the voters that costs the majority", "1 of 2 voters would live", func(w *world, _ client.Client, m *manager) error {
			cutOff("controller-1", true)(w)
			w.platform.elapse(time.Second)
			v := w.fleet.q.voters[2]
			_ = m.r.Admin.RemoveVoter(context.Background(), nil, admin.ReplicaKey{ID: v.id, DirectoryID: mustParse(v.dir)})
			return nil
		}},
		{"a broker with replicas is forgotten", "which holds replicas", func(w *world, _ client.Client, m *manager) error {
			return m.r.Admin.UnregisterBroker(context.Background(), w.fleet.up(w.fleet.q.leader).ip+":9093", 1001)
		}},
		{"another cluster id is recorded", "the cluster id changes", func(w *world, c client.Client, _ *manager) error {
			k := w.cluster().DeepCopy()
			k.Status.ClusterID = w.fleet.newID()
			return c.Status().Update(context.Background(), k)
		}},
		{"every disk is lost and may form again", "a second quorum forms", func(w *world, _ client.Client, _ *manager) error {
			for _, k := range w.fleet.sorted() {
				k.disk.log = false
				k.disk.initial = slices.Clone(w.fleet.q.voters)
			}
			w.platform.elapse(time.Second)
			return nil
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := begin.clone()
			m := w.newManager()
			require.NoError(t, tc.do(w, m.r.Client, m))
			require.Contains(t, strings.Join(w.violations, "\n"), tc.want)
		})
	}
}

// TestWhoWasToldToRestMayStopVoters, also where a hand takes it back while the pass goes on; a manager that slept meanwhile may not.
func TestWhoWasToldToRestMayStopVoters(t *testing.T) {
	begin := setUp(formed(3, 3, 1))
	for _, active := range []bool{true, false} {
		w := begin.clone()
		old := w.newManager()
		w.active = old
		w.edit(func(s *spec) { s.Hibernated = true })
		c := w.cluster().DeepCopy()
		require.NoError(t, old.r.Live.Get(t.Context(), client.ObjectKeyFromObject(c), c))
		if !active {
			w.active = w.newManager()
		}
		w.edit(func(s *spec) { s.Hibernated = false })
		for _, name := range []string{"demo-controller-0", "demo-controller-1"} {
			set := get[*appsv1.StatefulSet](w.store, name).DeepCopy()
			before := set.DeepCopy()
			set.Spec.Replicas = ptr.To[int32](0)
			require.NoError(t, old.r.Patch(t.Context(), set, client.MergeFrom(before)))
			w.platform.elapse(5 * time.Second) // it stops
		}
		broken := strings.Join(w.violations, "\n")
		if active {
			require.Empty(t, broken)
		} else {
			require.Contains(t, broken, "1 of 3 voters are left")
		}
	}
}
