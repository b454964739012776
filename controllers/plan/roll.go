package plan

import (
	"fmt"
	"slices"
	"time"

	"github.com/kraft-dev/kraft-operator/controllers/plan/planted"
)

// Settling is how long a pod that isn't Ready is given before it may be restarted into another template.
const Settling = 20 * time.Second

// blind is how long a node isn't Ready, while no controller is and none answers, before there is nothing to lose: not a machine's moment
// without breath, in which probes and questions run into their limits.
const blind = 2 * time.Minute

// Reached is how long after a broker turns Ready its Services lead to it from everywhere: the EndpointSlice controller and kube-proxy each gather
// changes for up to a second. Kubernetes keeps the instant in whole seconds, rounded down, which is one more.
const Reached = 3 * time.Second

// Unschedulable is Broken of a pod without a place.
const Unschedulable = "Unschedulable"

// RollStep is the next step of a roll.
type RollStep struct {
	Do   RollAction
	Node Node // of Retemplate, Evict and Delete
	// Batch is the brokers of RollBatch, Node the first of them.
	Batch []Node
	Why   string // RollWait: what it waits for
	// Stopped: a pod that already has the new template doesn't come back.
	Stopped bool
}

// RollAction is what a step does.
type RollAction int

// The actions of a roll. Restart means: give the StatefulSet the new template, then take the pod down.
const (
	RollDone       RollAction = iota // every node is as the spec says
	RollWait                         // something must come first
	RollRetemplate                   // there is no pod to take down: the template is all
	RollEvict                        // a Ready pod: restart it by eviction, under the budget
	RollDelete                       // a pod that isn't Ready, or lags while its budget is shut: restart it by deletion
	RollBatch                        // several Ready brokers, whose absence together is proved safe: evict them all
)

// Roll says which node gets its new template next. One controller is down at a time by our act, and as many brokers as
// are safe together (wide.go):
//
//  1. A node that has the new template and isn't Ready stops the roll, so that what doesn't come back isn't repeated.
//     It goes on past one that runs, but only to nodes that have nothing to lose: see hopeless. Else a cluster in which
//     every node is broken could never be mended, as one alone can't be Ready. Where containers run it first sees that one stay up.
//  2. A stale node that isn't Ready goes first: it is down already, and a mended spec may be what it waits for. So does one that lags,
//     where others of its pool can't be spared for that: see laggard.
//  3. Then observers, voters and the active controller last; then brokers. Each only if the quorum keeps a majority
//     that keeps up, and no partition falls under min.insync.replicas.
//
// The others' templates stay as they are, so a pod evicted meanwhile comes back as it was.
func Roll(s Snapshot) RollStep {
	s.Nodes = slices.DeleteFunc(slices.Clone(s.Nodes), func(n Node) bool { return n.Leaving }) // it holds nothing
	var stale []Node
	for _, n := range s.Nodes {
		if n.Stale() && !n.Refused {
			stale = append(stale, n)
		}
	}
	if len(stale) == 0 {
		return s.lastOnes()
	}
	slices.SortStableFunc(stale, func(a, b Node) int { return s.rank(a) - s.rank(b) })
	if n, ok := s.returning(); ok && planted.Bug != planted.RollGoesOn {
		for _, m := range stale {
			if (n.Pod == nil || n.Pod.Broken == "" || planted.Bug == planted.BadTemplateSpreads) && s.hopeless(m) && (m.Pod.Broken != "" || n.runs(s.Now)) {
				return RollStep{Do: RollDelete, Node: m}
			}
		}
		if rest := s.rest(stale); len(rest) > 0 {
			return RollStep{Do: RollBatch, Node: rest[0], Batch: rest}
		}
		return s.awaits(n)
	}
	n := stale[0]
	switch {
	case n.Pod == nil: // its template isn't the wanted one, or it were returning
		return RollStep{Do: RollRetemplate, Node: n}
	case n.Pod.Terminating:
		return RollStep{Do: RollWait, Node: n, Why: n.Name + " to stop"}
	case n.Pod.Broken != "" || s.hopeless(n):
		return RollStep{Do: RollDelete, Node: n}
	case !n.Pod.Ready && s.Now.Sub(n.Pod.Created) < Settling:
		return RollStep{Do: RollWait, Node: n, Why: n.Name + " to start"}
	}
	why := s.CantSpare(n)
	if why == "" && !n.Pod.Ready {
		return RollStep{Do: RollDelete, Node: n}
	}
	if m, ok := s.laggard(n, stale); ok {
		return s.unlessUnreached(RollStep{Do: RollDelete, Node: m})
	}
	if why != "" {
		return RollStep{Do: RollWait, Node: n, Why: fmt.Sprintf("%s can't be spared: %s", n.Name, why)}
	}
	if why := s.behind(); why != "" && !n.Controller && n.Has != n.Want {
		return RollStep{Do: RollWait, Node: n, Why: why}
	}
	if batch := s.together(n, stale); len(batch) > 1 {
		return s.unlessUnreached(RollStep{Do: RollBatch, Node: n, Batch: batch})
	}
	return s.unlessUnreached(RollStep{Do: RollEvict, Node: n})
}

