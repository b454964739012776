package quorum

// tally counts one election among the voters of the set in force when it began.
type tally struct {
	voters VoterSet
	needed int
	votes  map[NodeID]bool // absent: no answer yet
}

// newTally begins with this node's own vote. An empty log while formation is safe needs everybody's.
func (q *Quorum) newTally() tally {
	t := tally{voters: q.voters(), votes: map[NodeID]bool{}}
	if t.voters.Contains(q.local) {
		t.votes[q.local.ID] = true
	}
	t.needed = t.voters.Majority()
	if planted == halfElects {
		t.needed = (t.voters.Len() + 1) / 2
	}
	if q.emptyForVotes() && planted != emptyLogMajority {
		t.needed = t.voters.Len()
	}
	return t
}

func (t *tally) count() (granted, rejected int) {
	for _, g := range t.votes {
		if g {
			granted++
		} else {
			rejected++
		}
	}
	return granted, rejected
}

func (t *tally) won() bool {
	granted, _ := t.count()
	return granted >= t.needed
}

// lost: the votes still out can't make it any more.
func (t *tally) lost() bool {
	_, rejected := t.count()
	return rejected > t.voters.Len()-t.needed
}

// granting returns the ids that granted, in order.
func (t *tally) granting() []NodeID {
	var ids []NodeID
	for _, id := range t.voters.IDs() {
		if t.votes[id] {
			ids = append(ids, id)
		}
	}
	return ids
}

// askForVotes sends to every voter whose answer is missing and whose connection is ready.
func (q *Quorum) askForVotes(preVote bool) {
	if q.tally.won() || q.tally.lost() {
		return
	}
	epoch := q.election.Epoch // pre-votes too: only a candidate enters the next
	if planted == preVoteOfNextEpoch && preVote {
		epoch++
	}
	for _, v := range q.tally.voters.Voters() {
		if _, answered := q.tally.votes[v.Key.ID]; answered || !q.conns.ready(v.Key.ID) {
			continue
		}
		if to, ok := q.voterNode(v); ok {
			q.send(to, &VoteRequest{
				ClusterID: q.clusterID(), Voter: v.Key, Candidate: q.local, Epoch: epoch,
				LastOffsetEpoch: q.log.lastEpoch(), LastOffset: q.log.end, PreVote: preVote,
			})
		}
	}
}

// handleVoteResponse records an answer; proceed has been decided by the common rules.
func (q *Quorum) handleVoteResponse(c connection, req *VoteRequest, resp *VoteResponse) bool {
	if resp.Error != NoError || req.Epoch != q.election.Epoch && planted != lateAnswers {
		return false
	}
	id := c.to.ID
	switch {
	case q.role == Prospective && req.PreVote:
		q.tally.votes[id] = resp.Granted
	case q.role == Candidate && !req.PreVote:
		if before, answered := q.tally.votes[id]; answered && before != resp.Granted {
			q.note(NoteError, "voter %d both granted and refused a vote in epoch %d: the first answer stands", id, req.Epoch)
			return true
		}
		q.tally.votes[id] = resp.Granted
	}
	return true
}
