package plan

import (
	"fmt"
	"strings"
	"time"

	"github.com/kraft-dev/kraft-operator/controllers/plan/planted"
)

// HibernateStep is the next step towards a cluster that rests.
type HibernateStep struct {
	Do    HibernateAction
	Nodes []Node // of HibernateStop: a batch, which may stop at once
	What  string // the batch in words: "brokers 1000, 1001"
	Why   string // of HibernateWait: what it waits for
}

// HibernateAction is what a step does.
type HibernateAction int

// The actions. Stopping a node is its StatefulSet without replicas; claims and Services stay.
const (
	HibernateDone HibernateAction = iota // nothing runs
	HibernateWait                        // the batch before isn't gone yet
	HibernateStop
)

// stuckAfter is how long past its grace period a pod that terminates is waited for before the next batch stops: its
// Kubernetes node is lost, and it serves nobody.
const stuckAfter = 15 * time.Second

// Hibernate says which nodes stop next: brokers, then controllers that observe, then voters, the active controller
// last. Each batch stops at once and is gone before the next one begins, so that brokers hand their last words to a
// quorum that stands, and the voters end with equal logs. Where there never was a leader, there is no order to keep among
// controllers.
func Hibernate(s Snapshot) HibernateStep {
	stuck := ""
	for _, batch := range s.batches() {
		step := HibernateStep{Do: HibernateStop, What: batch.String()}
		waits := ""
		for _, n := range batch.nodes {
			switch {
			case !n.Stopped:
				step.Nodes = append(step.Nodes, n)
			case n.Pod == nil:
			case n.Pod.Terminating && s.Now.Sub(n.Pod.StopBy) > stuckAfter && planted.Bug != planted.StuckForEver:
				stuck = n.Name + " to be gone: its grace period is over, so its Kubernetes node may be lost"
			case waits == "":
				waits = n.Name + " to stop"
			}
		}
		if len(step.Nodes) > 0 && (waits == "" || batch.ordered) {
			step.What = nodeBatch{noun: batch.noun, nodes: step.Nodes}.String()
			return step
		}
		if waits != "" {
			return HibernateStep{Do: HibernateWait, What: step.What, Why: waits}
		}
	}
	if stuck != "" {
		return HibernateStep{Do: HibernateWait, What: "the rest", Why: stuck}
	}
	return HibernateStep{}
}

// nodeBatch is nodes that stop together.
type nodeBatch struct {
	noun  string
	nodes []Node
	// ordered: all of them may stop now. The controllers of a quorum without a leader aren't: where some have been
	// stopped already, the others may be the last one.
	ordered bool
}

func (s Snapshot) batches() []nodeBatch {
	q := s.Quorum
	leaderless := q == nil || q.Leader < 0
	out := []nodeBatch{
		{noun: "broker", ordered: true}, {noun: "observer", ordered: true},
		{noun: "voter", ordered: !leaderless || planted.Bug == planted.AnyOrder}, {noun: "active controller", ordered: true},
	}
	for _, n := range s.Nodes {
		i := 0
		switch {
		case !n.Controller:
		case leaderless:
			i = 2
		case q.Leader == n.ID && planted.Bug != planted.LeaderWithVoters:
			i = 3
		case q.Voter(n.ID):
			i = 2
		default:
			i = 1
		}
		out[i].nodes = append(out[i].nodes, n)
	}
	return out
}

// String is "broker 1000", "voters 0, 2", or with many nodes "brokers 1000, 1001, 1002, 1003 and 46 more".
func (b nodeBatch) String() string {
	const most = 6
	var ids []string
	for i, n := range b.nodes {
		if i == most-2 && len(b.nodes) > most {
			return fmt.Sprintf("%ss %s and %d more", b.noun, strings.Join(ids, ", "), len(b.nodes)-i)
		}
		ids = append(ids, fmt.Sprint(n.ID))
	}
	plural := "s "
	if len(ids) == 1 {
		plural = " "
	}
	return b.noun + plural + strings.Join(ids, ", ")
}
