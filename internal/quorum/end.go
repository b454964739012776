package quorum

import (
	"slices"
	"time"
)

// handleEnd hears that the leader has resigned, and when to campaign.
func (q *Quorum) handleEnd(r Request, m *EndQuorumEpochRequest) {
	answer := func(top, err ErrorCode) {
		q.reply(r, &EndQuorumEpochResponse{q.answer(r.Listener, top, err)})
	}
	if top := q.checkRequest(r, m.ClusterID); top != NoError {
		answer(top, NoError)
		return
	}
	if err := q.checkSender(m.Leader.LeaderID, m.Leader.Epoch); err != NoError && planted != oldEndHeard {
		answer(NoError, err)
		return
	}
	q.adopt(m.Leader, m.Endpoints)
	answer(NoError, NoError)
	ended := m.Leader == (LeaderAndEpoch{q.election.LeaderID, q.election.Epoch})
	if q.role == Follower && (ended || planted == oldEndHeard) {
		q.leaderResigned(m.Successors)
	}
}

// leaderResigned is a follower's reaction to the end of its leader.
//
// It forgets that it has fetched, so that it grants pre-votes at once (KAFKA-20895: Apache Kafka 4.3 does not, and
// with five voters the first successor loses its round). The first successor skips the pre-vote: it deposes nobody,
// and it does so once an epoch. All others wait their turn, with jitter, and pre-vote.
func (q *Quorum) leaderResigned(successors []ReplicaKey) {
	f := &q.follower
	first := !f.leaderResigned
	f.leaderResigned = true
	position := slices.IndexFunc(successors, func(k ReplicaKey) bool {
		return k.ID == q.local.ID && (k.DirectoryID.IsZero() || k.DirectoryID == q.local.DirectoryID)
	})
	if planted == emptyListCampaign && len(successors) == 0 {
		position = 0
	}
	if (position == 0 || planted == secondInLineCampaigns && position > 0) && first && q.mayElect() && !q.emptyForVotes() && q.shutdown == notShuttingDown {
		q.note(NoteInfo, "first successor of leader %d: candidate of epoch %d", q.election.LeaderID, q.election.Epoch+1)
		q.becomeCandidate()
		return
	}
	if position < 0 {
		position = len(successors)
	}
	f.fetchDeadline = q.now + endBackoff(position, len(successors), q.cfg.ElectionBackoffMax) + q.endJitter()
}

// endBackoff is how long the follower at a position of a list of n waits: nothing for the first, then doubling up to
// most, which is also for whoever is not listed. An empty list lets everyone go at once.
func endBackoff(position, n int, most time.Duration) time.Duration {
	switch {
	case position == 0:
		return 0
	case position >= n:
		return most
	case n-1 >= 40 || position-1 >= 40:
		return most
	}
	return min(most, (most.Truncate(time.Millisecond)/time.Millisecond>>(n-1))<<(position-1)*time.Millisecond)
}
