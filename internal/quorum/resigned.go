package quorum

// resignedState is an ex-leader that tells the others, or a leader that was restarted.
type resignedState struct {
	successors []ReplicaKey
	toTell     map[NodeID]bool // voters that have not acknowledged
}

// becomeResigned gives up leadership within the epoch. Nothing is written: the file still says who led.
// Parked fetches stay parked until a successor is known or their time is over (see fetch_leader.go).
func (q *Quorum) becomeResigned(successors []ReplicaKey) {
	q.hw = UnknownOffset
	q.enter(Resigned)
	q.electionDeadline = q.now + q.electionTimeout()
	q.resigned = resignedState{successors: successors, toTell: map[NodeID]bool{}}
	for _, v := range q.voters().Voters() {
		if v.Key.ID != q.local.ID {
			q.resigned.toTell[v.Key.ID] = true
		}
	}
}

func (q *Quorum) pollResigned() {
	if q.electionDeadline <= q.now && q.shutdown == notShuttingDown && q.election.Epoch < 1<<31-1 {
		q.becomeUnattached(q.election.Epoch + 1)
		return
	}
	if len(q.resigned.toTell) == 0 {
		return
	}
	for _, v := range q.voters().Voters() {
		if !q.resigned.toTell[v.Key.ID] || !q.conns.ready(v.Key.ID) {
			continue
		}
		if to, ok := q.voterNode(v); ok {
			q.send(to, &EndQuorumEpochRequest{
				ClusterID: q.clusterID(), Leader: LeaderAndEpoch{q.local.ID, q.election.Epoch},
				Successors: q.resigned.successors, Endpoints: q.cfg.Endpoints,
			})
		}
	}
}

func (q *Quorum) handleEndResponse(c connection, resp *EndQuorumEpochResponse) bool {
	if resp.Error != NoError {
		return false
	}
	if q.role == Resigned {
		delete(q.resigned.toTell, c.to.ID)
	}
	return true
}
