package quorum

// handleUpdateVoter takes a voter's word on its own endpoints and versions. With kraft.version 1 that becomes a voters
// record, answered before it is committed: waiting would block the sender's only connection, and with it the fetches
// that commit. With kraft.version 0 it is kept in memory, for the upgrade to 1.
//
// INVALID_REQUEST makes an Apache Kafka sender exit (pitfall 31), so it is left to what Kafka itself answers so.
func (q *Quorum) handleUpdateVoter(r Request, m *UpdateVoterRequest) {
	err := q.updateVoterRefused(m)
	if err == NoError && q.history.kraftVersion() >= 1 {
		set, changed := q.voters().Updated(m.Voter)
		if planted == updateTakesKey && !changed {
			set, changed = q.voters().updatedByID(m.Voter)
		}
		if changed {
			q.note(NoteInfo, "voter %s has new endpoints or versions", m.Voter.Key)
			q.proposeVoters(set)
		}
	}
	if err == NoError {
		if q.history.kraftVersion() < 1 {
			q.leader.told, _ = q.leader.told.updatedByID(m.Voter)
		}
		q.countForCheckQuorum(m.Voter.Key)
	}
	q.reply(r, &UpdateVoterResponse{q.answer(r.Listener, NoError, err)})
}

func (q *Quorum) updateVoterRefused(m *UpdateVoterRequest) ErrorCode {
	if m.ClusterID != nil && q.cfg.ClusterID != "" && *m.ClusterID != q.cfg.ClusterID {
		return InconsistentClusterID
	}
	if err := q.checkLeader(m.Epoch); err != NoError {
		return err
	}
	if q.shutdown != notShuttingDown || q.leader.handover {
		return BrokerNotAvailable
	}
	supported := m.Voter.Supported
	_, reachable := m.Voter.Endpoint(q.cfg.Listener)
	if m.Voter.Key.ID < 0 || m.Voter.Key.DirectoryID.IsZero() || !reachable || supported.Min < 0 || supported.Max < supported.Min {
		return InvalidRequest
	}
	level := q.history.kraftVersion()
	if refused := q.changeRefused(); refused.code != NoError && (level >= 1 || refused.code != UnsupportedVersion) {
		return refused.code
	}
	if !supported.Contains(level) {
		return InvalidRequest
	}
	v, ok := q.voters().ByID(m.Voter.Key.ID)
	if !ok || level >= 1 && v.Key != m.Voter.Key && planted != updateTakesKey {
		return VoterNotFound
	}
	return NoError
}

// selfAsVoter is this node's entry as it should be.
func (q *Quorum) selfAsVoter() Voter {
	return Voter{Key: q.local, Endpoints: q.cfg.Endpoints, Supported: q.cfg.KRaftVersions}
}

// pollVoterSet is what a follower has to say to its leader about the voter set, each fetch timeout, starting one after
// it became a follower: a voter that its entry is out of date, an observer that it wants to vote (auto_join.go). It reports
// whether the connection to the leader is to be kept for that, so no fetch goes out before.
func (q *Quorum) pollVoterSet() bool {
	f := &q.follower
	if f.voterSetAt > q.now || q.shutdown != notShuttingDown || len(q.cfg.Endpoints) == 0 {
		return false
	}
	m := q.voterSetMessage()
	if m == nil {
		f.voterSetAt = q.now + q.cfg.FetchTimeout
		return false
	}
	to, ok := q.leaderNode()
	if !ok {
		return false
	}
	if !q.conns.ready(to.ID) {
		return true
	}
	f.voterSetAt = q.now + q.cfg.FetchTimeout
	q.send(to, m)
	return true
}

func (q *Quorum) voterSetMessage() Message {
	if !q.isVoter() {
		return q.joinMessage()
	}
	mine, _ := q.voters().ByID(q.local.ID)
	if planted == moveUntold {
		return nil
	}
	if q.history.kraftVersion() >= 1 && mine.sameAs(q.selfAsVoter()) || q.history.kraftVersion() < 1 && q.follower.toldLeader {
		return nil
	}
	return &UpdateVoterRequest{ClusterID: q.clusterID(), Epoch: q.election.Epoch, Voter: q.selfAsVoter()}
}

func (q *Quorum) handleUpdateVoterResponse(resp *UpdateVoterResponse) bool {
	if q.role != Follower || resp.Error != NoError && resp.Error != UnsupportedVersion {
		return false
	}
	q.follower.toldLeader = true
	q.follower.fetchDeadline = q.now + q.cfg.FetchTimeout
	return true
}
