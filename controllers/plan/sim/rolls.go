package sim

import (
	"slices"
	"strings"
	"time"

	"github.com/kraft-dev/kraft-operator/controllers/plan"
)

// playRoll: every node gets its new template once, in order.
func playRoll(seed uint64) *fleet {
	f := newFleet(seed, 3+2*int(seed%2), 3, 3+int(seed%3))
	f.want("v2")
	f.roll(rolled)
	down := f.takenDown()
	f.must(len(down) == len(f.nodes), "once-each", "%d nodes, taken down: %v", len(f.nodes), down)
	f.mustBeInOrder()
	return f
}

// takenDown are the nodes that were restarted, by name and in order.
func (f *fleet) takenDown() (names []string) {
	for _, line := range f.log {
		if strings.HasPrefix(line, "evict ") || strings.HasPrefix(line, "delete ") {
			names = append(names, strings.Fields(line)[1])
		}
	}
	return names
}

// mustBeInOrder: observers, then voters, a leader only after all other voters, then brokers.
func (f *fleet) mustBeInOrder() {
	rank := func(name string) int {
		switch {
		case name[0] == 'b':
			return 2
		case slices.Contains(f.voters, int32(name[1]-'0')):
			return 1
		}
		return 0
	}
	down := f.takenDown()
	f.must(slices.IsSortedFunc(down, func(a, b string) int { return rank(a) - rank(b) }), "order", "observers, voters, brokers: %v", down)
	left := len(f.voters)
	for _, line := range f.log {
		if !strings.HasPrefix(line, "evict c") || rank(strings.Fields(line)[1]) != 1 {
			continue
		}
		f.must(!strings.Contains(line, "leader") || left == 1, "leader-last", "%s, before %d other voters", line, left-1)
		left--
	}
}

// playBadTemplate: one node has it at most, and that one is mended first.
func playBadTemplate(seed uint64) *fleet {
	f := newFleet(seed, 3, 3, 3)
	f.bad = "v2"
	f.want("v2")
	f.roll(stopped)
	f.must(f.with("v2") == 1, "bad-template", "%d nodes have it", f.with("v2"))
	f.want("v3")
	before := len(f.log)
	f.roll(rolled)
	f.must(strings.HasPrefix(f.log[before], "delete "), "mended-first", "the first step is %q", f.log[before])
	return f
}

// playSlowTemplate: a template with which nodes are Ready and don't catch up is mended, or taken back, though those that do can't be spared:
// of one pool or, with nothing wrong with the controllers, of the other.
func playSlowTemplate(seed uint64) *fleet {
	f := newFleet(seed, 3+int(seed%2), 3, 3)
	if seed%4 < 2 {
		for i := range f.nodes {
			if f.nodes[i].Controller {
				f.nodes[i].Has, f.nodes[i].Pod.Hash = "v2", "v2"
			}
		}
	}
	f.slow = "v2"
	f.want("v2")
	for range 500 {
		f.act()
		f.check()
		f.happen()
	}
	f.must(f.with("v2") < len(f.nodes), "slow-template", "all have it")
	f.want([]string{"v1", "v3"}[seed/4%2])
	f.roll(rolled)
	return f
}

// with counts the nodes that have a template.
func (f *fleet) with(hash string) (n int) {
	for _, node := range f.nodes {
		if node.Has == hash {
			n++
		}
	}
	return n
}

// provedBad tells whether a node with a template is seen not to start.
func (f *fleet) provedBad(hash string) bool {
	return slices.ContainsFunc(f.nodes, func(n plan.Node) bool {
		return n.Has == hash && n.Pod != nil && n.Pod.Hash == hash && n.Pod.Broken != ""
	})
}

