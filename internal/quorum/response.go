package quorum

// handleResponse applies the rules common to all answers, then those of the RPC. A destination whose answer brought
// nothing new is left alone for the back-off: no error may turn into a busy loop.
func (q *Quorum) handleResponse(correlation uint64, m Message) {
	c, ok := q.conns.take(correlation)
	if !ok {
		return
	}
	moves := q.moves
	if !q.dispatchResponse(c, m) && q.moves == moves {
		q.backOff(c.to)
	}
}

// handleSendFailed turns a transport failure into the answer that it stands for.
func (q *Quorum) handleSendFailed(ev SendFailed) {
	code := BrokerNotAvailable
	switch ev.Failure {
	case VersionMismatch:
		code = UnsupportedVersion
	case AuthenticationFailed:
		code = NetworkException
	}
	c, ok := q.conns.take(ev.Correlation)
	if !ok {
		return
	}
	moves := q.moves
	if ev.Failure == Disconnected || ev.Failure == Refused {
		q.leaderUnreached(c.to)
		q.unreachable(c.to)
	}
	if _, ok := c.request.(*FetchSnapshotRequest); ok {
		q.onFetchTimeout(c.to)
	}
	if isFetch(c.request) && ev.Failure == Refused && q.role == Follower && c.to.ID == q.election.LeaderID {
		q.leaderRefused()
	}
	if _, ok := c.request.(*VoteRequest); ok && ev.Failure == Refused && q.early != nil {
		q.tally.votes[c.to.ID] = false
	}
	if vote, ok := c.request.(*VoteRequest); ok && vote.PreVote && code == UnsupportedVersion {
		q.preVoteUnsupported()
	}
	switch c.request.(type) {
	case *ApiVersionsRequest:
		q.probeFailed(ev.Correlation, code)
	case *UpdateVoterRequest:
		if code == UnsupportedVersion { // it has no such API: an answer, like the error
			q.handleUpdateVoterResponse(&UpdateVoterResponse{Answer{Error: UnsupportedVersion}})
		}
	}
	if q.moves == moves {
		q.backOff(c.to)
	}
}

// dispatchResponse reports whether the destination may be asked again at once.
func (q *Quorum) dispatchResponse(c connection, m Message) bool {
	switch resp := m.(type) {
	case *ApiVersionsResponse:
		return q.handleProbe(c, resp)
	case *AddVoterResponse:
		return q.handleJoinResponse(resp.Error, resp.Text)
	case *RemoveVoterResponse:
		return q.handleJoinResponse(resp.Error, resp.Text)
	}
	r, ok := m.(response)
	if !ok {
		return false
	}
	if vote, ok := c.request.(*VoteRequest); ok && vote.PreVote && r.Common().TopError == UnsupportedVersion {
		q.preVoteUnsupported()
		return false
	}
	common := *r.Common()
	if _, ok := m.(*UpdateVoterResponse); ok && common.Error == UnsupportedVersion {
		common.Error = NoError // an answer, not a failure: pitfall 31
	}
	if !q.commonResponse(c, &common) {
		return false
	}
	switch resp := m.(type) {
	case *VoteResponse:
		if req, ok := c.request.(*VoteRequest); ok {
			return q.handleVoteResponse(c, req, resp)
		}
	case *BeginQuorumEpochResponse:
		return q.handleBeginResponse(c, resp)
	case *EndQuorumEpochResponse:
		return q.handleEndResponse(c, resp)
	case *FetchResponse:
		if req, ok := c.request.(*FetchRequest); ok {
			return q.handleFetchResponse(req, resp)
		}
	case *FetchSnapshotResponse:
		if req, ok := c.request.(*FetchSnapshotRequest); ok {
			return q.handleFetchSnapshotResponse(req, resp)
		}
	case *UpdateVoterResponse:
		return q.handleUpdateVoterResponse(resp)
	}
	return false
}

// commonResponse adopts the peer's leader and epoch and reports whether the RPC's own rules come next.
func (q *Quorum) commonResponse(c connection, a *Answer) bool {
	if a.TopError != NoError {
		level := NoteWarn
		if a.TopError == BrokerNotAvailable {
			level = NoteDebug
		}
		if a.TopError == InconsistentClusterID && planted != strangerKept {
			q.unreachable(c.to)
		}
		q.note(level, "node %d (%s:%d) answered %s to %T", c.to.ID, c.to.Host, c.to.Port, a.TopError, c.request)
		return false
	}
	if a.Error == InvalidVoterKey {
		q.unreachable(c.to) // another node, or another disk
	}
	epoch := q.election.Epoch
	q.notTheLeader(c, a)
	endpoints := q.endpointIn(a)
	switch {
	case planted == lateAnswers && a.Leader.Epoch < epoch:
		return true
	case a.Leader.Epoch < epoch || a.Error == UnknownLeaderEpoch:
		return false // its news are older than ours
	case a.Leader.Epoch > epoch || a.Error == FencedLeaderEpoch || a.Error == NotLeaderOrFollower:
		q.adopt(a.Leader, endpoints)
		return false
	case a.Leader.LeaderID >= 0 && (q.election.LeaderID < 0 || q.role == Unattached):
		// News, or the address of a leader of which only the id was known.
		q.adopt(a.Leader, endpoints)
		return a.Error == NoError
	case a.Leader.LeaderID >= 0 && a.Leader.LeaderID != q.election.LeaderID:
		q.adopt(a.Leader, endpoints) // a contradiction, reported there
		return false
	case a.Error == NoError, endsDownload(c.request, a.Error):
		return true
	}
	level := NoteWarn
	if a.Error == BrokerNotAvailable {
		level = NoteDebug
	} else if a.Error == InvalidRequest {
		level = NoteError // ours was malformed, or theirs is broken
	}
	q.note(level, "node %d answered %s to %T", c.to.ID, a.Error, c.request)
	return false
}

// endsDownload: errors that say that this snapshot can't be had from the leader.
func endsDownload(request Message, err ErrorCode) bool {
	_, ok := request.(*FetchSnapshotRequest)
	return ok && (err == SnapshotNotFound || err == PositionOutOfRange)
}

// endpointIn is the leader's address in an answer, under the listener it was asked for.
func (q *Quorum) endpointIn(a *Answer) []Endpoint {
	if a.Endpoint.ID < 0 || a.Endpoint.ID != a.Leader.LeaderID {
		return nil
	}
	return []Endpoint{{Listener: q.cfg.Listener, Host: a.Endpoint.Host, Port: a.Endpoint.Port}}
}

// preVoteUnsupported: a voter too old for pre-votes (Vote v0 and v1) must be asked for the vote itself. Not while
// everybody's pre-vote guards the formation.
func (q *Quorum) preVoteUnsupported() {
	if q.role == Prospective && !q.emptyForVotes() {
		q.becomeCandidate()
	}
}
