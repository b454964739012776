package quorum

// becomeUnattached enters a higher epoch whose leader is not known, or, from Prospective, gives up in the same epoch.
//
// The election timer goes on where it ran: a chatty candidate must not be able to put elections off (pitfall 10).
// Whoever had no election timer, or lost a pre-vote, gets a new one.
func (q *Quorum) becomeUnattached(epoch Epoch) {
	deadline := q.electionDeadline
	switch {
	case !q.mayElect():
		deadline = Never
	case !q.isVoter() && q.role == Prospective: // no leader calls on it: it must have time to look for one (mayElect)
		deadline = q.now + q.electionTimeout()
	case q.role == Leader, q.role == Follower, q.role == Prospective && q.tally.lost(), deadline == Never:
		deadline = q.now + q.electionTimeout()
	}
	if q.role == Leader || q.role == Resigned {
		q.hw = UnknownOffset
	}
	bumped := epoch > q.election.Epoch
	if bumped {
		q.election = ElectionState{Epoch: epoch, LeaderID: None, Voted: NoReplica}
		q.leaderEndpoints = nil
	}
	q.enter(Unattached)
	q.electionDeadline = deadline
	if bumped {
		q.persist(planted != epochNotSynced)
	}
}

func (q *Quorum) pollUnattached() {
	if q.mayElect() {
		if q.electionDeadline == Never { // it has just become a voter
			q.electionDeadline = q.now + q.electionTimeout()
		}
		if q.electionDeadline <= q.now && q.shutdown == notShuttingDown {
			q.becomeProspective()
			return
		}
	}
	q.pollFetch()
}
