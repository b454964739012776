package quorum

import (
	"slices"
)

// Linearizable reads. A read that came to the leader sees all that was committed before, if this node still leads after the
// read has come. Two things prove that: a record appended since is committed; or a majority acknowledges a
// BeginQuorumEpoch of this epoch that was sent since. The second costs one round trip, is shared by all reads that wait, and
// needs no record. (An answered fetch would do as well, were it sure that the next fetch was sent after that answer; a
// fetch has no number to tell.)

// ReadIndex asks for a point up to which a linearizable read must see the log. The answer is ReadReady or ReadFailed with
// the same Token.
type ReadIndex struct{ Token uint64 }

// ReadReady: state that has everything below Offset applied answers the read linearizably.
type ReadReady struct {
	Token  uint64
	Offset Offset // exclusive
}

// ReadFailed: this node does not lead, or could not make sure in time.
type ReadFailed struct {
	Token uint64
	Error ErrorCode
}

func (ReadIndex) event()   {}
func (ReadReady) effect()  {}
func (ReadFailed) effect() {}

// maxReads bounds the reads that wait.
const maxReads = 4096

type pendingRead struct {
	token    uint64
	end      Offset // of the log when it came: a commit past it is proof
	round    uint64 // acknowledged by a majority: proof
	deadline Instant
}

// readState is the leader's. Rounds are numbered by their first read.
type readState struct {
	pending []pendingRead
	round   uint64            // newest asked for
	sent    map[NodeID]uint64 // round under way to a voter
	acked   map[NodeID]uint64
}

func (q *Quorum) readIndex(token uint64) {
	if q.role != Leader || len(q.leader.reads.pending) >= maxReads {
		code := NotLeaderOrFollower
		if q.role == Leader {
			code = RequestTimedOut
		}
		q.out.emit(ReadFailed{token, code})
		return
	}
	r := &q.leader.reads
	if r.sent == nil {
		r.sent, r.acked = map[NodeID]uint64{}, map[NodeID]uint64{}
	}
	r.round++
	r.pending = append(r.pending, pendingRead{token, q.log.end, r.round, q.now + q.cfg.RequestTimeout})
	q.completeReads()
}

// pollReads sends the rounds that reads wait for, and gives up those that waited too long.
func (q *Quorum) pollReads() {
	r := &q.leader.reads
	for len(r.pending) > 0 && r.pending[0].deadline <= q.now {
		q.out.emit(ReadFailed{r.pending[0].token, RequestTimedOut})
		r.pending = r.pending[1:]
	}
	if len(r.pending) == 0 {
		return
	}
	for _, v := range q.leader.replicas.set.Voters() {
		id := v.Key.ID
		if id == q.local.ID || r.acked[id] == r.round || !q.conns.ready(id) {
			continue
		}
		q.sendBegin(v)
	}
}

// readAcknowledged: a voter was in this epoch after the round was sent.
func (q *Quorum) readAcknowledged(id NodeID) {
	r := &q.leader.reads
	if r.sent[id] > r.acked[id] {
		r.acked[id] = r.sent[id]
		if planted == readOfAnEarlierRound {
			r.acked[id] = r.round
		}
		q.completeReads()
	}
}

// completeReads answers the reads that are proved.
func (q *Quorum) completeReads() {
	r := &q.leader.reads
	seen := q.hw
	if planted == readBeforeFirstCommit {
		seen = max(seen, q.committed)
	}
	if seen < 0 || len(r.pending) == 0 {
		return
	}
	round := q.acknowledgedRound()
	r.pending = slices.DeleteFunc(r.pending, func(p pendingRead) bool {
		proved := p.round <= round || seen > p.end || planted == readUnconfirmed
		if proved {
			q.out.emit(ReadReady{p.token, seen})
		}
		return proved
	})
}

// acknowledgedRound is the newest round that a majority has acknowledged; this node always has.
func (q *Quorum) acknowledgedRound() uint64 {
	r := &q.leader.reads
	var rounds []uint64
	for _, v := range q.leader.replicas.set.Voters() {
		if v.Key.ID == q.local.ID {
			rounds = append(rounds, r.round)
		} else {
			rounds = append(rounds, r.acked[v.Key.ID])
		}
	}
	slices.Sort(rounds)
	return rounds[len(rounds)-q.leader.replicas.set.Majority()]
}

func (q *Quorum) failReads() {
	for _, p := range q.leader.reads.pending {
		q.out.emit(ReadFailed{p.token, NotLeaderOrFollower})
	}
	q.leader.reads.pending = nil
}
