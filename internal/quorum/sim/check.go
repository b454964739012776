package sim

import (
	"fmt"
	"hash/fnv"
	"maps"
	"regexp"
	"runtime"
	"strings"

	"github.com/kraft-dev/kraft-operator/internal/quorum"
)

// checker knows the truth about a run and compares everything with it.
type checker struct {
	w       *world
	leaders map[quorum.Epoch]int
	before  map[batchID]batchID    // the batch each batch follows
	at      map[position]batchID   // the one batch of an epoch at an offset
	votes   map[vote]quorum.NodeID // granted
	// committed is what any node has ever called committed; hashes chain it.
	sets      map[batchID]quorum.VoterSet         // in force after a batch
	reads     map[uint64]quorum.Offset            // open ones: what was committed when each began
	transfers map[*quorum.TransferRequest]batchID // open ones: the last in the leader's log when each began
	handed    map[quorum.Epoch]quorum.NodeID      // by transfer, to whom
	upgrades  map[uint64]upgrade                  // under way
	granted   bool                                // the upgrade that was asked for last
	committed []batchID
	hashes    []uint64
	epochs    []quorum.Epoch // in which each was committed
	newest    quorum.Epoch   // that anyone was ever in
}

type position struct {
	epoch  quorum.Epoch
	offset quorum.Offset
}

type vote struct {
	voter quorum.ReplicaKey
	epoch quorum.Epoch
}

func newChecker(w *world) *checker {
	return &checker{
		w: w, leaders: map[quorum.Epoch]int{}, before: map[batchID]batchID{}, at: map[position]batchID{},
		votes: map[vote]quorum.NodeID{}, sets: map[batchID]quorum.VoterSet{}, reads: map[uint64]quorum.Offset{}, upgrades: map[uint64]upgrade{},
		transfers: map[*quorum.TransferRequest]batchID{}, handed: map[quorum.Epoch]quorum.NodeID{},
	}
}

// violation is what a failed rule panics with.
type violation struct{ check, text string }

// fail ends the run. The function that calls it names the check.
func (c *checker) fail(format string, args ...any) {
	check := "?"
	if pc, _, _, ok := runtime.Caller(1); ok {
		check = runtime.FuncForPC(pc).Name()
		check = regexp.MustCompile(`(\.func\d+|\.\d+)+$`).ReplaceAllString(check, "")
		check = check[strings.LastIndexByte(check, '.')+1:]
	}
	panic(violation{check, fmt.Sprintf(format, args...)})
}

// append: log matching. A batch has one predecessor, and an epoch has one batch at an offset.
func (c *checker) append(n *node, id batchID) {
	prev := noBatch
	if k := len(n.disk.log); k > 0 {
		prev = n.disk.log[k-1]
	}
	if known, ok := c.before[id]; ok && known != prev {
		c.fail("n%d appends batch %d after %d, elsewhere it follows %d", n.id, id, prev, known)
	}
	c.before[id] = prev
	if lost := n.lost[n.key()]; c.w.s.formationSafe && n.wiped && n.id < c.w.s.voters && len(lost) > 0 && holds(c.committed, 0, lost[0]) {
		c.fail("n%d appends batch %d as %s, whose disk was lost with records that were committed", n.id, id, n.key())
	}
	c.noteVoters(n, prev, id)
	info := c.w.batches[id].info
	p := position{info.Epoch, info.Base}
	if known, ok := c.at[p]; ok && known != id {
		c.fail("two batches of epoch %d at offset %d: %d and, on n%d, %d", p.epoch, p.offset, known, n.id, id)
	}
	c.at[p] = id
}

func (c *checker) truncate(n *node, to quorum.Offset, k int) {
	if end := c.w.endOf(n.disk.log[:k]); end != to {
		c.fail("n%d cuts its log at %d, inside a batch that begins at %d", n.id, to, end)
	}
	if newest := len(n.disk.snapshots) - 1; k < n.disk.first || newest >= 0 && to < n.disk.snapshots[newest].id.Offset {
		c.fail("n%d cuts its log at %d, below its start or its newest snapshot", n.id, to)
	}
	if to < n.committed {
		c.fail("n%d cuts its log at %d, below its high watermark %d", n.id, to, n.committed)
	}
}

// commit: the high watermark grows, all nodes commit the same, and a majority of the voters have it on disk.
func (c *checker) commit(n *node, hw quorum.Offset) {
	if hw <= n.committed {
		c.fail("n%d's high watermark goes from %d to %d", n.id, n.committed, hw)
	}
	if end := n.end(); hw > end {
		c.fail("n%d commits to %d, its log ends at %d", n.id, hw, end)
	}
	n.committed = hw
	for i := n.verified; i < len(n.disk.log) && c.w.batches[n.disk.log[i]].info.Last < hw; i++ {
		id := n.disk.log[i]
		if i < len(c.committed) {
			if c.committed[i] != id {
				c.fail("n%d commits batch %d at offset %d, batch %d was committed there", n.id, id, c.w.batches[id].info.Base, c.committed[i])
			}
		} else {
			c.extend(n, i, id)
		}
		n.verified = i + 1
	}
}

