package quorum

// sendBegins announces the leader to voters that have not fetched for half a fetch timeout. Only fetching stops it; an
// acknowledgement stops it until the next tick.
func (q *Quorum) sendBegins() {
	l := q.leader
	half := q.cfg.FetchTimeout / 2
	if l.beginTick <= q.now {
		l.beginTick = q.now + half
		for id, p := range l.replicas.voters {
			if id != q.local.ID && (!p.fetched || q.now-p.lastFetch >= half) {
				l.begin[id] = true
			}
		}
	}
	if len(l.begin) == 0 {
		return
	}
	for _, v := range l.replicas.set.Voters() {
		if !l.begin[v.Key.ID] || !q.conns.ready(v.Key.ID) {
			continue
		}
		q.sendBegin(v)
	}
}

func (q *Quorum) sendBegin(v Voter) {
	to, ok := q.voterNode(v)
	if !ok {
		return
	}
	if r := &q.leader.reads; r.sent != nil {
		r.sent[v.Key.ID] = r.round
	}
	q.send(to, &BeginQuorumEpochRequest{
		ClusterID: q.clusterID(), Voter: v.Key,
		Leader: LeaderAndEpoch{q.local.ID, q.election.Epoch}, Endpoints: q.cfg.Endpoints,
	})
}

func (q *Quorum) handleBeginResponse(c connection, resp *BeginQuorumEpochResponse) bool {
	if resp.Error != NoError {
		return false
	}
	if q.role == Leader {
		delete(q.leader.begin, c.to.ID)
		q.readAcknowledged(c.to.ID)
	}
	return true
}

// handleBegin follows the leader that announces itself. The receiver's key is checked last, so that a node the leader
// knows under another directory id follows it all the same.
func (q *Quorum) handleBegin(r Request, m *BeginQuorumEpochRequest) {
	answer := func(top, err ErrorCode) {
		q.reply(r, &BeginQuorumEpochResponse{q.answer(r.Listener, top, err)})
	}
	if top := q.checkRequest(r, m.ClusterID); top != NoError {
		answer(top, NoError)
		return
	}
	if err := q.checkSender(m.Leader.LeaderID, m.Leader.Epoch); err != NoError {
		answer(NoError, err)
		return
	}
	q.adopt(m.Leader, m.Endpoints)
	q.leaderIsAt(m.Leader, m.Endpoints)
	if planted == beginProvesLife && q.role == Follower {
		q.follower.fetchDeadline = q.now + q.cfg.FetchTimeout
	}
	answer(NoError, q.checkReceiver(m.Voter))
}
