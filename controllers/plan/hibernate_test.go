package plan

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestNodesStopInOrder(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	gone := func(ids ...int32) func(*Snapshot) {
		return func(s *Snapshot) {
			for i := range s.Nodes {
				if slices.Contains(ids, s.Nodes[i].ID) {
					s.Nodes[i].Stopped, s.Nodes[i].Pod = true, nil
				}
			}
		}
	}
	terminating := func(id int32, by time.Time) func(*Snapshot) {
		return func(s *Snapshot) {
			for i := range s.Nodes {
				if s.Nodes[i].ID == id {
					pod := *s.Nodes[i].Pod
					pod.Terminating, pod.Ready, pod.StopBy = true, false, by
					s.Nodes[i].Stopped, s.Nodes[i].Pod = true, &pod
				}
			}
		}
	}
	leaderless := func(s *Snapshot) { s.Quorum.Leader = -1 }
	unanswered := func(s *Snapshot) { s.Quorum = nil }
	combined := func(s *Snapshot) {
		s.Nodes = slices.DeleteFunc(s.Nodes, func(n Node) bool { return !n.Controller })
		for i := range s.Nodes {
			s.Nodes[i].Broker = true
		}
	}
	for _, tc := range []struct {
		name  string
		edits []func(*Snapshot)
		do    HibernateAction
		what  string
		why   string
	}{
		{name: "brokers first, all at once", do: HibernateStop, what: "brokers 1000, 1001, 1002"},
		{name: "the rest of a batch", edits: []func(*Snapshot){gone(1000), terminating(1001, now.Add(time.Minute))}, do: HibernateStop, what: "broker 1002"},
		{name: "a broker that stops is waited for", edits: []func(*Snapshot){gone(1000, 1001), terminating(1002, now.Add(time.Minute))}, do: HibernateWait, why: "b1002 to stop"},
		{name: "also a moment past its grace period", edits: []func(*Snapshot){gone(1000, 1001), terminating(1002, now.Add(-10*time.Second))}, do: HibernateWait, why: "b1002 to stop"},
		{name: "one on a lost Kubernetes node doesn't hold up the others", edits: []func(*Snapshot){gone(1000, 1001), terminating(1002, now.Add(-time.Minute))}, do: HibernateStop, what: "observer 3"},
		{name: "but it is waited for in the end", edits: []func(*Snapshot){gone(0, 1, 2, 3, 1000, 1001), terminating(1002, now.Add(-time.Minute))}, do: HibernateWait, why: "b1002 to be gone"},
		{name: "then observers", edits: []func(*Snapshot){gone(1000, 1001, 1002)}, do: HibernateStop, what: "observer 3"},
		{name: "then voters", edits: []func(*Snapshot){gone(3, 1000, 1001, 1002)}, do: HibernateStop, what: "voters 0, 2"},
		{name: "the active controller last", edits: []func(*Snapshot){gone(0, 2, 3, 1000, 1001, 1002)}, do: HibernateStop, what: "active controller 1"},
		{name: "no order among controllers without a leader", edits: []func(*Snapshot){gone(1000, 1001, 1002), leaderless}, do: HibernateStop, what: "voters 0, 1, 2, 3"},
		{name: "but the last ones wait for those that stop", edits: []func(*Snapshot){gone(1, 3, 1000, 1001, 1002), terminating(2, now.Add(time.Minute)), unanswered}, do: HibernateWait, why: "c2 to stop"},
		{name: "nor when nobody answers", edits: []func(*Snapshot){gone(1000, 1001, 1002), unanswered}, do: HibernateStop, what: "voters 0, 1, 2, 3"},
		{name: "combined nodes go as controllers", edits: []func(*Snapshot){combined, gone(3)}, do: HibernateStop, what: "voters 0, 2"},
		{name: "all are gone", edits: []func(*Snapshot){gone(0, 1, 2, 3, 1000, 1001, 1002), unanswered}, do: HibernateDone},
		{name: "one that a hand has started stops again", edits: []func(*Snapshot){gone(0, 1, 2, 1000, 1001, 1002), unanswered}, do: HibernateStop, what: "voter 3"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := newFleet(1, 4, 3, 3)
			f.now, f.leader = now, 1
			s := f.snapshot()
			for _, edit := range tc.edits {
				edit(&s)
			}
			step := Hibernate(s)
			require.Equal(t, tc.do, step.Do, "%+v", step)
			require.Contains(t, step.Why, tc.why)
			if tc.do == HibernateStop {
				require.Equal(t, tc.what, step.What)
			}
		})
	}
}

func TestABatchOfManyNodesIsShort(t *testing.T) {
	f := newFleet(1, 1, 1, 50)
	require.Equal(t, "brokers 1000, 1001, 1002, 1003 and 46 more", Hibernate(f.snapshot()).What)
}

// sleeper is a fleet that hibernates and wakes; StatefulSets' controllers and kubelets act in seeded random order.
type sleeper struct {
	*fleet
	lost int32 // a pod that never ends, -1 none
}

