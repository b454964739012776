package sim

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/kraft-dev/kraft-operator/controllers/plan"
)

// staff is a simulated pool of brokers that grows, shrinks and loses nodes, with topics that come, go and move.
type staff struct {
	story
	rnd        *rand.Rand
	now        time.Time
	nodes      []plan.Node
	partitions map[string][]int32
	used       map[int32]bool // ids that had a claim
	lost       []plan.LostBroker
	replaced   []int32
	gone       map[int32]bool // their Kubernetes node is lost: the pod doesn't come back
	goal       plan.BrokerGoal
	resumes    time.Time           // paused until then
	down       map[int32]time.Time // not up since then, as far as an operator that isn't paused can have seen
	created    int
	seen       map[plan.BrokerAction]int // steps that were taken
}

func newStaff(seed uint64, brokers int) *staff {
	w := &staff{
		rnd: rand.New(rand.NewPCG(seed, 3)), now: time.Unix(1_700_000_000, 0), partitions: map[string][]int32{},
		used: map[int32]bool{}, gone: map[int32]bool{}, down: map[int32]time.Time{}, seen: map[plan.BrokerAction]int{},
		goal: plan.BrokerGoal{Brokers: brokers, ReplaceAfter: 20 * time.Second},
	}
	w.grow()
	for i := range w.nodes {
		w.nodes[i].Pod = &plan.Pod{Ready: true}
	}
	return w
}

func (w *staff) grow() {
	m := plan.Members{First: 1000, Want: int32(w.goal.Brokers)}
	for _, n := range w.nodes {
		m.IDs = append(m.IDs, n.ID)
	}
	for id := range w.used {
		m.Kept = append(m.Kept, id)
	}
	ids, err := m.Grow()
	w.must(err == nil, "ids", "%v", err)
	for _, id := range ids {
		if !slices.Contains(m.IDs, id) {
			w.must(!w.used[id], "identity", "id %d is used again", id)
			w.used[id] = true
			w.nodes = append(w.nodes, plan.Node{ID: id, Name: fmt.Sprintf("b%d", id), Broker: true})
			w.note("new %d", id)
		}
	}
	slices.SortFunc(w.nodes, func(a, b plan.Node) int { return int(a.ID - b.ID) })
}

func (w *staff) snapshot() plan.Snapshot {
	s := plan.Snapshot{
		Now: w.now, Formed: true, Nodes: slices.Clone(w.nodes), Quorum: &plan.Quorum{Leader: 0}, Lost: w.lost, Paused: w.paused(),
		LastAnswer: w.now, Restarting: -1, Partitions: &plan.Partitions{},
	}
	up := func(id int32) bool {
		return slices.ContainsFunc(w.nodes, func(n plan.Node) bool { return n.ID == id && n.Up() })
	}
	for _, n := range w.nodes {
		if n.Up() {
			s.Partitions.Unfenced = append(s.Partitions.Unfenced, n.ID)
		}
	}
	for name, replicas := range w.partitions {
		set := plan.ReplicaSet{Replicas: replicas, MinISR: 1, Count: 1, Examples: []string{name}}
		for _, id := range replicas {
			if up(id) {
				set.ISR = append(set.ISR, id)
			}
		}
		s.Partitions.Sets = append(s.Partitions.Sets, set)
	}
	return s
}

func (w *staff) paused() bool { return w.now.Before(w.resumes) }

// act is a pass of the operator: the same few lines as its acting code.
func (w *staff) act() plan.BrokerStep {
	w.lost = plan.ClockBrokers(w.snapshot(), w.goal)
	for _, n := range w.nodes {
		if _, known := w.down[n.ID]; n.Up() || n.Leaving || w.paused() {
			delete(w.down, n.ID)
		} else if !known {
			w.down[n.ID] = w.now
		}
	}
	if w.paused() {
		return plan.BrokerStep{Do: plan.BrokersWait}
	}
	w.grow()
	s := w.snapshot()
	step, _ := plan.Brokers(s, w.goal)
	w.seen[step.Do]++
	w.take(step, s)
	return step
}

// take carries a step out, if the rules allow it.
func (w *staff) take(step plan.BrokerStep, s plan.Snapshot) {
	i := slices.IndexFunc(w.nodes, func(n plan.Node) bool { return n.ID == step.Node.ID })
	on, _ := s.Partitions.On(step.Node.ID)
	switch step.Do {
	case plan.BrokersHeld:
		w.must(!step.Node.Leaving, "held", "broker %d is held back, and stopped", step.Node.ID)
	case plan.BrokersStop:
		w.note("stop %d", step.Node.ID)
		w.must(on == 0, "replicas", "it stops with %d replicas", on)
		w.must(i == len(w.nodes)-1, "highest", "%d leaves before a higher id", step.Node.ID)
		w.nodes[i].Leaving, w.nodes[i].Stopped = true, true
	case plan.BrokersReturn:
		w.note("return %d: %s", step.Node.ID, step.Why)
		w.nodes[i].Leaving, w.nodes[i].Stopped = false, false
	case plan.BrokersLeave:
		w.note("leave %d", step.Node.ID)
		w.must(on == 0, "replicas", "it leaves with %d replicas", on)
		w.must(w.nodes[i].Pod == nil, "running", "it leaves while it runs")
		w.nodes = slices.Delete(w.nodes, i, i+1)
	case plan.BrokersReplace:
		w.note("replace %d with %d replicas", step.Node.ID, on)
		w.checkReplaced(w.nodes[i])
		w.nodes = slices.Delete(w.nodes, i, i+1)
		w.mustServe(step.Node.ID)
		w.replaced = append(w.replaced, step.Node.ID)
	}
}

