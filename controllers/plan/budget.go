package plan

import (
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
	for _, n := range pool {
		if n.Up() && s.CantSpare(n) != "" && planted.Bug != planted.BudgetBlind {
			return 0
		}
	}
	return 1
}
