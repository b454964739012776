package quorum

// Routes are not identities. A voter's address stands in the voter set, and is mended there by UpdateRaftVoter, which needs a
// leader; so where the names of many voters changed at once, nobody could be elected any more. A route is another
// address for a node id, from this node's own configuration, tried in turn with the recorded one once that has failed. It
// proves nothing, and need not: Vote and BeginQuorumEpoch carry the receiver's id and directory id, Fetch is guarded by
// cluster id and epoch. With kraft.version 0 nothing proves a directory, so there routes are not taken.

// Routes replaces the routes: addresses by node id, from the configuration.
type Routes struct{ Nodes []Node }

func (Routes) event() {}

// routed returns where a node is to be reached next: at its recorded address, or by its route.
func (q *Quorum) routed(to Node, known bool) (Node, bool) {
	if !q.detour[to.ID] && known && planted != routeFirst {
		return to, true
	}
	if r, ok := q.routeTo(to.ID); ok {
		return r, true
	}
	return to, known
}

func (q *Quorum) routeTo(id NodeID) (Node, bool) {
	if q.history.kraftVersion() < 1 && planted != staticVotersRouted {
		return Node{}, false
	}
	for _, r := range q.cfg.Routes {
		if r.ID == id && !isOwn(q.cfg.Endpoints, r) {
			return r, true
		}
	}
	return Node{}, false
}

// unreachable notes that a request to a node brought no answer, or one of somebody else: next time the other way.
func (q *Quorum) unreachable(to Node) {
	if r, ok := q.routeTo(to.ID); ok {
		if q.detour == nil {
			q.detour = map[NodeID]bool{}
		}
		q.detour[to.ID] = to != r
	}
}

// notTheLeader: what answers in the leader's place, and knows of no later epoch, does not lead. It has resigned, or this is a route
// to somebody else, who would answer so for ever.
func (q *Quorum) notTheLeader(c connection, a *Answer) {
	refuses := a.Error == NotLeaderOrFollower || a.Error == UnknownLeaderEpoch
	if refuses && q.role == Follower && c.to.ID == q.election.LeaderID && a.Leader.Epoch <= q.election.Epoch && planted != wrongNodeKept {
		q.unreachable(c.to)
	}
}

// giveUpSilentVoters: an election round ends before its requests time out. Whoever was silent for most of it is asked the
// other way in the next.
func (q *Quorum) giveUpSilentVoters() {
	for _, c := range q.conns.list {
		if _, ok := c.request.(*VoteRequest); ok && c.correlation != 0 && q.now >= c.until-q.cfg.RequestTimeout+q.cfg.ElectionTimeout/2 {
			q.unreachable(c.to)
		}
	}
}
