package quorum

// start applies the startup rules to what the disk holds (KIP-595): a restarted leader never leads again in its
// epoch, a restarted candidate asks again, and nobody forgets a vote.
func (q *Quorum) start() {
	if q.moves > 0 {
		return
	}
	if q.log.movedUp.Offset > 0 {
		q.out.emit(DropPrefix{Start: q.log.movedUp})
		q.history.dropPrefix(q.log.movedUp.Offset)
	}
	e := &q.election
	switch last := q.log.lastEpoch(); {
	case e.Epoch < last:
		q.note(NoteWarn, "quorum-state has epoch %d, the log has records of epoch %d: going on at the log's, without a vote", e.Epoch, last)
		*e = ElectionState{Epoch: last, LeaderID: None, Voted: NoReplica}
		q.startUnattached()
	case planted == restartedLeaderLeads && e.LeaderID >= 0 && e.LeaderID == q.local.ID:
		q.becomeLeader()
	case e.LeaderID >= 0 && e.LeaderID == q.local.ID:
		q.becomeResigned(nil)
	case q.votedForSelf() && e.LeaderID == None && last < e.Epoch && q.mayElect():
		q.enter(Candidate)
		q.startCandidacy()
	case e.LeaderID >= 0 && len(q.endpointsOf(e.LeaderID)) > 0:
		q.leaderEndpoints = q.endpointsOf(e.LeaderID)
		q.enter(Follower)
		q.follower = q.newFollower()
	default:
		q.startUnattached()
	}
	q.persist(true)
}

func (q *Quorum) startUnattached() {
	q.enter(Unattached)
	q.electionDeadline = Never
	if q.mayElect() {
		q.electionDeadline = q.now + q.electionTimeout()
	}
}

// votedForSelf: a vote stored without directory id matches any (quorum-state version 0 can't hold one).
func (q *Quorum) votedForSelf() bool {
	v := q.election.Voted
	return v.Known() && v.ID == q.local.ID && (v.DirectoryID.IsZero() || v.DirectoryID == q.local.DirectoryID)
}
