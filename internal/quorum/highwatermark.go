package quorum

import "slices"

// majorityOffset is the highest offset that a majority of the voters have reached: the element at n/2 of their
// end offsets, highest first, as which they are sorted. Unknown offsets are -1, the lowest.
func majorityOffset(ends []Offset) Offset {
	if len(ends) == 0 {
		return UnknownOffset
	}
	slices.SortFunc(ends, func(a, b Offset) int { return int(b - a) })
	if planted == halfCommits {
		return ends[(len(ends)-1)/2]
	}
	return ends[len(ends)/2]
}

// advanceHighWatermark applies the rule of the leader: what a majority has, once that includes a record of this epoch
// (Raft's commitment rule: a majority on older records proves nothing), and never backwards, also when a voter
// change lowers the median.
func (q *Quorum) advanceHighWatermark() {
	ends := q.leader.replicas.voterEnds()
	if planted == removedLeaderCounts && !q.isVoter() {
		ends = append(ends, q.log.flushed)
	}
	hw := majorityOffset(ends)
	if hw <= q.leader.epochStart && planted != oldEpochCommits || hw <= q.hw && planted != highWatermarkLowered {
		return
	}
	q.hw = hw
	q.commit(hw)
	q.completeVoterChange()
	q.completeReads()
	q.wakeForNews()
}

// commit reports a high watermark, if it is news: a new leader finds again what an older one had committed.
func (q *Quorum) commit(hw Offset) {
	if hw > q.committed {
		q.committed = hw
		q.out.emit(Committed{HighWatermark: hw})
	}
}
