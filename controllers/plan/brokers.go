package plan

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/kraft-dev/kraft-operator/controllers/plan/planted"
)

// BrokerGoal is what the spec asks of the pool of brokers.
type BrokerGoal struct {
	Brokers int
	// ReplaceAfter is how long a broker may be lost before another takes its place; 0: for ever.
	ReplaceAfter time.Duration
}

// BrokerStep is the next step towards the right brokers.
type BrokerStep struct {
	Do   BrokerAction
	Node Node
	Lost bool   // it is about a lost broker
	Busy bool   // of BrokersWait: a broker is on its way out, and nothing else is done meanwhile
	Why  string // the reason; of BrokersHeld and BrokersWait: what is in the way
}

// BrokerAction is what a step does.
type BrokerAction int

// The steps. More brokers are not among them: they join by themselves.
const (
	BrokersDone    BrokerAction = iota
	BrokersHeld                 // the spec has no place for a broker that holds replicas
	BrokersWait                 // something must come first
	BrokersStop                 // an empty broker: its pod is stopped, its StatefulSet stays
	BrokersReturn               // a stopped one is needed, or has been given replicas: start it again
	BrokersLeave                // stopped and empty: unregister it, and take it off the pool
	BrokersReplace              // lost for too long: take it off the pool, a new id takes its place
)

// Brokers is the next step towards the right brokers: a lost one is replaced first; one whose replacement has to wait keeps nobody in the
// pool. held is of fewer brokers that are refused, if that isn't the step itself.
func Brokers(s Snapshot, goal BrokerGoal) (step, held BrokerStep) {
	step = Replace(s, goal)
	if step.Do == BrokersReplace {
		return step, held
	}
	switch fewer := Shrink(s, goal); {
	case step.Do == BrokersDone:
		step = fewer
	case fewer.Do == BrokersHeld:
		held = fewer
	case fewer.Do != BrokersDone && (fewer.Do != BrokersWait || fewer.Busy):
		step = fewer
	}
	return step, held
}

// Shrink says how brokers that the spec has no place for leave: the highest id first, one at a time, and only if no
// partition has a replica on it, which is asked again after it has stopped: a fenced broker gets no new ones.
func Shrink(s Snapshot, goal BrokerGoal) BrokerStep {
	brokers := s.brokerPool()
	i := slices.IndexFunc(brokers, func(n Node) bool { return n.Leaving })
	if i < 0 && len(brokers) <= goal.Brokers {
		return BrokerStep{}
	}
	n := brokers[len(brokers)-1]
	if planted.Bug == planted.LowestLeaves {
		n = brokers[0]
	}
	if i >= 0 {
		n = brokers[i]
	}
	wait := func(why string) BrokerStep { // one that never stops, as its machine is gone, holds nobody up
		return BrokerStep{Do: BrokersWait, Node: n, Busy: n.Leaving && !n.Stuck(s.Now), Why: why}
	}
	switch {
	case i >= 0 && len(brokers) <= goal.Brokers:
		return BrokerStep{Do: BrokersReturn, Node: n, Why: fmt.Sprintf("spec.brokers.replicas is %d", goal.Brokers)}
	case s.Quorum == nil || s.Quorum.Leader < 0:
		return wait("the quorum to have a leader")
	case s.Partitions == nil:
		return wait("a broker that keeps up with the quorum to answer for the topics")
	}
	holds := s.Partitions.Holds(n.ID)
	switch {
	case i >= 0 && holds != "" && planted.Bug != planted.AskedOnce:
		return BrokerStep{Do: BrokersReturn, Node: n, Why: "it was given replicas while it stopped: " + holds}
	case holds != "" && planted.Bug != planted.HolderLeaves:
		return BrokerStep{Do: BrokersHeld, Node: n, Why: holds}
	case i < 0:
		return BrokerStep{Do: BrokersStop, Node: n, Why: fmt.Sprintf("spec.brokers.replicas is %d", goal.Brokers)}
	case (n.Pod != nil || !n.Stopped) && planted.Bug != planted.RunningLeaves:
		return wait(n.Name + " to stop" + n.trouble(s.Now))
	case slices.Contains(s.Partitions.Unfenced, n.ID):
		return wait(fmt.Sprintf("the quorum to fence broker %d", n.ID))
	}
	return BrokerStep{Do: BrokersLeave, Node: n, Why: fmt.Sprintf("spec.brokers.replicas is %d", goal.Brokers)}
}

func (s Snapshot) brokerPool() (out []Node) {
	for _, n := range s.Nodes {
		if n.Broker && !n.Controller {
			out = append(out, n)
		}
	}
	return out
}

// Holds says which replicas a broker has: "12 replicas (orders-0, orders-3, … and 7 more)"; "" for none.
func (p *Partitions) Holds(id int32) string {
	count, names := p.On(id)
	if count == 0 {
		return ""
	}
	text := strings.Join(names, ", ")
	if more := count - len(names); more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	if count == 1 {
		return "1 replica (" + text + ")"
	}
	return fmt.Sprintf("%d replicas (%s)", count, text)
}

