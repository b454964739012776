package sim

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/kraft-dev/kraft-operator/controllers/plan"
)

// racks is a simulated cluster of brokers in zones under a roll, in seconds: how long a pod takes to stop, to start and
// for its replicas to catch up is given. One controller stands for the quorum.
type racks struct {
	story
	rnd        *rand.Rand
	now        time.Time
	nodes      []plan.Node
	until      map[int32]time.Time // when a broker's current phase ends
	behind     map[int32]bool      // up, not in sync
	partitions []plan.ReplicaSet   // with their replicas; in-sync ones follow
	most       int
	batch      []plan.BatchPod
	out        map[types.UID]bool // pods outside of the budget
	bad        string
	drains     bool
	slow       bool             // replicas fall out of sync by themselves
	falls      bool             // containers stop by themselves, and a broker lags in a single partition
	lags       map[int32]string // that partition's example, by broker
	crashes    bool             // the operator acts on some of a batch, and comes back later
	uid, batches, drained,
	downMost int
}

const (
	stopping   = 5 * time.Second
	starting   = 8 * time.Second
	catchingUp = 12 * time.Second
)

func newRacks(seed uint64, brokers, zones, partitions int, aware bool) *racks {
	w := &racks{
		rnd: rand.New(rand.NewPCG(seed, 7)), now: time.Unix(1_700_000_000, 0), until: map[int32]time.Time{}, behind: map[int32]bool{},
		out: map[types.UID]bool{}, lags: map[int32]string{}, most: 1,
	}
	for i := range brokers {
		w.nodes = append(w.nodes, plan.Node{ID: int32(1000 + i), Name: fmt.Sprintf("b%d", 1000+i), Broker: true, Zone: fmt.Sprintf("z%d", i%zones), Want: "v1", Has: "v1"})
		w.start(&w.nodes[i], true)
	}
	w.place(partitions, 3, zones, aware)
	return w
}

// place makes partitions with so many replicas, by zones where it is aware of them, and a minimum of 2 in sync.
func (w *racks) place(partitions, factor, zones int, aware bool) {
	brokers := len(w.nodes)
	for p := range partitions {
		var replicas []int32
		for len(replicas) < factor {
			id := int32(w.rnd.IntN(brokers))
			if aware {
				id = id/int32(zones)*int32(zones) + int32(len(replicas))
			}
			if id < int32(brokers) && !slices.Contains(replicas, 1000+id) {
				replicas = append(replicas, 1000+id)
			}
		}
		w.partitions = append(w.partitions, plan.ReplicaSet{Replicas: replicas, MinISR: 2, Count: 1, Examples: []string{fmt.Sprintf("t-%d", p)}})
	}
}

func (w *racks) note(format string, args ...any) {
	w.log = append(w.log, fmt.Sprintf("%4.0f ", w.now.Sub(time.Unix(1_700_000_000, 0)).Seconds())+fmt.Sprintf(format, args...))
}

func (w *racks) start(n *plan.Node, isReady bool) {
	w.uid++
	n.Pod = &plan.Pod{Name: n.Name + "-0", UID: types.UID(fmt.Sprint(w.uid)), Hash: n.Has, Ready: isReady, Created: w.now}
	w.until[n.ID] = w.now.Add(starting)
}

func (w *racks) node(id int32) *plan.Node { return &w.nodes[id-1000] }

func (w *racks) inSync(p plan.ReplicaSet, id int32) bool {
	return w.node(id).Up() && !w.behind[id] && w.lags[id] != p.Examples[0]
}

func (w *racks) snapshot() plan.Snapshot {
	s := plan.Snapshot{
		Now: w.now, Formed: true, Nodes: slices.Clone(w.nodes), Quorum: &plan.Quorum{Leader: 0, Voters: []plan.Replica{{ID: 0}}},
		Partitions: &plan.Partitions{Short: map[int32]int{}, Example: map[int32]string{}}, Batch: w.batch, MaxUnavailable: w.most,
	}
	for _, p := range w.partitions {
		for _, id := range p.Replicas {
			pod := w.node(id).Pod // brokers may not say yet that one stopped
			unsaid := pod != nil && !pod.Ready && (w.crashes && pod.Terminating || w.falls && !pod.Terminating)
			if w.inSync(p, id) || unsaid && w.rnd.IntN(3) == 0 {
				p.ISR = append(p.ISR, id)
			}
		}
		if len(p.ISR) <= p.MinISR {
			for _, id := range p.ISR {
				s.Partitions.Short[id]++
			}
		}
		s.Partitions.Sets = append(s.Partitions.Sets, p)
	}
	return s
}