// extend records a batch as committed, the moment a first node says so.
func (c *checker) extend(n *node, i int, id batchID) {
	set := c.votersAfter(n.disk.log[len(n.disk.log)-1]) // the newest counts, committed or not
	holders := 0
	for _, v := range set.Voters() {
		o := c.w.nodes[v.Key.ID]
		if set.Contains(o.key()) && holds(o.disk.synced.log, i, id) || holds(o.lost[v.Key], i, id) {
			holders++
		}
	}
	if need := set.Majority(); holders < need {
		c.fail("n%d commits batch %d at offset %d, which is on the disks of %d voters of %s, not %d",
			n.id, id, c.w.batches[id].info.Base, holders, set, need)
	}
	h := fnv.New64a()
	if i > 0 {
		fmt.Fprint(h, c.hashes[i-1])
	}
	fmt.Fprint(h, id, c.w.batches[id].value)
	c.committed = append(c.committed, id)
	c.hashes = append(c.hashes, h.Sum64())
	c.epochs = append(c.epochs, n.q.Status().Epoch)
}

func holds(log []batchID, i int, id batchID) bool { return i < len(log) && log[i] == id }

func (c *checker) persisted(n *node, states []quorum.ElectionState) {
	for _, s := range states {
		if int(s.LeaderID) == n.id {
			c.claim(n, s.Epoch)
		}
	}
}

// claim: one leader an epoch, from the moment it is on disk.
func (c *checker) claim(n *node, epoch quorum.Epoch) {
	if l, ok := c.leaders[epoch]; ok && l != n.id {
		c.fail("two leaders in epoch %d: n%d and n%d", epoch, l, n.id)
	}
	c.leaders[epoch] = n.id
}

// elected: one leader an epoch, durable, and its log has everything that was committed in the epochs before. (One who
// slept through its own election may lead an old epoch late.)
func (c *checker) elected(n *node, e quorum.LeaderChanged) {
	c.claim(n, e.Epoch)
	c.voted(n, e.Epoch)
	if s := n.disk.synced.election; s == nil || s.Epoch < e.Epoch || s.Epoch == e.Epoch && int(s.LeaderID) != n.id {
		c.fail("n%d leads epoch %d before it is on disk: %+v", n.id, e.Epoch, s)
	}
	for i, id := range c.committed {
		if c.epochs[i] < e.Epoch && !holds(n.disk.log, i, id) {
			c.fail("n%d leads epoch %d without committed batch %d at offset %d", n.id, e.Epoch, id, c.w.batches[id].info.Base)
		}
	}
}

// send: nothing is claimed that a crash could take back, and nothing is said that makes an Apache Kafka node exit.
func (c *checker) send(n *node, e quorum.Send) {
	s := n.disk.synced.election
	switch m := e.Message.(type) {
	case *quorum.VoteRequest:
		if m.PreVote {
			return
		}
		if s == nil || s.Epoch < m.Epoch || s.Epoch == m.Epoch && (s.Voted.ID != m.Candidate.ID && int(s.LeaderID) != n.id) {
			c.fail("n%d asks for votes in epoch %d before its own is on disk: %+v", n.id, m.Epoch, s)
		}
		if m.LastOffsetEpoch >= m.Epoch {
			c.fail("n%d asks for votes in epoch %d with records of epoch %d", n.id, m.Epoch, m.LastOffsetEpoch)
		}
		c.recordVote(n.key(), m.Epoch, quorum.NodeID(n.id))
	case *quorum.FetchSnapshotRequest:
		c.patience(n, e, m)
	case *quorum.AddVoterRequest:
		c.joins(n, m.AckWhenCommitted)
	case *quorum.RemoveVoterRequest:
		c.joins(n, false)
	case *quorum.EndQuorumEpochRequest:
		if to, ok := c.handed[m.Leader.Epoch]; ok && len(m.Successors) > 0 && m.Successors[0].ID != to {
			c.fail("n%d was to hand over to n%d, and names n%d", n.id, to, m.Successors[0].ID)
		}
	case *quorum.FetchRequest:
		if end := c.w.endOf(n.disk.synced.log); n.controller && m.FetchOffset > end {
			c.fail("n%d fetches from %d with only %d on disk", n.id, m.FetchOffset, end)
		}
		if m.LastFetchedEpoch > m.Epoch || m.LastFetchedEpoch < 0 {
			c.fail("n%d fetches in epoch %d with last epoch %d", n.id, m.Epoch, m.LastFetchedEpoch)
		}
	case *quorum.BeginQuorumEpochRequest:
		if s == nil || s.Epoch < m.Leader.Epoch || s.Epoch == m.Leader.Epoch && int(s.LeaderID) != n.id {
			c.fail("n%d announces itself in epoch %d before that is on disk: %+v", n.id, m.Leader.Epoch, s)
		}
		if len(m.Endpoints) == 0 {
			c.fail("n%d announces itself without an address", n.id)
		}
	}
}

