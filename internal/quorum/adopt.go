package quorum

// adopt takes over what a peer says about who leads which epoch, as far as it is news. What contradicts this node's
// knowledge (two leaders in one epoch, this node as a leader it is not) is reported and not acted on.
func (q *Quorum) adopt(l LeaderAndEpoch, endpoints []Endpoint) {
	e := &q.election
	switch {
	case l.Epoch < e.Epoch || q.replacing:
	case l.LeaderID >= 0 && l.LeaderID == q.local.ID:
		q.adoptSelf(l.Epoch)
	case l.Epoch > e.Epoch:
		q.adoptNewEpoch(l, endpoints)
	case l.LeaderID < 0:
	case e.LeaderID >= 0 && e.LeaderID != l.LeaderID:
		q.note(NoteError, "two leaders in epoch %d: %d and, by a peer's word, %d; keeping to the first", e.Epoch, e.LeaderID, l.LeaderID)
	default:
		q.adoptLeader(l, endpoints)
	}
}

// adoptNewEpoch enters a higher epoch, with its leader where that can be reached.
func (q *Quorum) adoptNewEpoch(l LeaderAndEpoch, endpoints []Endpoint) {
	if l.LeaderID < 0 {
		q.becomeUnattached(l.Epoch)
		return
	}
	if len(endpoints) == 0 {
		endpoints = q.endpointsOf(l.LeaderID)
	}
	if len(endpoints) == 0 {
		q.note(NoteWarn, "leader %d of epoch %d has no known address", l.LeaderID, l.Epoch)
		q.becomeUnattached(l.Epoch)
		return
	}
	q.becomeFollower(l, endpoints)
}

// adoptLeader handles a leader of the current epoch: unknown until now, or known with fewer addresses.
func (q *Quorum) adoptLeader(l LeaderAndEpoch, endpoints []Endpoint) {
	if len(endpoints) == 0 {
		endpoints = q.endpointsOf(l.LeaderID)
	}
	known := q.election.LeaderID == l.LeaderID
	if known && q.role == Follower && q.follower.unreached && len(endpoints) > 0 {
		q.leaderEndpoints = endpoints // hearsay, but where it was thought to be it did not answer
		return
	}
	if known && len(endpoints) <= len(q.leaderEndpoints) || len(endpoints) == 0 {
		return
	}
	if q.role == Follower {
		q.leaderEndpoints = endpoints // the same leader, better known; its timers go on
		return
	}
	q.becomeFollower(l, endpoints)
}

// adoptSelf: a peer says this node leads. True of a leader, and of one that resigned or was restarted. For a higher
// epoch it is about an earlier life of this node id whose disk is gone: the epoch is taken over, the claim is not.
func (q *Quorum) adoptSelf(epoch Epoch) {
	if epoch > q.election.Epoch {
		q.note(NoteWarn, "a peer names this node leader of epoch %d, of which this disk knows nothing", epoch)
		q.becomeUnattached(epoch)
	}
}

// leaderIsAt takes a leader's own word on where it is. Another may have passed on an address from an old voter set.
func (q *Quorum) leaderIsAt(l LeaderAndEpoch, endpoints []Endpoint) {
	if q.role != Follower || l != (LeaderAndEpoch{q.election.LeaderID, q.election.Epoch}) || len(endpoints) == 0 {
		return
	}
	is, _ := findEndpoint(endpoints, q.cfg.Listener)
	if was, ok := findEndpoint(q.leaderEndpoints, q.cfg.Listener); !ok || was.Host != is.Host || was.Port != is.Port {
		q.leaderEndpoints = endpoints
	}
}

func (q *Quorum) leaderUnreached(to Node) {
	if q.role == Follower && to.ID == q.election.LeaderID {
		q.follower.unreached = true
	}
}
