package quorum

// joinMessage is an observer controller's wish to vote, if it is set to join by itself (KIP-1186): the key that
// stands under its node id is removed first, since ids are unique among voters; then it has itself added. It does not
// wait for the commit: that may need its own fetch, and its only connection to the leader would be waiting.
func (q *Quorum) joinMessage() Message {
	if !q.cfg.AutoJoin && planted != joinsUnasked || !q.cfg.Controller || q.replacing || q.history.kraftVersion() < 1 {
		return nil
	}
	if v, ok := q.voters().ByID(q.local.ID); ok {
		return &RemoveVoterRequest{ClusterID: q.clusterID(), Voter: v.Key}
	}
	return &AddVoterRequest{ClusterID: q.clusterID(), Voter: q.local, Endpoints: q.cfg.Endpoints, AckWhenCommitted: planted == joinWaits}
}

// handleJoinResponse: what was done, or may have been, is looked at again a period later; anything else backs off.
func (q *Quorum) handleJoinResponse(err ErrorCode, text string) bool {
	if q.role != Follower {
		return false
	}
	switch err {
	case NoError, DuplicateVoter, VoterNotFound:
	case RequestTimedOut:
		q.note(NoteInfo, "not a voter yet: %s", text)
	default:
		q.note(NoteWarn, "the leader refuses this node as a voter: %s %s", err, text)
		return false
	}
	q.follower.voterSetAt = q.now + q.cfg.FetchTimeout
	return true
}
