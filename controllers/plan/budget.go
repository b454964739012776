package plan

// Budget is how many pods of a pool may be down by eviction: 1, or 0 while one more absence would cost the quorum its
// majority or a partition its min.insync.replicas. While nobody answers it is 0: careful, as a drain can wait.
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
	for _, n := range pool {
		if n.Up() && s.CantSpare(n) != "" {
			return 0
		}
	}
	return 1
}
