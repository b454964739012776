package quorum

// handleVote answers a vote or pre-vote.
func (q *Quorum) handleVote(r Request, m *VoteRequest) {
	answer := func(top, err ErrorCode, granted bool) {
		q.reply(r, &VoteResponse{q.answer(r.Listener, top, err), granted})
	}
	if top := q.checkRequest(r, m.ClusterID); top != NoError {
		answer(top, NoError, false)
		return
	}
	if m.LastOffset < 0 || m.LastOffsetEpoch < 0 || m.LastOffsetEpoch > m.Epoch || !m.PreVote && m.LastOffsetEpoch == m.Epoch {
		answer(NoError, InvalidRequest, false)
		return
	}
	if err := q.checkSender(m.Candidate.ID, m.Epoch); err != NoError {
		answer(NoError, err, false)
		return
	}
	q.releaseFetch(m.Candidate.ID)
	if m.Epoch > q.election.Epoch {
		q.becomeUnattached(m.Epoch) // by a pre-vote as well
	}
	if err := q.checkReceiver(m.Voter); err != NoError {
		answer(NoError, err, false)
		return
	}
	granted := q.mayGrant(m) && (planted != membersOnly || q.voters().Contains(m.Candidate))
	switch {
	case granted && !m.PreVote:
		q.castVote(m.Candidate)
	case granted && q.blank:
		q.blankPromise(m)
	case granted && q.role == Follower:
		q.follower.yieldEarly(q)
	}
	answer(NoError, NoError, granted)
}

// mayGrant decides a well-formed request of the current epoch.
func (q *Quorum) mayGrant(m *VoteRequest) bool {
	if q.replacing || q.blank && m.LastOffset > 0 && planted != blankVotes {
		return false // this disk has forgotten what it promised: formation.go
	}
	if q.blank && !m.PreVote && !q.blankPromised(m) {
		return false
	}
	upToDate := q.log.upToDate(m.LastOffsetEpoch, m.LastOffset)
	if m.PreVote {
		switch q.role {
		case Leader:
			return false
		case Follower:
			return upToDate && (planted == preVoteUnderLeader || !q.follower.hasFetched || q.follower.leaderResigned || q.follower.leaderGone())
		}
		return upToDate
	}
	if q.role != Unattached && q.role != Prospective {
		return false
	}
	if q.election.LeaderID == m.Candidate.ID {
		return false // it has won this epoch already, and does not know it: an old copy of its disk came back
	}
	if voted := q.election.Voted; voted.Known() && planted != secondVote {
		return voted.ID == m.Candidate.ID && (voted.DirectoryID.IsZero() || voted.DirectoryID == m.Candidate.DirectoryID)
	}
	return q.election.LeaderID < 0 && upToDate
}

// castVote makes a vote durable (the answer waits for it in the outbox) and gives the candidate time: the election
// timer starts anew. Requests under way stay.
func (q *Quorum) castVote(candidate ReplicaKey) {
	if q.election.Voted.Known() {
		return
	}
	q.election.Voted = candidate
	q.persist(planted != voteNotSynced)
	if q.mayElect() {
		q.electionDeadline = q.now + q.electionTimeout()
	}
	if q.role == Prospective {
		q.tally = q.newTally()
	}
}