// evict takes a pod down: no partition falls under its minimum by that.
func (w *racks) evict(n *plan.Node) {
	for _, p := range w.partitions {
		left := slices.DeleteFunc(slices.Clone(p.Replicas), func(id int32) bool { return id == n.ID || !w.inSync(p, id) })
		spared := !slices.Contains(p.Replicas, n.ID) || !w.inSync(p, n.ID) || len(left) >= p.MinISR
		w.must(spared, "min-isr", "%s goes, and %s on %v has %d replicas in sync", n.Name, p.Examples, p.Replicas, len(left))
	}
	pod := *n.Pod
	pod.Terminating, pod.Ready = true, false
	n.Pod = &pod
	w.until[n.ID] = w.now.Add(stopping)
	w.behind[n.ID] = true
}

// act is one pass of the operator: the budget first, then a step.
func (w *racks) act() plan.RollStep {
	s := w.snapshot()
	budget := plan.Budget(s, func(n plan.Node) bool { return n.Broker })
	if !s.BatchOpen() {
		clear(w.out)
	}
	if w.drains && w.rnd.IntN(4) == 0 {
		w.drain(budget)
		s = w.snapshot()
	}
	step := plan.Roll(s)
	switch step.Do {
	case plan.RollEvict, plan.RollDelete, plan.RollRetemplate:
		n := w.node(step.Node.ID)
		n.Has, w.batch = n.Want, nil
		if step.Do == plan.RollRetemplate {
			break
		}
		w.note("evict %s", n.Name)
		w.batches++
		w.evict(n)
	case plan.RollBatch:
		w.takeBatch(step.Batch, budget)
	}
	return step
}

func (w *racks) takeBatch(batch []plan.Node, budget int) {
	var pods []plan.BatchPod
	for _, n := range batch {
		pods = append(pods, plan.BatchPod{Node: n.ID, UID: n.Pod.UID, Hash: n.Want})
	}
	if slices.ContainsFunc(pods, func(p plan.BatchPod) bool { return !slices.Contains(w.batch, p) }) {
		w.batch = pods
		w.note("batch %s: %d", batch[0].Zone, len(batch))
		w.batches++
		return
	}
	if budget != 0 {
		return // not shut yet
	}
	for _, n := range batch {
		if w.crashes && w.rnd.IntN(3) == 0 {
			return
		}
		live := w.node(n.ID)
		live.Has = live.Want
		if w.crashes && w.rnd.IntN(3) == 0 {
			continue // its template is set, its pod isn't down yet
		}
		w.out[n.Pod.UID] = true
		w.evict(live)
	}
}

// drain evicts a pod under the budget, as kubectl drain does, wherever it stands.
func (w *racks) drain(budget int) {
	n := &w.nodes[w.rnd.IntN(len(w.nodes))]
	down := 0
	for _, m := range w.nodes {
		if !m.Up() && (m.Pod == nil || !w.out[m.Pod.UID]) {
			down++
		}
	}
	if n.Up() && (w.out[n.Pod.UID] || down < budget) {
		w.note("drain %s", n.Name)
		w.drained++
		w.evict(n)
	}
}

// second passes in the world.
func (w *racks) second() {
	w.now = w.now.Add(time.Second)
	down := 0
	for i := range w.nodes {
		n := &w.nodes[i]
		over := !w.now.Before(w.until[n.ID])
		switch {
		case n.Pod == nil:
			w.start(n, false)
		case n.Pod.Terminating && over:
			n.Pod = nil
		case !n.Pod.Ready && over && n.Pod.Hash == w.bad:
			pod := *n.Pod
			pod.Broken = "ImagePullBackOff"
			n.Pod = &pod
		case !n.Pod.Ready && over:
			pod := *n.Pod
			pod.Ready, pod.ReadySince = true, w.now
			n.Pod = &pod
			w.until[n.ID] = w.now.Add(catchingUp)
		case n.Pod.Ready && over && w.behind[n.ID]:
			delete(w.behind, n.ID)
		}
		if w.slow && n.Up() && w.rnd.IntN(30) == 0 {
			w.note("%s falls behind", n.Name)
			w.behind[n.ID], w.until[n.ID] = true, w.now.Add(catchingUp)
		}
		if w.falls {
			w.fall(n)
		}
		if !n.Up() {
			down++
		}
	}
	w.downMost = max(w.downMost, down)
}

