package sim

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kraft-dev/kraft-operator/controllers/plan"
)

func TestNodesStopInOrder(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	gone := func(ids ...int32) func(*plan.Snapshot) {
		return func(s *plan.Snapshot) {
			for i := range s.Nodes {
				if slices.Contains(ids, s.Nodes[i].ID) {
					s.Nodes[i].Stopped, s.Nodes[i].Pod = true, nil
				}
			}
		}
	}
	terminating := func(id int32, by time.Time) func(*plan.Snapshot) {
		return func(s *plan.Snapshot) {
			for i := range s.Nodes {
				if s.Nodes[i].ID == id {
					pod := *s.Nodes[i].Pod
					pod.Terminating, pod.Ready, pod.StopBy = true, false, by
					s.Nodes[i].Stopped, s.Nodes[i].Pod = true, &pod
				}
			}
		}
	}
	leaderless := func(s *plan.Snapshot) { s.Quorum.Leader = -1 }
	unanswered := func(s *plan.Snapshot) { s.Quorum = nil }
	combined := func(s *plan.Snapshot) {
		s.Nodes = slices.DeleteFunc(s.Nodes, func(n plan.Node) bool { return !n.Controller })
		for i := range s.Nodes {
			s.Nodes[i].Broker = true
		}
	}
	for _, tc := range []struct {
		name  string
		edits []func(*plan.Snapshot)
		do    plan.HibernateAction
		what  string
		why   string
	}{
		{name: "brokers first, all at once", do: plan.HibernateStop, what: "brokers 1000, 1001, 1002"},
		{name: "the rest of a batch", edits: []func(*plan.Snapshot){gone(1000), terminating(1001, now.Add(time.Minute))}, do: plan.HibernateStop, what: "broker 1002"},
		{name: "a broker that stops is waited for", edits: []func(*plan.Snapshot){gone(1000, 1001), terminating(1002, now.Add(time.Minute))}, do: plan.HibernateWait, why: "b1002 to stop"},
		{name: "also a moment past its grace period", edits: []func(*plan.Snapshot){gone(1000, 1001), terminating(1002, now.Add(-10*time.Second))}, do: plan.HibernateWait, why: "b1002 to stop"},
		{name: "one on a lost Kubernetes node doesn't hold up the others", edits: []func(*plan.Snapshot){gone(1000, 1001), terminating(1002, now.Add(-time.Minute))}, do: plan.HibernateStop, what: "observer 3"},
		{name: "but it is waited for in the end", edits: []func(*plan.Snapshot){gone(0, 1, 2, 3, 1000, 1001), terminating(1002, now.Add(-time.Minute))}, do: plan.HibernateWait, why: "b1002 to be gone"},
		{name: "then observers", edits: []func(*plan.Snapshot){gone(1000, 1001, 1002)}, do: plan.HibernateStop, what: "observer 3"},
		{name: "then voters", edits: []func(*plan.Snapshot){gone(3, 1000, 1001, 1002)}, do: plan.HibernateStop, what: "voters 0, 2"},
		{name: "the active controller last", edits: []func(*plan.Snapshot){gone(0, 2, 3, 1000, 1001, 1002)}, do: plan.HibernateStop, what: "active controller 1"},
		{name: "no order among controllers without a leader", edits: []func(*plan.Snapshot){gone(1000, 1001, 1002), leaderless}, do: plan.HibernateStop, what: "voters 0, 1, 2, 3"},
		{name: "but the last ones wait for those that stop", edits: []func(*plan.Snapshot){gone(1, 3, 1000, 1001, 1002), terminating(2, now.Add(time.Minute)), unanswered}, do: plan.HibernateWait, why: "c2 to stop"},
		{name: "nor when nobody answers", edits: []func(*plan.Snapshot){gone(1000, 1001, 1002), unanswered}, do: plan.HibernateStop, what: "voters 0, 1, 2, 3"},
		{name: "combined nodes go as controllers", edits: []func(*plan.Snapshot){combined, gone(3)}, do: plan.HibernateStop, what: "voters 0, 2"},
		{name: "all are gone", edits: []func(*plan.Snapshot){gone(0, 1, 2, 3, 1000, 1001, 1002), unanswered}, do: plan.HibernateDone},
		{name: "one that a hand has started stops again", edits: []func(*plan.Snapshot){gone(0, 1, 2, 1000, 1001, 1002), unanswered}, do: plan.HibernateStop, what: "voter 3"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := newFleet(1, 4, 3, 3)
			f.now, f.leader = now, 1
			s := f.snapshot()
			for _, edit := range tc.edits {
				edit(&s)
			}
			step := plan.Hibernate(s)
			require.Equal(t, tc.do, step.Do, "%+v", step)
			require.Contains(t, step.Why, tc.why)
			if tc.do == plan.HibernateStop {
				require.Equal(t, tc.what, step.What)
			}
		})
	}
}

func TestABatchOfManyNodesIsShort(t *testing.T) {
	f := newFleet(1, 1, 1, 50)
	require.Equal(t, "brokers 1000, 1001, 1002, 1003 and 46 more", plan.Hibernate(f.snapshot()).What)
}
