package sim

import (
	"github.com/kraft-dev/kraft-operator/internal/quorum"
)

// watch is what the checker remembers of one life of a node, to judge how it changes its role. It counts for itself what
// the node was told; it asks the engine only for its Status.
type watch struct {
	asked   map[uint64]asked       // requests under way
	stint   int                    // changes of role or epoch so far
	granted map[quorum.NodeID]bool // pre-votes since it is prospective
	old     bool                   // a peer does not speak pre-vote

	followed quorum.LeaderAndEpoch
	hungry   quorum.Instant // since then the leader it follows has not served it
	ended    bool           // that leader has resigned
	damaged  damaged
	early    bool // an early round: the follower it was comes back
}

func newWatch() watch {
	return watch{
		asked: map[uint64]asked{}, granted: map[quorum.NodeID]bool{},
	}
}

// damaged is a download that came to nothing, and from whom it was.
type damaged struct {
	id   quorum.OffsetAndEpoch
	from quorum.NodeID
	at   quorum.Instant
	sure bool
}

// downloaded notes what became of a snapshot.
func (c *checker) downloaded(n *node, ev quorum.Event, fx quorum.Effects) {
	m := &n.watch.damaged
	if done, ok := ev.(quorum.SnapshotInstalled); ok {
		m.sure, m.at = !done.OK, n.clock()
	}
	for _, e := range fx {
		if i, ok := e.(quorum.InstallSnapshot); ok {
			*m = damaged{id: i.ID, from: n.q.Status().LeaderID}
		}
	}
}

// patience: a snapshot that was damaged is not fetched again at once from where it came.
func (c *checker) patience(n *node, e quorum.Send, m *quorum.FetchSnapshotRequest) {
	d := n.watch.damaged
	if d.sure && m.Position == 0 && m.ID == d.id && e.To.ID == d.from && n.clock() < d.at+quorum.DefaultConfig().FetchTimeout/4 {
		c.fail("n%d fetches snapshot %s from n%d again, %s after it came damaged", n.id, m.ID, d.from, n.clock()-d.at)
	}
}

type asked struct {
	message quorum.Message
	stint   int
}

// maxEvents is far above what a run takes: more is a busy loop.
const maxEvents = 2_000_000

// roles checks what one event did to a node's role, epoch, timers and high watermark.
func (c *checker) roles(n *node, ev quorum.Event, before quorum.Status, fx quorum.Effects) {
	after := n.q.Status()
	if c.w.steps > maxEvents {
		c.fail("more than %d events: a busy loop", maxEvents)
	}
	c.epochBorn(n, ev, before, after)
	c.highWatermarkKept(n, before, after)
	c.levelKept(n, before, after)
	c.campaigner(n, after)
	c.lateAnswer(n, ev, before, after)
	c.voteRefused(n, ev, before, after, fx)
	c.fetchTimer(n, ev, before, after)
	c.candidacy(n, ev, before, after)
	if before.Role != after.Role || before.Epoch != after.Epoch {
		n.watch.stint++
	}
	for _, e := range fx {
		if s, ok := e.(quorum.Send); ok {
			n.watch.asked[s.Correlation] = asked{s.Message, n.watch.stint}
		}
	}
}

// contradiction: the engine reports what can't be unless a peer or a disk broke the protocol, and none did.
func (c *checker) contradiction(n *node, text string) {
	c.fail("n%d reports a contradiction: %s", n.id, text)
}

// epochBorn: epochs only grow, and a new one comes of a candidate, or of a resigned leader's silence.
func (c *checker) epochBorn(n *node, ev quorum.Event, before, after quorum.Status) {
	if after.Epoch < before.Epoch {
		c.fail("n%d goes back from epoch %d to %d", n.id, before.Epoch, after.Epoch)
	}
	if after.Epoch <= c.newest {
		return
	}
	if _, ok := ev.(quorum.Start); ok { // its power went as it entered the epoch
		c.newest = after.Epoch
		return
	}
	resigned := before.Role == quorum.Resigned && after.Epoch == before.Epoch+1
	if after.Role != quorum.Candidate && after.Role != quorum.Leader && !resigned {
		c.fail("n%d, %s, enters epoch %d, which nobody has begun", n.id, after.Role, after.Epoch)
	}
	c.newest = after.Epoch
}