// fall stops a broker's container, or leaves it behind in one of its partitions, now and then.
func (w *racks) fall(n *plan.Node) {
	switch {
	case !n.Up():
	case w.rnd.IntN(60) == 0:
		w.note("%s stops", n.Name)
		pod := *n.Pod
		pod.Ready = false
		n.Pod, w.behind[n.ID], w.until[n.ID] = &pod, true, w.now.Add(starting)
	case w.lags[n.ID] == "" && w.rnd.IntN(10) == 0:
		p := w.partitions[w.rnd.IntN(len(w.partitions))]
		if slices.Contains(p.Replicas, n.ID) {
			w.note("%s falls behind in %v", n.Name, p.Examples)
			w.lags[n.ID] = p.Examples[0]
		}
	case w.rnd.IntN(30) == 0:
		delete(w.lags, n.ID)
	}
}

// check: no partition is under its minimum by our act, whatever drains do besides; nor are two zones short of brokers.
func (w *racks) check() {
	for _, p := range w.partitions {
		here := 0
		for _, id := range p.Replicas {
			if w.inSync(p, id) {
				here++
			}
		}
		w.must(here >= p.MinISR || w.slow || w.falls, "min-isr", "%s on %v is short", p.Examples, p.Replicas)
	}
	if down := w.down(); !w.drains && !w.falls {
		w.must(len(down) <= w.most, "max-unavailable", "%d brokers are down of at most %d", len(down), w.most)
		for _, n := range down {
			w.must(n.Zone == down[0].Zone, "one-zone", "%s and %s are down", down[0].Name, n.Name)
		}
	}
}

func (w *racks) roll(hash string, until func(plan.RollStep) bool) time.Duration {
	for i := range w.nodes {
		w.nodes[i].Want = hash
	}
	began := w.now
	for range 20_000 {
		step := w.act()
		w.check()
		if until(step) {
			return w.now.Sub(began)
		}
		w.second()
	}
	w.must(false, "converges", "no end after 20000 s")
	return 0
}

func (w *racks) down() []plan.Node { return slices.DeleteFunc(slices.Clone(w.nodes), plan.Node.Up) }

// playWide: any placement, with drains and a crashing operator besides.
func playWide(seed uint64) *racks {
	w := newRacks(seed, 6+int(seed%10), 1+int(seed%4), 20+int(seed%80), seed%4 == 2)
	w.most, w.drains, w.crashes = 1+int(seed%7), seed%3 == 0, seed%2 == 0
	w.roll("v2", rolled)
	return w
}

// playWideSlow: partitions of four replicas, which now and then fall out of sync by themselves.
func playWideSlow(seed uint64) *racks {
	w := newRacks(seed, 8+int(seed%8), 1+int(seed%3), 0, false)
	w.place(10+int(seed%40), 4, 0, false)
	w.most, w.slow, w.crashes = 4+int(seed%5), true, true
	w.roll("v2", rolled)
	return w
}

// playWideFalling: containers stop by themselves, which their partitions' in-sync replicas don't tell at once.
func playWideFalling(seed uint64) *racks {
	w := newRacks(seed, 4+int(seed%4), 1, 0, false)
	w.place(5+int(seed%10), 3, 0, false)
	w.falls = true
	w.roll("v2", rolled)
	return w
}

// playWideBadTemplate: a bad template is given to one broker alone, however wide the roll may be.
func playWideBadTemplate(seed uint64) *racks {
	w := newRacks(seed, 12, 3, 50, true)
	w.most, w.bad = 12, "v2"
	w.roll("v2", stopped)
	touched := slices.DeleteFunc(slices.Clone(w.nodes), func(n plan.Node) bool { return n.Has != "v2" })
	w.must(len(touched) == 1, "bad-template", "%d brokers have it", len(touched))
	w.roll("v3", rolled)
	return w
}

// playWideBroken: a broker that breaks in a batch stops the roll. What wasn't taken down yet keeps running.
func playWideBroken(seed uint64) *racks {
	w := newRacks(seed, 12, 3, 50, true)
	w.most, w.crashes = 12, true
	w.roll("v2", func(s plan.RollStep) bool { return s.Do == plan.RollBatch && len(w.down()) > 0 })
	down := len(w.down())
	w.bad = "v2"
	for range 20 {
		w.second()
	}
	for range 100 {
		step := w.act()
		w.must(step.Do == plan.RollWait && len(w.down()) == down, "stops", "%d are down of %d at the stop; step %+v", len(w.down()), down, step)
		w.second()
	}
	return w
}
