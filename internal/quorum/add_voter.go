package quorum

import "fmt"

// handleAddVoter begins to add a voter. It is asked for its supported versions of kraft.version first, and must have
// caught up as an observer: a voter that lags would hold the high watermark back.
func (q *Quorum) handleAddVoter(r Request, m *AddVoterRequest) {
	to, refused := q.addVoterRefused(m)
	if refused.code != NoError {
		q.reply(r, &AddVoterResponse{Error: refused.code, Text: refused.text})
		return
	}
	c := &voterChange{
		request: r, voter: Voter{Key: m.Voter, Endpoints: m.Endpoints}, ackWhenCommitted: m.AckWhenCommitted,
		offset: UnknownOffset, deadline: q.now + q.cfg.RequestTimeout,
	}
	q.leader.change = c
	q.send(to, &ApiVersionsRequest{})
	c.probe = q.conns.correlation
}

func (q *Quorum) addVoterRefused(m *AddVoterRequest) (to Node, r refusal) {
	if r = q.checkChange(m.ClusterID); r.code != NoError {
		return to, r
	}
	if m.Voter.ID < 0 || m.Voter.DirectoryID.IsZero() {
		return to, refusal{InvalidRequest, fmt.Sprintf("voter %s: a node id and a directory id are needed", m.Voter)}
	}
	e, ok := Voter{Endpoints: m.Endpoints}.Endpoint(q.cfg.Listener)
	if !ok {
		return to, refusal{InvalidRequest, fmt.Sprintf("voter %s has no endpoint for listener %s", m.Voter, q.cfg.Listener)}
	}
	if r = q.changeRefused(); r.code != NoError {
		return to, r
	}
	if v, ok := q.voters().ByID(m.Voter.ID); ok {
		return to, refusal{DuplicateVoter, fmt.Sprintf("node %d is a voter already, as %s", m.Voter.ID, v.Key)}
	}
	if !q.conns.ready(m.Voter.ID) {
		return to, refusal{RequestTimedOut, fmt.Sprintf("voter %s can't be asked yet", m.Voter)}
	}
	return Node{ID: m.Voter.ID, Host: e.Host, Port: e.Port}, refusal{}
}

// handleProbe goes on with the addition once the new voter has named its versions. It reports whether it may be asked
// again at once.
func (q *Quorum) handleProbe(c connection, m *ApiVersionsResponse) bool {
	if !q.probing(c.correlation) {
		return true
	}
	q.leader.change.probe = 0
	voter, level := &q.leader.change.voter, q.history.kraftVersion()
	p := q.leader.replicas.observers[voter.Key]
	switch {
	case m.Error != NoError:
		q.abortChange(refusal{RequestTimedOut, fmt.Sprintf("voter %s answered ApiVersions with %s", voter.Key, m.Error)})
		return false
	case m.KRaftVersion == nil || !m.KRaftVersion.Contains(level):
		q.abortChange(refusal{InvalidRequest, fmt.Sprintf("voter %s does not support kraft.version %d", voter.Key, level)})
	case p == nil || !p.caughtUp || q.now-p.lastFetch >= caughtUpWithin:
		q.abortChange(refusal{RequestTimedOut, fmt.Sprintf("voter %s has not caught up with the leader: it must run, as an observer under this key, first", voter.Key)})
	default:
		voter.Supported = *m.KRaftVersion
		q.note(NoteInfo, "adding voter %s to %s", voter.Key, q.voters())
		q.proposeVoters(q.voters().With(*voter))
	}
	return true
}

// probeFailed: no answer from the new voter.
func (q *Quorum) probeFailed(correlation uint64, code ErrorCode) {
	if q.probing(correlation) {
		q.abortChange(refusal{RequestTimedOut, fmt.Sprintf("voter %s could not be asked for its versions: %s", q.leader.change.voter.Key, code)})
	}
}

func (q *Quorum) probing(correlation uint64) bool {
	return q.role == Leader && q.leader.change != nil && q.leader.change.probe == correlation
}
