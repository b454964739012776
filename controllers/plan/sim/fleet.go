package sim

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/kraft-dev/kraft-operator/controllers/plan"
)

// fleet is a simulated cluster under a roll. Its own events (pods that stop, start, break, elections, replicas that
// catch up) come in seeded random order between the operator's steps.
type fleet struct {
	story
	rnd    *rand.Rand
	now    time.Time
	nodes  []plan.Node
	leader int32
	voters []int32
	// behind are nodes that have restarted and haven't caught up: brokers whose partners can't be spared, voters that
	// don't keep up.
	behind  map[int32]bool
	partner map[int32]int32
	bad     string // template that doesn't start
	slow    string // template with which a node doesn't catch up
	// needsQuorum: a pod becomes Ready only while a majority of the voters runs; with cured set, only of that template.
	needsQuorum bool
	cured       string
	uid         int
}

func newFleet(seed uint64, controllers, voters, brokers int) *fleet {
	f := &fleet{rnd: rand.New(rand.NewPCG(seed, 1)), now: time.Unix(1_700_000_000, 0), behind: map[int32]bool{}, partner: map[int32]int32{}}
	for i := range controllers {
		f.nodes = append(f.nodes, plan.Node{ID: int32(i), Name: fmt.Sprintf("c%d", i), Controller: true})
		if i < voters {
			f.voters = append(f.voters, int32(i))
		}
	}
	for i := range brokers {
		id := int32(1000 + i)
		f.nodes = append(f.nodes, plan.Node{ID: id, Name: fmt.Sprintf("b%d", id), Broker: true})
		f.partner[id] = 1000 + int32((i+1)%brokers)
	}
	for i := range f.nodes {
		f.nodes[i].Want, f.nodes[i].Has = "v1", "v1"
		f.startPod(i, true)
	}
	f.leader = f.voters[f.rnd.IntN(len(f.voters))]
	return f
}

func (f *fleet) startPod(i int, isReady bool) {
	f.uid++
	n := &f.nodes[i]
	n.Pod = &plan.Pod{Name: n.Name + "-0", UID: types.UID(fmt.Sprint(f.uid)), Hash: n.Has, Ready: isReady, Created: f.now}
}

func (f *fleet) want(hash string) {
	for i := range f.nodes {
		f.nodes[i].Want = hash
	}
	f.note("want %s", hash)
}

func (f *fleet) snapshot() plan.Snapshot {
	s := plan.Snapshot{Now: f.now, Formed: true, Nodes: slices.Clone(f.nodes)}
	q := &plan.Quorum{Leader: -1, Epoch: 1, HighWatermark: 10}
	upVoters := 0
	for _, id := range f.voters {
		r := plan.Replica{ID: id, LogEndOffset: 10}
		if !f.keepsUp(id) {
			r.SinceFetch = time.Minute
		}
		if f.node(id).Up() {
			upVoters++
		}
		q.Voters = append(q.Voters, r)
	}
	if upVoters > len(f.voters)/2 && f.node(f.leader).Up() {
		q.Leader = f.leader
		s.Quorum = q
	}
	s.Partitions = &plan.Partitions{Short: map[int32]int{}, Example: map[int32]string{}}
	for _, n := range f.nodes {
		if !n.Broker {
			continue
		}
		p := f.partner[n.ID]
		set := plan.ReplicaSet{Replicas: []int32{n.ID, p}, ISR: []int32{n.ID, p}, MinISR: 1, Count: 1, Examples: []string{"orders-0"}}
		if !f.keepsUp(n.ID) {
			s.Partitions.Short[p]++
			s.Partitions.Example[p] = "orders-0"
			set.ISR = []int32{p}
		}
		s.Partitions.Sets = append(s.Partitions.Sets, set)
	}
	return s
}

func (f *fleet) node(id int32) *plan.Node {
	for i := range f.nodes {
		if f.nodes[i].ID == id {
			return &f.nodes[i]
		}
	}
	return nil
}