// checkReplaced: who is replaced was down for long enough, and so is everybody else that is down: the one that took the
// last one's place isn't starting yet.
func (w *staff) checkReplaced(n plan.Node) {
	for _, m := range w.nodes {
		if m.Up() || m.Leaving {
			continue
		}
		since, known := w.down[m.ID]
		long := known && w.now.Sub(since) >= w.goal.ReplaceAfter
		w.must(long || m.ID != n.ID, "blip", "broker %d is replaced after %s", n.ID, w.now.Sub(since))
		w.must(long, "one-at-a-time", "broker %d is replaced while %d is starting", n.ID, m.ID)
	}
	w.must(!n.Up(), "blip", "broker %d is up", n.ID)
}

// mustServe: a broker that was taken off was not the last to have a partition.
func (w *staff) mustServe(without int32) {
	for name, replicas := range w.partitions {
		left := slices.ContainsFunc(w.nodes, func(n plan.Node) bool { return n.Up() && slices.Contains(replicas, n.ID) })
		w.must(left || !slices.Contains(replicas, without), "data", "%s is lost by our act", name)
	}
}

// happen is a second of the world: pods come and go, topics too.
func (w *staff) happen(quiet bool) {
	w.now = w.now.Add(time.Second)
	for i := range w.nodes {
		n := &w.nodes[i]
		switch {
		case n.Stopped && n.Pod != nil && w.rnd.IntN(3) == 0 && n.Pod.Terminating:
			n.Pod = nil
		case n.Stopped && n.Pod != nil && w.rnd.IntN(3) == 0: // fenced from here on
			n.Pod = &plan.Pod{Terminating: true}
		case !n.Stopped && n.Pod != nil && n.Pod.Terminating:
			n.Pod = nil
		case !n.Stopped && !w.gone[n.ID] && n.Pod == nil && w.rnd.IntN(3) == 0:
			n.Pod = &plan.Pod{Ready: true}
		}
	}
	if quiet || len(w.nodes) == 0 {
		return
	}
	n := &w.nodes[w.rnd.IntN(len(w.nodes))]
	switch w.rnd.IntN(30) {
	case 0, 1:
		w.create()
	case 2, 3, 4, 5, 6, 7:
		w.move(n.ID)
	case 8:
		if !n.Leaving && !n.Stopped {
			n.Pod, w.gone[n.ID] = nil, w.rnd.IntN(2) == 0
			w.note("down %d, for good: %t", n.ID, w.gone[n.ID])
		}
	case 9:
		clear(w.gone)
	case 10:
		w.goal.Brokers = 1 + w.rnd.IntN(6)
		w.note("want %d", w.goal.Brokers)
	case 11:
		w.resumes = w.now.Add(time.Duration(1+w.rnd.IntN(40)) * time.Second)
		w.note("paused")
	}
}

func (w *staff) create() {
	var up []int32
	for _, n := range w.nodes {
		if n.Up() {
			up = append(up, n.ID)
		}
	}
	w.rnd.Shuffle(len(up), func(i, j int) { up[i], up[j] = up[j], up[i] })
	if len(up) > 0 {
		w.created++
		w.partitions[fmt.Sprintf("t-%d", w.created)] = up[:min(2, len(up))]
	}
}

// move takes a partition off a broker, to another that is up.
func (w *staff) move(from int32) {
	for _, name := range sortedKeys(w.partitions) {
		i := slices.Index(w.partitions[name], from)
		if i < 0 {
			continue
		}
		for _, n := range w.nodes {
			if n.Up() && n.ID != from && !slices.Contains(w.partitions[name], n.ID) {
				w.partitions[name] = slices.Clone(w.partitions[name])
				w.partitions[name][i] = n.ID
				return
			}
		}
		w.partitions[name] = slices.Delete(slices.Clone(w.partitions[name]), i, i+1)
		if len(w.partitions[name]) == 0 {
			delete(w.partitions, name)
		}
		return
	}
}

func sortedKeys(m map[string][]int32) []string {
	out := make([]string, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

// playBrokers: brokers come and go in any order of events; once a person moves what holds a broker back, the pool is what
// the spec says.
func playBrokers(seed uint64) *staff {
	w := newStaff(seed, 3)
	for range 400 {
		w.act()
		w.happen(false)
	}
	clear(w.gone)
	w.resumes = time.Time{}
	for range 2000 {
		step := w.act()
		if step.Do == plan.BrokersDone && allUp(w.nodes) {
			w.must(len(w.nodes) == w.goal.Brokers, "as-asked", "%d brokers of %d", len(w.nodes), w.goal.Brokers)
			return w
		}
		if step.Do == plan.BrokersHeld {
			w.move(step.Node.ID)
		}
		w.happen(true)
	}
	w.must(false, "converges", "no end after 2000 steps")
	return w
}