// highWatermarkKept: in one life only taking office and losing it make a node forget its high watermark.
func (c *checker) highWatermarkKept(n *node, before, after quorum.Status) {
	office := func(r quorum.Role) bool { return r == quorum.Leader || r == quorum.Resigned }
	kept := !office(before.Role) && !office(after.Role) || before.Role == after.Role && before.Epoch == after.Epoch
	if kept && after.HighWatermark < before.HighWatermark {
		c.fail("n%d, %s, forgets its high watermark %d for %d", n.id, after.Role, before.HighWatermark, after.HighWatermark)
	}
}

// campaigner: only a voter of the newest set in its log asks for votes, by its key.
func (c *checker) campaigner(n *node, after quorum.Status) {
	if after.Role != quorum.Prospective && after.Role != quorum.Candidate {
		return
	}
	last := noBatch
	if k := len(n.disk.log); k > 0 {
		last = n.disk.log[k-1]
	}
	if set := c.votersAfter(last); !c.hasKey(set, n.key()) && !c.leftBehind(n) {
		c.fail("n%d is %s as %s, the voters are %s", n.id, after.Role, n.key(), set)
	}
}

// lateAnswer: what was asked in an earlier role or epoch is not answered any more.
func (c *checker) lateAnswer(n *node, ev quorum.Event, before, after quorum.Status) {
	r, ok := ev.(quorum.Response)
	if !ok {
		return
	}
	a, ok := n.watch.asked[r.Correlation]
	if !ok || a.stint == n.watch.stint || before.Voters.Len() == 1 {
		return
	}
	won := after.Role == quorum.Leader && before.Role != quorum.Leader || after.Role == quorum.Candidate && before.Role != quorum.Candidate
	took := after.Role == quorum.Follower && after.LastFetch > before.LastFetch
	if won || took || after.LogEndOffset != before.LogEndOffset || after.HighWatermark > before.HighWatermark {
		c.fail("n%d, %s of epoch %d, still hears an answer to %s", n.id, before.Role, before.Epoch, describeMessage(a.message))
	}
}

// candidacy: nobody begins an epoch who was not promised a majority in a pre-vote, but the first successor that a
// leader names as it resigns, and whoever meets a peer too old for pre-votes.
func (c *checker) candidacy(n *node, ev quorum.Event, before, after quorum.Status) {
	m := &n.watch
	switch ev := ev.(type) {
	case quorum.Response:
		vote, isVote := m.asked[ev.Correlation].message.(*quorum.VoteRequest)
		if resp, ok := ev.Message.(*quorum.VoteResponse); ok && isVote && vote.PreVote && resp.Granted {
			m.granted[vote.Voter.ID] = true
		}
		delete(m.asked, ev.Correlation)
	case quorum.SendFailed:
		m.old = m.old || ev.Failure == quorum.VersionMismatch
		delete(m.asked, ev.Correlation)
	}
	if after.Role == quorum.Candidate && after.Epoch > before.Epoch && !m.old && !named(n, ev, before) {
		got, need := len(m.granted), before.Voters.Majority()
		if before.Voter {
			got++
		}
		if got < need {
			c.fail("n%d is candidate of epoch %d after %d of %d pre-votes", n.id, after.Epoch, got, need)
		}
	}
	if after.Role != quorum.Prospective {
		clear(m.granted)
	}
}

// named reports that a leader resigns, not of an epoch that is over for this node, and would have it as the first successor.
func named(n *node, ev quorum.Event, before quorum.Status) bool {
	r, ok := ev.(quorum.Request)
	if !ok {
		return false
	}
	end, ok := r.Message.(*quorum.EndQuorumEpochRequest)
	return ok && len(end.Successors) > 0 && int(end.Successors[0].ID) == n.id && end.Leader.Epoch >= before.Epoch
}

// voted: a leader has the votes of a majority, given in this very epoch. (A vote that was lost with its disk is not
// asked for.)
func (c *checker) voted(n *node, epoch quorum.Epoch) {
	set, got := n.q.Status().Voters, 0
	for _, v := range set.Voters() {
		o := c.w.nodes[v.Key.ID]
		given, ok := c.votes[vote{v.Key, epoch}]
		if !ok {
			given, ok = c.votes[vote{o.key(), epoch}] // static voters have no directory id
		}
		if ok && int(given) == n.id || o == n || o.wiped || o.restored {
			got++
		}
	}
	if got < set.Majority() {
		c.fail("n%d leads epoch %d by %d votes of %s", n.id, epoch, got, set)
	}
}

