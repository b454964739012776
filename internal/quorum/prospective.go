package quorum

// becomeProspective asks whether an election could be won before it disturbs anyone (KIP-996). Nothing is written:
// the epoch, the vote and the known leader stay.
func (q *Quorum) becomeProspective() {
	if q.role == Resigned {
		q.hw = UnknownOffset
		q.election.LeaderID, q.leaderEndpoints = None, nil
	}
	q.enter(Prospective)
	q.electionDeadline = q.now + q.electionTimeout()
	q.tally = q.newTally()
}

func (q *Quorum) pollProspective() {
	switch {
	case !q.mayElect():
		q.becomeUnattached(q.election.Epoch)
	case q.tally.won():
		q.becomeCandidate()
	case q.tally.lost(), q.electionDeadline <= q.now && q.shutdown == notShuttingDown:
		q.leaveProspective()
	default:
		q.askForVotes(true)
	}
}

// leaveProspective goes back to the leader it came from, if that can be reached, else looks for one.
func (q *Quorum) leaveProspective() {
	if q.election.LeaderID >= 0 && q.election.LeaderID != q.local.ID && len(q.leaderEndpoints) > 0 {
		if !q.resumeFollowing() {
			q.enter(Follower)
			q.follower = q.newFollower()
		}
		return
	}
	q.becomeUnattached(q.election.Epoch)
}