// unlessUnreached is a step, or the wait for a broker that what the step's node leads may move to.
func (s Snapshot) unlessUnreached(step RollStep) RollStep {
	if m, ok := s.unreached(step.Node); ok && planted.Bug != planted.UnreachedLeads {
		return RollStep{Do: RollWait, Node: m, Why: m.Name + " to be reached by its Services"}
	}
	return step
}

// awaits is the step while a node that was taken down isn't back.
func (s Snapshot) awaits(n Node) RollStep {
	return RollStep{Do: RollWait, Node: n, Why: n.Name + s.others(n) + " to come back with its new template" + n.trouble(s.Now), Stopped: n.failing(s.Now)}
}

// lastOnes is the end of a roll: those that it took down last are still to come back.
func (s Snapshot) lastOnes() RollStep {
	for _, n := range s.Nodes {
		if !n.Up() && !n.Refused && s.restarts(n.ID) {
			return s.awaits(n)
		}
	}
	return RollStep{Do: RollDone}
}

// returning finds a node whose template is the wanted one and that isn't Ready; one whose old pod still runs isn't it.
// Of several, one that doesn't come back is found first.
func (s Snapshot) returning() (Node, bool) {
	first := -1
	for i, n := range s.Nodes {
		switch {
		case !n.comesBack():
		case n.failing(s.Now):
			return n, true
		case first < 0:
			first = i
		}
	}
	if first < 0 {
		return Node{}, false
	}
	return s.Nodes[first], true
}

// unreached finds another broker that has been Ready for so short a time that clients and followers may still be refused: what this one leads
// is about to move there, too.
func (s Snapshot) unreached(than Node) (Node, bool) {
	for _, n := range s.Nodes {
		if !than.Broker || !n.Broker || n.ID == than.ID || !n.Up() {
			continue
		}
		if since := s.Now.Sub(n.Pod.ReadySince); since < Reached && since > -Reached { // another clock's, which may be wrong by more
			return n, true
		}
	}
	return Node{}, false
}

func (n Node) comesBack() bool {
	oldRuns := n.Pod != nil && n.Pod.stale(n.Want) && !n.Pod.Terminating
	return n.Has == n.Want && !n.Up() && !oldRuns && !n.Refused
}

// runs tells whether a pod has stayed up, if not Ready, for long enough to show that its template is no worse than another.
func (n Node) runs(now time.Time) bool {
	return n.Pod != nil && !n.Pod.Terminating && n.Pod.Broken == "" && now.Sub(n.Pod.Created) >= Settling
}

// others counts who comes back beside a node: " and 3 more".
func (s Snapshot) others(than Node) string {
	more := 0
	for _, n := range s.Nodes {
		if n.comesBack() && n.ID != than.ID {
			more++
		}
	}
	if more == 0 {
		return ""
	}
	return fmt.Sprintf(" and %d more", more)
}