func (f *sleeper) see() Snapshot {
	s := f.snapshot()
	for i := range s.Nodes {
		s.Nodes[i].Stopped = f.nodes[i].Stopped
	}
	if q := s.Quorum; q != nil && f.rnd.IntN(10) == 0 {
		s.Quorum = nil // a question that isn't answered
	}
	return s
}

// stop carries out one step. May the operator die in the middle of a batch? Then some of it is done.
func (f *sleeper) stop(t *testing.T) HibernateStep {
	s := f.see()
	step := Hibernate(s)
	if step.Do != HibernateStop {
		return step
	}
	f.note("stop %s", step.What)
	nodes := step.Nodes
	if f.rnd.IntN(4) == 0 {
		nodes = nodes[:f.rnd.IntN(len(nodes)+1)]
		f.note("crash after %d", len(nodes))
	}
	for _, n := range nodes {
		f.node(n.ID).Stopped = true
	}
	f.checkOrder(t, s, step)
	return step
}

// checkOrder: no controller stops while a broker runs, no voter while an observer does, no leader while a voter does.
func (f *sleeper) checkOrder(t *testing.T, s Snapshot, step HibernateStep) {
	t.Helper()
	rank := func(n Node) int {
		switch q := s.Quorum; {
		case !n.Controller:
			return 0
		case q == nil || q.Leader < 0:
			return 2
		case q.Leader == n.ID:
			return 3
		case q.Voter(n.ID):
			return 2
		}
		return 1
	}
	for _, n := range step.Nodes {
		for i, m := range f.nodes {
			stops := m.Controller && m.Pod != nil && m.ID != f.lost && s.Nodes[i].Stopped
			leaderless := s.Quorum == nil || s.Quorum.Leader < 0
			require.False(t, n.Controller && leaderless && stops, "%s may have led, and stops before %s is gone:\n%s", n.Name, m.Name, strings.Join(f.log, "\n"))
			runs := m.Pod != nil && m.ID != f.lost
			require.False(t, runs && rank(m) < rank(n), "%s stops while %s runs:\n%s", n.Name, m.Name, strings.Join(f.log, "\n"))
		}
	}
}

func (f *sleeper) happens() {
	f.now = f.now.Add(time.Second)
	i := f.rnd.IntN(len(f.nodes))
	n := &f.nodes[i]
	switch {
	case n.Stopped && n.Pod != nil && !n.Pod.Terminating:
		pod := *n.Pod
		pod.Terminating, pod.Ready, pod.StopBy = true, false, f.now.Add(5*time.Minute)
		n.Pod = &pod
	case n.Pod != nil && n.Pod.Terminating && n.ID != f.lost:
		f.note("%s is gone", n.Name)
		n.Pod = nil
	case n.Pod == nil && !n.Stopped:
		f.startPod(i, false)
	case n.Pod != nil && !n.Pod.Ready && !n.Pod.Terminating:
		pod := *n.Pod
		pod.Ready = true
		n.Pod = &pod
	}
	if l := f.node(f.leader); !l.Up() {
		up := slices.DeleteFunc(slices.Clone(f.voters), func(id int32) bool { return !f.node(id).Up() })
		if len(up) > len(f.voters)/2 {
			f.leader = up[f.rnd.IntN(len(up))]
		}
	}
}

// TestHibernationKeepsItsOrderWhateverHappens: crashes in the middle of a batch, answers that don't come, a mind that is
// changed, a pod that never ends.
func TestHibernationKeepsItsOrderWhateverHappens(t *testing.T) {
	for seed := range uint64(300) {
		f := &sleeper{fleet: newFleet(seed, 3+int(seed%3), 3, int(seed%4)+1), lost: -1}
		if seed%7 == 3 {
			f.lost = f.nodes[f.rnd.IntN(len(f.nodes))].ID
		}
		for round := range 3 {
			done := false
			for range 2000 {
				step := f.stop(t)
				if round < 2 && f.rnd.IntN(60) == 0 {
					break // awake again, before it slept
				}
				lost := step.Do == HibernateWait && strings.Contains(step.Why, "may be lost")
				if done = step.Do == HibernateDone || lost && f.lost >= 0; done {
					break
				}
				f.happens()
			}
			for _, n := range f.nodes {
				require.False(t, done && n.Pod != nil && n.ID != f.lost, "%s runs:\n%s", n.Name, strings.Join(f.log, "\n"))
			}
			require.True(t, done || round < 2, "no end:\n%s", strings.Join(f.log, "\n"))
			if round == 2 {
				break
			}
			f.note("wake")
			for i := range f.nodes {
				f.nodes[i].Stopped = false
			}
			for range f.rnd.IntN(100) {
				f.happens()
			}
		}
		if seed < 2 {
			golden(t, fmt.Sprintf("hibernate-%d", seed), f.log)
		}
	}
}
