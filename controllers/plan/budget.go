package plan

import (
	"fmt"
	"slices"

	"github.com/kraft-dev/kraft-operator/controllers/plan/planted"
)

// Budget is how many pods of a pool may be down by eviction: 1, or 0 while one more absence would cost the quorum its
// majority or a partition its min.insync.replicas. While nobody answers it is 0: careful, as a drain can wait.
//
// While a batch of brokers is under way it is 0 too: the batch's own pods are outside of it, as they are proved safe
// together, and nothing may be added to them.
//
// A pool of one node is allowed its eviction: nothing can hold it up, and a drain would wait for ever.
func Budget(s Snapshot, in func(Node) bool) int {
	var pool []Node
	for _, n := range s.Nodes {
		if in(n) {
			pool = append(pool, n)
		}
	}
	if len(pool) <= 1 {
		return 1
	}
	if s.BatchOpen() && slices.ContainsFunc(pool, s.InBatch) && planted.Bug != planted.BudgetStaysOpen {
		return 0
	}
	if _, why := s.unspared(in); why != "" && planted.Bug != planted.BudgetBlind {
		return 0
	}
	return 1
}

// unspared finds a running node of a pool that can't be spared, and says why; "" for none.
func (s Snapshot) unspared(in func(Node) bool) (Node, string) {
	for _, n := range s.Nodes {
		if !in(n) || !n.Up() {
			continue
		}
		if why := s.CantSpare(n); why != "" {
			return n, why
		}
	}
	return Node{}, ""
}

// Shut says for whose sake a node's pool allows no eviction now; "" when it does, or for another reason.
func (s Snapshot) Shut(n Node) string {
	m, why := s.unspared(n.samePool)
	if why == "" {
		return ""
	}
	return fmt.Sprintf("%s can't be spared: %s", m.Name, why)
}

func (n Node) samePool(m Node) bool { return m.Controller == n.Controller }

// laggard finds a node that a roll has to restart out of its turn: in the pool of the one whose turn it is others can't be spared, so that
// their budget is shut, and this one lags, which may be why. Nobody depends on it. Without that a template that makes a node lag could
// neither be mended nor taken back. It goes past its budget, which counts who is down; so that is counted here: what is reported as in sync,
// or as fetching, may have stopped since.
func (s Snapshot) laggard(turn Node, stale []Node) (Node, bool) {
	if _, why := s.unspared(turn.samePool); why == "" || planted.Bug == planted.LaggardWaits {
		return Node{}, false
	}
	for _, n := range stale {
		if turn.samePool(n) && n.Up() && (s.lags(n) || planted.Bug == planted.AnyForLaggard) && s.CantSpare(n) == "" && (s.bears(n) || planted.Bug == planted.LaggardUnborne) {
			return n, true
		}
	}
	return Node{}, false
}

// bears tells whether the quorum keeps its majority, and every partition its min.insync.replicas, without a node and without all that are down.
func (s Snapshot) bears(n Node) bool {
	if n.Controller && s.Quorum.Voter(n.ID) {
		left := 0
		for _, v := range s.Quorum.Voters {
			up := slices.ContainsFunc(s.Nodes, func(m Node) bool { return m.ID == v.ID && m.Up() }) // else its last fetch is a moment old, at best
			if v.ID != n.ID && up && s.Quorum.KeepsUp(v) {
				left++
			}
		}
		if left < len(s.Quorum.Voters)/2+1 {
			return false
		}
	}
	return !n.Broker || s.slack().bears(n.ID)
}

// lags tells whether a node is a voter that doesn't keep up, or has a replica that isn't in sync.
func (s Snapshot) lags(n Node) bool {
	voter := n.Controller && s.Quorum != nil && slices.ContainsFunc(s.Quorum.Voters, func(v Replica) bool { return v.ID == n.ID && !s.Quorum.KeepsUp(v) })
	return voter || n.Broker && s.Partitions != nil && slices.ContainsFunc(s.Partitions.Sets, func(set ReplicaSet) bool {
		return slices.Contains(set.Replicas, n.ID) && !slices.Contains(set.ISR, n.ID)
	})
}
