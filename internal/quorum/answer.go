package quorum

import "strings"

func (q *Quorum) clusterID() *string {
	if q.cfg.ClusterID == "" {
		return nil
	}
	id := q.cfg.ClusterID
	return &id
}

// checkRequest is the first check of every RPC with a top-level error: the cluster, then the partition.
func (q *Quorum) checkRequest(r Request, clusterID *string) ErrorCode {
	if err := q.checkCluster(clusterID); err != NoError {
		return err
	}
	if r.BadPartition {
		return InvalidRequest
	}
	return NoError
}

// checkCluster: a request that names a cluster names this one.
func (q *Quorum) checkCluster(clusterID *string) ErrorCode {
	if clusterID != nil && q.cfg.ClusterID != "" && *clusterID != q.cfg.ClusterID {
		return InconsistentClusterID
	}
	return NoError
}

// checkSender is the voter-only check of Vote, BeginQuorumEpoch and EndQuorumEpoch. Whether the sender is in the
// voter set is not asked: this node's set may be the stale one (pitfall 12).
func (q *Quorum) checkSender(id NodeID, epoch Epoch) ErrorCode {
	switch {
	case epoch < q.election.Epoch:
		return FencedLeaderEpoch
	case id < 0:
		return InvalidRequest
	}
	return NoError
}

// checkReceiver is the voter-key check: the request was meant for this node on this disk.
func (q *Quorum) checkReceiver(key ReplicaKey) ErrorCode {
	if key.ID < 0 || key.ID == q.local.ID && (key.DirectoryID.IsZero() || key.DirectoryID == q.local.DirectoryID) {
		return NoError
	}
	return InvalidVoterKey
}

// checkLeader is the leader-only check of Fetch, FetchSnapshot and UpdateRaftVoter.
func (q *Quorum) checkLeader(epoch Epoch) ErrorCode {
	switch {
	case epoch < q.election.Epoch:
		return FencedLeaderEpoch
	case epoch > q.election.Epoch:
		return UnknownLeaderEpoch
	case q.role != Leader:
		return NotLeaderOrFollower
	}
	return NoError
}

// answer is the part all responses share: this node's leader and epoch, with the leader's address for the listener
// the request came in on. A leader without any address is not named: an Apache Kafka peer would exit over it.
func (q *Quorum) answer(listener string, top, err ErrorCode) Answer {
	a := Answer{TopError: top, Error: err, Leader: LeaderAndEpoch{None, q.election.Epoch}, Endpoint: Node{ID: None}}
	if top != NoError {
		a.Leader = LeaderAndEpoch{None, 0}
		return a
	}
	if id := q.election.LeaderID; id >= 0 {
		if e, ok := findEndpoint(q.endpointsOf(id), listener); ok || planted == leaderWithoutAddress {
			a.Leader.LeaderID = id
			a.Endpoint = Node{ID: id, Host: e.Host, Port: e.Port}
		}
	}
	return a
}

// leadsUnaware: the sender of this request is the leader it would be told of, and does not know it, because its disk was lost
// or is an old copy. An Apache Kafka peer exits when it hears that it leads; without the name it takes the epoch and waits.
func leadsUnaware(request Message, leader LeaderAndEpoch) bool {
	sender := None
	switch m := request.(type) {
	case *VoteRequest: // a leader asks for no votes in its own epoch
		sender = m.Candidate.ID
	case *FetchRequest:
		sender = m.Replica.ID
	case *FetchSnapshotRequest:
		sender = m.Replica.ID
	case *UpdateVoterRequest:
		sender = m.Voter.Key.ID
	case *BeginQuorumEpochRequest:
		if m.Leader.Epoch < leader.Epoch {
			sender = m.Leader.LeaderID
		}
	case *EndQuorumEpochRequest:
		if m.Leader.Epoch < leader.Epoch {
			sender = m.Leader.LeaderID
		}
	}
	return sender >= 0 && sender == leader.LeaderID
}

// endpointsOf returns the addresses known of a leader: as it announced itself, else as the voter set has it.
func (q *Quorum) endpointsOf(id NodeID) []Endpoint {
	if id == q.local.ID {
		return q.cfg.Endpoints
	}
	if id == q.election.LeaderID && len(q.leaderEndpoints) > 0 {
		return q.leaderEndpoints
	}
	v, _ := q.voters().ByID(id)
	return v.Endpoints
}

// findEndpoint prefers the listener asked for and falls back to the first: any address is better than none.
func findEndpoint(endpoints []Endpoint, listener string) (Endpoint, bool) {
	for _, e := range endpoints {
		if strings.EqualFold(e.Listener, listener) {
			return e, true
		}
	}
	if len(endpoints) > 0 {
		return endpoints[0], true
	}
	return Endpoint{}, false
}