// playGoneWhileStopped: neither a drain nor a lost node spreads a bad template. The pod comes back as it was, or finds no
// place for a while.
func playGoneWhileStopped(seed uint64) *fleet {
	f := newFleet(seed, 3, 3, 3)
	f.bad = "v2"
	f.want("v2")
	f.roll(stopped)
	var others []int
	for i, n := range f.nodes {
		if n.Has == "v1" {
			others = append(others, i)
		}
	}
	gone := others[f.rnd.IntN(len(others))]
	f.note("gone %s", f.nodes[gone].Name)
	f.nodes[gone].Pod = nil
	if seed%2 == 1 {
		f.startPod(gone, false)
		f.nodes[gone].Pod.Broken = plan.Unschedulable
	}
	for range 50 {
		step := f.act()
		f.must(step.Do == plan.RollWait && f.nodes[gone].Has == "v1", "as-it-was", "%s: step %+v", f.nodes[gone].Name, step)
		f.happen()
	}
	return f
}

// playNeverStarted: every node is broken, one alone can't be Ready, and the first mend may be no better.
func playNeverStarted(seed uint64) *fleet {
	f := newFleet(seed, 3, 3, 3)
	for i := range f.nodes {
		f.nodes[i].Pod.Ready = false
		if seed%2 == 0 {
			f.nodes[i].Pod.Broken = "ImagePullBackOff"
		}
	}
	f.now = f.now.Add(time.Hour)
	f.needsQuorum = true
	if seed%4 < 2 {
		f.bad = "v2"
		f.want("v2")
		for range 300 {
			before, proved := f.with("v2"), f.provedBad("v2")
			f.act()
			f.must(!proved || f.with("v2") == before, "bad-template", "it is given on, though it is proved bad")
			f.happen()
		}
	}
	f.cured = "v3"
	f.want("v3")
	for range 3000 {
		if f.act().Do == plan.RollDone && allUp(f.nodes) {
			break
		}
		f.happen()
	}
	f.must(allUp(f.nodes) && f.with("v3") == len(f.nodes), "converges", "%d of %d nodes are mended", f.with("v3"), len(f.nodes))
	return f
}

// ask asks for a restart of a node's present pod.
func (f *fleet) ask(i int) {
	pod := *f.nodes[i].Pod
	pod.Restart = true
	f.nodes[i].Pod = &pod
	f.note("asked %s", f.nodes[i].Name)
}

// playRestart: pods are restarted once for the asking, in the order and behind the gates of a roll, also beside one. The
// two brokers are each other's partners.
func playRestart(seed uint64) *fleet {
	f := newFleet(seed, 3+int(seed%2), 3, 2)
	var asked []string
	for i := range f.nodes {
		if f.rnd.IntN(3) == 0 {
			f.ask(i)
			asked = append(asked, f.nodes[i].Name)
		}
	}
	if seed%3 == 0 {
		f.want("v2")
		asked = nil
		for _, n := range f.nodes {
			asked = append(asked, n.Name)
		}
	}
	f.roll(func(s plan.RollStep) bool { return s.Do == plan.RollDone && allUp(f.nodes) })
	down := f.takenDown()
	slices.Sort(asked)
	f.must(slices.Equal(asked, slices.Sorted(slices.Values(down))), "once-each", "asked for %v, restarted %v", asked, down)
	brokersLast := func(name string) int { return map[byte]int{'b': 1}[name[0]] }
	f.must(slices.IsSortedFunc(down, func(a, b string) int { return brokersLast(a) - brokersLast(b) }), "order", "%v", down)
	if seed%3 != 0 {
		f.mustEndWithLeader()
	}
	return f
}

// mustEndWithLeader: the active controller goes when no other controller that was asked is left.
func (f *fleet) mustEndWithLeader() {
	for i, line := range f.log {
		if !strings.HasPrefix(line, "evict c") || !strings.Contains(line, "(leader)") {
			continue
		}
		after := slices.ContainsFunc(f.log[i+1:], func(later string) bool { return strings.HasPrefix(later, "evict c") })
		f.must(!after, "leader-last", "%s, before other controllers", line)
	}
}