// reply: a vote given is on disk; a leader named is the leader, with an address; INVALID_REQUEST is never deserved.
func (c *checker) reply(n *node, request, m quorum.Message) {
	r, ok := m.(interface{ Common() *quorum.Answer })
	if !ok {
		c.changed(n, request, m)
		return
	}
	a := r.Common()
	if a.TopError != quorum.NoError || a.Error == quorum.InvalidRequest || a.Error == quorum.UnknownServerError {
		c.fail("n%d answers %T with %s/%s", n.id, m, a.TopError, a.Error)
	}
	if s := n.disk.synced.election; !n.wiped && !(c.w.s.formationSafe && s == nil) && a.Leader.Epoch > 0 && (s == nil || s.Epoch < a.Leader.Epoch) {
		c.fail("n%d speaks of epoch %d before it is on disk: %+v", n.id, a.Leader.Epoch, s)
	}
	if id := a.Leader.LeaderID; id >= 0 {
		if l, ok := c.leaders[a.Leader.Epoch]; !ok || l != int(id) {
			c.fail("n%d names n%d leader of epoch %d, it is n%d (%v)", n.id, id, a.Leader.Epoch, l, ok)
		}
		if a.Endpoint.ID != id || a.Endpoint.Host == "" {
			c.fail("n%d names leader n%d without an address", n.id, id)
		}
	}
	switch m := m.(type) {
	case *quorum.VoteResponse:
		c.preVoteGiven(n, request.(*quorum.VoteRequest), m)
		c.voteGiven(n, request.(*quorum.VoteRequest), m)
	case *quorum.FetchResponse:
		if a.Error == quorum.NoError && int(a.Leader.LeaderID) != n.id {
			c.fail("n%d answers a fetch without naming itself leader", n.id)
		}
		if len(m.Data) > 0 && m.Diverging != nil {
			c.fail("n%d answers a fetch with records and a divergence", n.id)
		}
	}
}

// voteGiven: a vote is on disk before the candidate hears of it.
func (c *checker) voteGiven(n *node, req *quorum.VoteRequest, resp *quorum.VoteResponse) {
	if !resp.Granted || req.PreVote {
		return
	}
	s := n.disk.synced.election
	if s == nil || s.Epoch < req.Epoch || s.Epoch == req.Epoch && s.Voted.ID != req.Candidate.ID {
		c.fail("n%d gives n%d its vote in epoch %d before that is on disk: %+v", n.id, req.Candidate.ID, req.Epoch, s)
	}
	c.recordVote(n.key(), req.Epoch, req.Candidate.ID)
}

// forgetVotes: with its disk a voter may lose a vote and give it again. Formation is safe all the same, because a vote of
// an empty disk helps only where everybody's is needed; that one leads an epoch is checked as ever.
func (c *checker) forgetVotes(voter quorum.ReplicaKey) {
	maps.DeleteFunc(c.votes, func(v vote, _ quorum.NodeID) bool { return v.voter == voter })
}

// recordVote: one vote an epoch, across restarts.
func (c *checker) recordVote(voter quorum.ReplicaKey, epoch quorum.Epoch, candidate quorum.NodeID) {
	v := vote{voter, epoch}
	if known, ok := c.votes[v]; ok && known != candidate {
		c.fail("%s votes for n%d and for n%d in epoch %d", voter, known, candidate, epoch)
	}
	c.votes[v] = candidate
}

func (c *checker) afterStep(n *node) {
	s := n.q.Status()
	if s.HighWatermark > s.LogEndOffset {
		c.fail("n%d: high watermark %d beyond the log's end %d", n.id, s.HighWatermark, s.LogEndOffset)
	}
	if s.LogEndOffset < s.Flushed {
		c.fail("n%d: flushed %d beyond the log's end %d", n.id, s.Flushed, s.LogEndOffset)
	}
	if (s.Role == quorum.Prospective || s.Role == quorum.Candidate) && !s.Voter && !c.leftBehind(n) {
		c.fail("n%d is %s without being a voter", n.id, s.Role)
	}
}
