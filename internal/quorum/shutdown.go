package quorum

// shutdownPhase is how far a graceful leave has come.
type shutdownPhase int8

const (
	notShuttingDown shutdownPhase = iota
	shuttingDown
	shutDown
)

// beginShutdown starts to leave. A leader first takes no more writes and waits, bounded, until another voter has all it
// has, so that the successor need not truncate nor catch up; then it resigns. Elections are no longer started, votes
// still given.
func (q *Quorum) beginShutdown() {
	if q.shutdown != notShuttingDown {
		return
	}
	q.shutdown = shuttingDown
	if q.role == Leader {
		q.leave()
	}
}

// leave hands over to whoever is caught up. A transfer whose target isn't yet is over: waiting for that one, and naming it
// first, could cost an election.
func (q *Quorum) leave() {
	if !q.leader.handover && planted != transferOutlivesLeaving {
		q.endTransfer(BrokerNotAvailable, "the leader is leaving: the most caught-up voter follows it")
	}
	q.beginHandover()
}

// beginHandover makes a leader take no more records, and resign once a successor has all there are, or at the deadline.
func (q *Quorum) beginHandover() {
	q.leader.handover, q.leader.handoverDeadline = true, q.now+q.cfg.HandoverTimeout
}

// pollShutdown completes the leave once nobody needs this node: an observer, the only voter, or a remote leader is known.
func (q *Quorum) pollShutdown() {
	if q.shutdown != shuttingDown {
		return
	}
	remote := q.election.LeaderID >= 0 && q.election.LeaderID != q.local.ID
	leaves := q.role == Leader || q.role == Resigned && len(q.resigned.toTell) > 0 // though voted out, it has a successor to name
	if !q.isVoter() && !leaves || q.soleVoter() || remote {
		q.shutdown = shutDown
		q.out.emit(ShutdownComplete{})
	}
}