// On counts a broker's replicas, and names up to Examples of their partitions.
func (p *Partitions) On(id int32) (count int, names []string) {
	for _, set := range p.Sets {
		if slices.Contains(set.Replicas, id) {
			count += set.Count
			names = append(names, set.Examples...)
		}
	}
	slices.Sort(names)
	return count, names[:min(len(names), Examples)]
}

// Examples bounds the partitions that are named.
const Examples = 5

// LostBroker is a broker that is fenced and doesn't run, and since when the operator has seen it so.
type LostBroker struct {
	ID    int32
	Since time.Time
}

// templateFaults are states of a container that a new node of the same template would be in as well.
var templateFaults = []string{"ImagePullBackOff", "ErrImagePull", "ErrImageNeverPull", "InvalidImageName", "CreateContainerConfigError"}

// ClockBrokers says which brokers are lost and since when. No clock runs while none is to be replaced, the operator is
// paused or restarts that node, the node is stopped on purpose, or nobody answers. One that returns is no longer lost.
func ClockBrokers(s Snapshot, goal BrokerGoal) (out []LostBroker) {
	switch {
	case goal.ReplaceAfter <= 0 || s.Paused && planted.Bug != planted.BrokerPauseCounts:
		return nil
	case s.Quorum == nil || s.Quorum.Leader < 0 || s.Partitions == nil:
		return s.Lost // as it was: if it lasts, it begins anew
	}
	unwatched := s.Now.Sub(s.LastAnswer) > Unwatched
	for _, n := range s.brokerPool() {
		if !s.lost(n) {
			continue
		}
		l := LostBroker{ID: n.ID, Since: s.Now}
		if i := slices.IndexFunc(s.Lost, func(o LostBroker) bool { return o.ID == n.ID }); i >= 0 && !unwatched {
			l.Since = s.Lost[i].Since
		}
		out = append(out, l)
	}
	return out
}

func (s Snapshot) lost(n Node) bool {
	fault := n.Pod != nil && slices.Contains(templateFaults, n.Pod.Broken)
	return !n.Up() && !n.Stopped && !n.Leaving && !s.restarts(n.ID) && !fault && !slices.Contains(s.Partitions.Unfenced, n.ID)
}

// Replace says which lost broker's place is taken: the longest lost one, one at a time. One that has the only in-sync
// replica of a partition isn't replaced, as its disk is all that is left of that; the next one is.
func Replace(s Snapshot, goal BrokerGoal) BrokerStep {
	if goal.ReplaceAfter <= 0 || s.Quorum == nil || s.Quorum.Leader < 0 || s.Partitions == nil {
		return BrokerStep{}
	}
	after := goal.ReplaceAfter
	if planted.Bug == planted.BrokerBlip {
		after = 0
	}
	var held BrokerStep
	lost := slices.Clone(s.Lost)
	slices.SortStableFunc(lost, func(a, b LostBroker) int { return a.Since.Compare(b.Since) })
	for _, l := range lost {
		i := slices.IndexFunc(s.Nodes, func(n Node) bool { return n.ID == l.ID })
		if i < 0 || s.Now.Sub(l.Since) < after || !s.lost(s.Nodes[i]) {
			continue
		}
		step := BrokerStep{Do: BrokersReplace, Lost: true, Node: s.Nodes[i], Why: fmt.Sprintf("it is lost for %s", goal.ReplaceAfter)}
		if only := s.onlyReplica(l.ID, lost); only != "" && planted.Bug != planted.LastCopyReplaced {
			step.Do = BrokersWait
			step.Why = fmt.Sprintf("broker %d, lost for %s, to come back, or that topic to be deleted: no other in-sync replica of %s is left", l.ID, goal.ReplaceAfter, only)
			if held.Do == BrokersDone {
				held = step
			}
			continue
		}
		for _, n := range s.brokerPool() {
			long := func(o LostBroker) bool { return o.ID == n.ID && s.Now.Sub(o.Since) >= after }
			if !n.Up() && !n.Leaving && !slices.ContainsFunc(lost, long) && planted.Bug != planted.ReplacedTogether { // such as the one that took the last one's place
				step.Do, step.Why = BrokersWait, fmt.Sprintf("%s to be Ready, before broker %d, lost for %s, is replaced", n.Name, l.ID, goal.ReplaceAfter)
				return step
			}
		}
		return step
	}
	return held
}

// onlyReplica names a partition whose in-sync replicas are all on brokers that are lost or not there any more, one of them this; "" for none.
func (s Snapshot) onlyReplica(id int32, lost []LostBroker) string {
	for _, set := range s.Partitions.Sets {
		if !slices.Contains(set.Replicas, id) {
			continue
		}
		left := slices.ContainsFunc(set.ISR, func(r int32) bool {
			there := slices.ContainsFunc(s.Nodes, func(n Node) bool { return n.ID == r })
			return r != id && there && !slices.ContainsFunc(lost, func(l LostBroker) bool { return l.ID == r })
		})
		if !left {
			return set.Examples[0]
		}
	}
	return ""
}
