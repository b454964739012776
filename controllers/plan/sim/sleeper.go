package sim

import (
	"strings"
	"time"

	"github.com/kraft-dev/kraft-operator/controllers/plan"
)

// sleeper is a fleet that hibernates and wakes; StatefulSets' controllers and kubelets act in seeded random order.
type sleeper struct {
	*fleet
	lost int32 // a pod that never ends, -1 none
}

func (f *sleeper) see() plan.Snapshot {
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
func (f *sleeper) stop() plan.HibernateStep {
	s := f.see()
	step := plan.Hibernate(s)
	if step.Do != plan.HibernateStop {
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
	f.checkOrder(s, step)
	return step
}

// checkOrder: no controller stops while a broker runs, no voter while an observer does, no leader while a voter does.
func (f *sleeper) checkOrder(s plan.Snapshot, step plan.HibernateStep) {
	leaderless := s.Quorum == nil || s.Quorum.Leader < 0
	for _, n := range step.Nodes {
		for i, m := range f.nodes {
			runs := m.Pod != nil && m.ID != f.lost
			stops := m.Controller && runs && s.Nodes[i].Stopped
			f.must(!n.Controller || !leaderless || !stops, "leader-last", "%s may have led, and stops before %s is gone", n.Name, m.Name)
			f.must(!runs || stopRank(s.Quorum, m) >= stopRank(s.Quorum, n), "order", "%s stops while %s runs", n.Name, m.Name)
		}
	}
}

func stopRank(q *plan.Quorum, n plan.Node) int {
	switch {
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
	f.elect()
}

// playHibernation: crashes in the middle of a batch, answers that don't come, a mind that is changed, a pod that never ends.
func playHibernation(seed uint64) *sleeper {
	f := &sleeper{fleet: newFleet(seed, 3+int(seed%3), 3, int(seed%4)+1), lost: -1}
	if seed%7 == 3 {
		f.lost = f.nodes[f.rnd.IntN(len(f.nodes))].ID
	}
	for range 2 {
		f.fallAsleep(60)
		f.note("wake")
		for i := range f.nodes {
			f.nodes[i].Stopped = false
		}
		for range f.rnd.IntN(100) {
			f.happens()
		}
	}
	f.must(f.fallAsleep(0), "converges", "no end after 2000 steps")
	return f
}

// fallAsleep stops all nodes; one in so many steps the mind is changed, 0 never. It reports whether everything has stopped.
func (f *sleeper) fallAsleep(oneIn int) bool {
	for range 2000 {
		step := f.stop()
		if oneIn > 0 && f.rnd.IntN(oneIn) == 0 {
			return false
		}
		lost := step.Do == plan.HibernateWait && strings.Contains(step.Why, "may be lost")
		if step.Do == plan.HibernateDone || lost && f.lost >= 0 {
			for _, n := range f.nodes {
				f.must(n.Pod == nil || n.ID == f.lost, "asleep", "%s runs", n.Name)
			}
			return true
		}
		f.happens()
	}
	return false
}
