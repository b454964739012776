package sim

import "github.com/kraft-dev/kraft-operator/internal/quorum"

// What makes an Apache Kafka node exit (KIP-595, KIP-853; raft module): the unhandled errors of its one I/O thread. Nothing
// of the kind may be sent, whoever the receiver is. INVALID_REQUEST, contradictory leaders and leaders without an address
// are checked in check.go, for every answer.

// answerBears checks an answer against what its receiver knows.
func (c *checker) answerBears(n *node, to call, m quorum.Message) {
	from := c.w.nodes[to.from]
	if to.incarnation != from.incarnation || !from.up || from == n {
		return
	}
	if r, ok := m.(interface{ Common() *quorum.Answer }); ok {
		c.namesReceiver(n, from, r.Common())
	}
	switch m := m.(type) {
	case *quorum.FetchResponse:
		if m.Error == quorum.NoError {
			c.fetchBears(n, from, to.request.(*quorum.FetchRequest), m)
		}
	case *quorum.FetchSnapshotResponse:
		req := to.request.(*quorum.FetchSnapshotRequest)
		if m.Error == quorum.NoError && (m.ID != req.ID || m.Position != req.Position || len(m.Data) == 0 || m.Position+int64(len(m.Data)) > m.Size) {
			c.fail("n%d answers a fetch of snapshot %s from %d with %d bytes of %s from %d, of %d", n.id, req.ID, req.Position, len(m.Data), m.ID, m.Position, m.Size)
		}
	case *quorum.VoteResponse:
		c.takesBack(n, to.request.(*quorum.VoteRequest), m)
	}
}

// namesReceiver: a node does not take the word of others that it leads.
func (c *checker) namesReceiver(n, from *node, a *quorum.Answer) {
	if int(a.Leader.LeaderID) != from.id {
		return
	}
	if s := from.q.Status(); s.Epoch < a.Leader.Epoch || s.Epoch == a.Leader.Epoch && s.Role != quorum.Leader && s.Role != quorum.Resigned {
		c.fail("n%d tells n%d that it leads epoch %d, it is %s of epoch %d", n.id, from.id, a.Leader.Epoch, s.Role, s.Epoch)
	}
}

// takesBack: a voter that granted a vote refuses it to the same candidate when asked again, though he has not won yet.
func (c *checker) takesBack(n *node, req *quorum.VoteRequest, m *quorum.VoteResponse) {
	if req.PreVote || m.Granted || m.Error != quorum.NoError || m.Leader.Epoch != req.Epoch || m.Leader.LeaderID >= 0 {
		return
	}
	if l, won := c.leaders[req.Epoch]; won && l == int(req.Candidate.ID) {
		return
	}
	if to, voted := c.votes[vote{n.key(), req.Epoch}]; voted && to == req.Candidate.ID {
		c.fail("n%d takes back the vote that n%d has in epoch %d", n.id, req.Candidate.ID, req.Epoch)
	}
}

// fetchBears: records continue the follower's log, in epochs that ascend to the leader's; a divergence doesn't reach below
// its high watermark, which itself doesn't fall; a snapshot is ahead of its log.
func (c *checker) fetchBears(n, from *node, req *quorum.FetchRequest, m *quorum.FetchResponse) {
	if m.Diverging != nil && m.Snapshot != nil || len(m.Data) > 0 && m.Snapshot != nil {
		c.fail("n%d answers a fetch with a snapshot and more", n.id)
	}
	if req.FetchOffset != from.end() || req.LastFetchedEpoch != from.lastEpoch() {
		return // from before it began another log
	}
	end := from.end()
	switch {
	case m.Diverging != nil:
		c.divergenceBears(n, from, *m.Diverging)
		return
	case m.Snapshot != nil:
		id := *m.Snapshot
		if ahead := id.Epoch > req.LastFetchedEpoch || id.Epoch == req.LastFetchedEpoch && id.Offset > req.FetchOffset; id.Offset <= 0 || id.Epoch < 0 || !ahead {
			c.fail("n%d sends n%d to snapshot %s, its log ends at %d with epoch %d", n.id, from.id, id, req.FetchOffset, req.LastFetchedEpoch)
		}
		return
	}
	ids, ok := c.w.decode(m.Data)
	if !ok && !(n.real != nil && n.real.faults.rotten()) {
		c.fail("n%d sends n%d bytes that no leader wrote", n.id, from.id)
	}
	epoch := req.LastFetchedEpoch
	for _, id := range ids {
		b := c.w.batches[id].info
		if b.Base != end || b.Epoch < epoch || b.Epoch > m.Leader.Epoch {
			c.fail("n%d of epoch %d sends n%d a batch of epoch %d at offset %d after epoch %d, to offset %d", n.id, m.Leader.Epoch, from.id, b.Epoch, b.Base, epoch, end)
		}
		epoch, end = b.Epoch, b.Last+1
	}
	if hw := min(m.HighWatermark, end); m.HighWatermark >= 0 && hw < from.committed {
		c.fail("n%d tells n%d of a high watermark of %d, it has %d", n.id, from.id, m.HighWatermark, from.committed)
	}
}

// divergenceBears computes where Kafka's follower would cut its log.
func (c *checker) divergenceBears(n, from *node, d quorum.OffsetAndEpoch) {
	to, epoch := quorum.Offset(0), quorum.Epoch(0)
	for _, id := range from.disk.log { // its own end offset for that epoch
		b := c.w.batches[id].info
		if b.Epoch > d.Epoch {
			break
		}
		to, epoch = b.Last+1, b.Epoch
	}
	if d.Epoch == 0 || epoch == d.Epoch {
		to = min(to, d.Offset)
	}
	if d.Epoch < 0 || d.Offset < 0 || to < from.committed {
		c.fail("n%d's divergence %d/%d lets n%d cut its log at %d, below its high watermark %d", n.id, d.Offset, d.Epoch, from.id, to, from.committed)
	}
}

// requestBears checks what a request says of its sender.
func (c *checker) requestBears(n *node, e quorum.Send) {
	if int(e.To.ID) == n.id {
		c.fail("n%d sends %T to itself", n.id, e.Message)
	}
	switch m := e.Message.(type) {
	case *quorum.EndQuorumEpochRequest:
		if l, ok := c.leaders[m.Leader.Epoch]; !ok || l != int(m.Leader.LeaderID) {
			c.fail("n%d ends epoch %d of n%d, its leader is n%d (%v)", n.id, m.Leader.Epoch, m.Leader.LeaderID, l, ok)
		}
		if len(m.Endpoints) == 0 {
			c.fail("n%d ends its epoch without an address", n.id)
		}
	case *quorum.FetchRequest:
		if m.FetchOffset < 0 || m.MaxWait < 0 {
			c.fail("n%d fetches from %d, waiting %s", n.id, m.FetchOffset, m.MaxWait)
		}
	case *quorum.FetchSnapshotRequest:
		if m.Position < 0 || m.ID.Offset <= 0 {
			c.fail("n%d fetches snapshot %s from %d", n.id, m.ID, m.Position)
		}
	case *quorum.VoteRequest:
		if m.LastOffset < 0 || m.LastOffsetEpoch < 0 || m.PreVote && m.LastOffsetEpoch > m.Epoch {
			c.fail("n%d asks for votes (pre %v) in epoch %d with a log to %d of epoch %d", n.id, m.PreVote, m.Epoch, m.LastOffset, m.LastOffsetEpoch)
		}
	}
}