// act carries out one step of the operator.
func (f *fleet) act() plan.RollStep {
	s := f.snapshot()
	step := plan.Roll(s)
	f.must(step.Do != plan.RollBatch, "one-down", "%d nodes are to go at once", len(step.Batch))
	n := f.node(step.Node.ID)
	if step.Do == plan.RollEvict && plan.Budget(s, func(m plan.Node) bool { return m.Broker == n.Broker }) == 0 {
		return step // Kubernetes refuses it
	}
	switch step.Do {
	case plan.RollRetemplate:
		f.note("template %s -> %s", n.Name, n.Want)
		n.Has = n.Want
	case plan.RollEvict, plan.RollDelete:
		how := "evict"
		if step.Do == plan.RollDelete {
			how = "delete"
		}
		role := ""
		if n.ID == f.leader {
			role = " (leader)"
		}
		f.note("%s %s%s -> %s", how, n.Name, role, n.Want)
		f.must(step.Do == plan.RollEvict || !n.Up() || !f.keepsUp(n.ID), "under-its-budget", "%s keeps up, and goes past its budget", n.Name)
		f.must(!n.Broker || n.Pod.Broken != "" || !n.Pod.Ready || !f.justBack(*n), "reached", "%s goes while another broker has just come back", n.Name)
		n.Has = n.Want
		pod := *n.Pod
		pod.Terminating, pod.Ready = true, false
		n.Pod = &pod
	}
	return step
}

// justBack tells whether clients may still be refused by another broker that is Ready.
func (f *fleet) justBack(than plan.Node) bool {
	return slices.ContainsFunc(f.nodes, func(n plan.Node) bool {
		return n.Broker && n.ID != than.ID && n.Up() && f.now.Sub(n.Pod.ReadySince) < 2*time.Second
	})
}

// happen is one event of the world.
func (f *fleet) happen() {
	f.now = f.now.Add(time.Second)
	i := f.rnd.IntN(len(f.nodes))
	n := &f.nodes[i]
	switch {
	case n.Pod == nil:
		f.startPod(i, false)
	case n.Pod.Terminating:
		n.Pod = nil
		f.behind[n.ID] = true
	case !n.Pod.Ready && n.Pod.Hash == f.bad:
		pod := *n.Pod
		pod.Broken = "ImagePullBackOff"
		n.Pod = &pod
	case !n.Pod.Ready && f.needsQuorum && (n.Pod.Hash != f.cured || !f.majorityRuns()):
	case !n.Pod.Ready:
		pod := *n.Pod
		pod.Ready, pod.ReadySince = true, f.now
		n.Pod = &pod
	case f.behind[n.ID] && n.Pod.Hash != f.slow:
		delete(f.behind, n.ID)
	}
	f.elect()
}

// elect chooses a leader where the last one is gone, among those that have caught up if there is one.
func (f *fleet) elect() {
	if f.node(f.leader).Up() {
		return
	}
	up := slices.DeleteFunc(slices.Clone(f.voters), func(id int32) bool { return !f.node(id).Up() })
	if len(up) <= len(f.voters)/2 {
		return
	}
	if best := slices.DeleteFunc(slices.Clone(up), func(id int32) bool { return f.behind[id] }); len(best) > 0 {
		up = best
	}
	f.leader = up[f.rnd.IntN(len(up))]
	delete(f.behind, f.leader)
	f.note("leader %d", f.leader)
}

func (f *fleet) keepsUp(id int32) bool { return f.node(id).Up() && !f.behind[id] }

func (f *fleet) majorityRuns() bool {
	runs := 0
	for _, id := range f.voters {
		if n := f.node(id); n.Pod != nil && !n.Pod.Terminating && n.Pod.Hash == f.cured {
			runs++
		}
	}
	return runs > len(f.voters)/2
}

// check holds after every step, whatever the order of events.
func (f *fleet) check() {
	down, live := 0, 0
	for _, n := range f.nodes {
		if !n.Up() {
			down++
		}
	}
	for _, id := range f.voters {
		if f.keepsUp(id) {
			live++
		}
	}
	f.must(down <= 1, "one-down", "%d nodes are down by our act", down)
	f.must(live > len(f.voters)/2 || len(f.voters) == 1, "majority", "%d of %d voters keep up by our act", live, len(f.voters))
	for b, p := range f.partner {
		f.must(f.node(b).Up() || f.keepsUp(p) || b == p, "min-isr", "b%d is down, and its partner b%d has no replica in sync, by our act", b, p)
	}
}

// roll lets the operator act until its step is a certain one.
func (f *fleet) roll(until func(plan.RollStep) bool) {
	for range 5000 {
		step := f.act()
		f.check()
		if until(step) {
			return
		}
		f.happen()
	}
	f.must(false, "converges", "no end after 5000 steps")
}