// fetchTimer: a voter whose leader has not served it for the fetch timeout does not wait any longer, whatever else it
// hears, and whatever it tried meanwhile.
func (c *checker) fetchTimer(n *node, ev quorum.Event, before, after quorum.Status) {
	m, now, timeout := &n.watch, n.clock(), quorum.DefaultConfig().FetchTimeout
	followed := quorum.LeaderAndEpoch{LeaderID: after.LeaderID, Epoch: after.Epoch}
	ends := false // the leader says farewell, which sets when to campaign, maybe now
	if r, ok := ev.(quorum.Request); ok && (before.Role == quorum.Follower || after.Role == quorum.Follower) {
		end, ok := r.Message.(*quorum.EndQuorumEpochRequest)
		ends = ok && end.Leader == followed
	}
	switch after.Role {
	case quorum.Follower:
	case quorum.Prospective:
		m.early = m.early && !m.ended && !ends && m.followed == followed && now < m.hungry+timeout
		return
	default:
		m.early = false
		return
	}
	if !m.early || m.followed != followed || !after.Voter {
		m.hungry, m.ended = now, m.ended && m.followed == followed
	}
	m.early, m.followed = true, followed
	if ends {
		m.hungry, m.ended = now, true
	}
	switch ev := ev.(type) {
	case quorum.SnapshotInstalled:
		m.hungry = now
	case quorum.Response:
		_, waited := m.asked[ev.Correlation] // else the network has repeated it
		if r, ok := ev.Message.(*quorum.UpdateVoterResponse); ok && waited && (r.Error == quorum.NoError || r.Error == quorum.UnsupportedVersion) {
			m.hungry = now
		}
	}
	m.hungry = max(m.hungry, after.LastFetch)
	if now > m.hungry+timeout && !n.leaving && !n.installing {
		c.fail("n%d still follows n%d in epoch %d, which has not served it for %s", n.id, after.LeaderID, after.Epoch, now-m.hungry)
	}
}

// preVoteGiven: a follower that the leader of its epoch serves, and that goes on leading, helps nobody to depose it.
func (c *checker) preVoteGiven(n *node, req *quorum.VoteRequest, resp *quorum.VoteResponse) {
	s := n.q.Status()
	if !resp.Granted || !req.PreVote || s.Role != quorum.Follower || s.LastFetch <= 0 {
		return
	}
	for _, l := range c.w.nodes {
		if !l.up || l.id != int(s.LeaderID) {
			continue
		}
		if leads := l.q.Status(); leads.Role == quorum.Leader && leads.Epoch == s.Epoch {
			c.fail("n%d grants n%d a pre-vote against n%d, which leads epoch %d and served it %s ago",
				n.id, req.Candidate.ID, l.id, s.Epoch, n.clock()-s.LastFetch)
		}
	}
}

// voteRefused: a node without a leader helps whoever has a log as good as its own, member of its own, perhaps stale, voter
// set or not; a vote proper only once an epoch.
func (c *checker) voteRefused(n *node, ev quorum.Event, before, after quorum.Status, fx quorum.Effects) {
	r, ok := ev.(quorum.Request)
	e := n.disk.synced.election
	if !ok || c.w.s.formationSafe && (n.wiped || e == nil) { // a blank disk votes for nobody: formation.go
		return
	}
	req, ok := r.Message.(*quorum.VoteRequest)
	if !ok || req.Epoch != before.Epoch || req.Epoch != after.Epoch || before.Role != after.Role || !refused(r, fx) {
		return
	}
	_, voted := c.votes[vote{n.key(), req.Epoch}]
	if e != nil && e.Epoch == req.Epoch && e.Voted.Known() {
		voted = true
	}
	free := false
	switch after.Role {
	case quorum.Unattached, quorum.Prospective:
		free = req.PreVote || !voted && after.LeaderID < 0
	case quorum.Candidate, quorum.Resigned:
		free = req.PreVote
	case quorum.Follower:
		free = req.PreVote && after.LastFetch == 0
	}
	if !free {
		return
	}
	end, epoch := n.end(), n.lastEpoch()
	if req.LastOffsetEpoch > epoch || req.LastOffsetEpoch == epoch && req.LastOffset >= end {
		c.fail("n%d, %s of epoch %d with a log to %d-%d, refuses n%d, which has %d-%d", n.id, after.Role, after.Epoch, end, epoch,
			req.Candidate.ID, req.LastOffset, req.LastOffsetEpoch)
	}
}

// refused: a vote was refused at once, and without an error.
func refused(r quorum.Request, fx quorum.Effects) bool {
	for _, e := range fx {
		if reply, ok := e.(quorum.Reply); ok && reply.ReplyTo == r.ReplyTo {
			resp, ok := reply.Message.(*quorum.VoteResponse)
			return ok && !resp.Granted && resp.Error == quorum.NoError
		}
	}
	return false
}