// hopeless tells whether a node has nothing to lose by a restart: its container doesn't run and won't (a place that
// can't be found is no fault of the template: after a drain the pod shall come back as it was), or it hasn't been Ready for its
// time while the quorum has no leader. Where nobody answers that isn't known: it takes longer, and no controller that is Ready.
func (s Snapshot) hopeless(n Node) bool {
	if n.Pod == nil || n.Pod.Terminating || n.Pod.Ready || n.Pod.Broken == Unschedulable {
		return false
	}
	unready := s.Now.Sub(n.Pod.Created)
	if n.Pod.ReadySince.After(n.Pod.Created) {
		unready = s.Now.Sub(n.Pod.ReadySince)
	}
	leaderless := s.Quorum != nil && s.Quorum.Leader < 0 && unready > Settling
	silent := s.Quorum == nil && unready > blind && !slices.ContainsFunc(s.Nodes, func(m Node) bool { return m.Controller && m.Up() })
	return n.Pod.Broken != "" || leaderless || silent
}

// Stale tells whether a node's StatefulSet or pod is of another template than the spec asks for, or the pod is to be
// restarted for its own sake.
func (n Node) Stale() bool { return n.Has != n.Want || n.Pod != nil && n.Pod.stale(n.Want) }

func (p *Pod) stale(want string) bool { return p.Hash != want || p.Restart && !p.Terminating }

// Up tells whether a node's pod is there, Ready and staying.
func (n Node) Up() bool { return n.Pod != nil && n.Pod.Ready && !n.Pod.Terminating }

// trouble is what is known to keep a node down, in brackets; "" for nothing.
func (n Node) trouble(now time.Time) string {
	switch {
	case n.Stuck(now):
		return " (its pod doesn't stop: its Kubernetes node is lost, or hangs)"
	case n.Pod == nil && !n.Podless.IsZero():
		return " (its StatefulSet has made no pod)"
	case n.Pod == nil:
		return ""
	case n.Pod.Terminating && n.Pod.Broken == "":
		return " (its pod terminates)"
	case n.Pod.Broken == "":
		return ""
	}
	return " (" + n.Pod.Broken + ")"
}

// failing: it had its time, or can't come back by itself.
func (n Node) failing(now time.Time) bool {
	if n.Pod == nil {
		return !n.Podless.IsZero() && now.Sub(n.Podless) > time.Minute
	}
	return n.Stuck(now) || !n.Pod.Terminating && (n.Pod.Broken != "" || now.Sub(n.Pod.Created) > time.Minute)
}

// Stuck tells whether a pod terminates and should have ended a minute ago: the machine it is on is gone, or hangs.
func (n Node) Stuck(now time.Time) bool {
	return n.Pod != nil && n.Pod.Terminating && !n.Pod.StopBy.IsZero() && now.Sub(n.Pod.StopBy) > time.Minute
}

// placeless tells whether a pod has had no place for a minute: the machine with its volume is gone, or full.
func (n Node) placeless(now time.Time) bool {
	return n.Pod != nil && !n.Pod.Terminating && n.Pod.Broken == Unschedulable && now.Sub(n.Pod.Created) > time.Minute
}

// restarts tells whether a roll has taken a node down and it may come back by itself: no clock runs for it.
func (s Snapshot) restarts(id int32) bool {
	taken := s.Restarting == id || slices.ContainsFunc(s.Batch, func(b BatchPod) bool { return b.Node == id && !b.Back })
	return taken && !slices.ContainsFunc(s.Nodes, func(n Node) bool { return n.ID == id && (n.Stuck(s.Now) || n.placeless(s.Now)) })
}

// rank orders a roll: lower goes first.
func (s Snapshot) rank(n Node) int {
	switch {
	case n.Pod != nil && n.Pod.Broken != "":
		return 0
	case !n.Up():
		return 1
	case !n.Controller && planted.Bug == planted.BrokersFirst:
		return 2
	case n.Has == n.Want && n.Pod.Hash != n.Want: // its turn had begun when the operator stopped
		return 2
	case n.Controller && (s.Quorum == nil || !s.Quorum.Voter(n.ID)):
		return 3
	case n.Controller && s.Quorum.Leader != n.ID && planted.Bug != planted.LeaderAnyTime:
		return 4
	case n.Controller:
		return 5
	default:
		return 6
	}
}
