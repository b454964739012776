package sim

import (
	"slices"
	"time"

	"github.com/kraft-dev/kraft-operator/internal/quorum"
)

// Nobody is deposed while a majority fetches from him: that is what pre-votes are for (KIP-996), and check-quorum
// (KIP-595) takes leadership only from those who lost their majority.

// following is a follower's time with one leader, from the first fetch that was answered.
type following struct {
	leader quorum.LeaderAndEpoch
	since  time.Duration
}

// checkQuorum is how long a leader without fetches from a majority goes on, less than that by any clock.
const checkQuorum = 2900 * time.Millisecond

// watch follows a step.
func (c *checker) watch(n *node, ev quorum.Event, before quorum.Status, fx quorum.Effects) {
	w, after := c.w, n.q.Status()
	at := quorum.LeaderAndEpoch{LeaderID: after.LeaderID, Epoch: after.Epoch}
	switch {
	case after.Role != quorum.Follower:
		n.follows = following{}
	case n.follows.leader != at:
		if after.LastFetch > 0 { // an answer that nobody waits for any more does not count
			n.follows = following{at, w.now}
		} else {
			n.follows = following{}
		}
	}
	if before.Role != after.Role {
		switch after.Role {
		case quorum.Prospective:
			n.prospective = w.now
		case quorum.Leader:
			n.leads = w.now
		case quorum.Candidate:
			if before.Role == quorum.Prospective && after.Epoch == before.Epoch+1 {
				c.mayCampaign(n, before)
			}
		case quorum.Resigned:
			if _, tick := ev.(quorum.Tick); tick && before.Role == quorum.Leader && !n.leaving && !transferred(fx) {
				c.mayResign(n, before)
			}
		}
	}
}

// transferred: a leader hands over because it was asked to.
func transferred(fx quorum.Effects) bool {
	return slices.ContainsFunc(fx, func(e quorum.Effect) bool {
		r, ok := e.(quorum.Reply)
		if !ok {
			return false
		}
		_, ok = r.Message.(*quorum.TransferResponse)
		return ok
	})
}

// mayCampaign: of the voters whose pre-votes made n a candidate, one at least did not fetch from the leader then. Voters that
// know no pre-votes prove nothing, nor do sets of voters that differ.
func (c *checker) mayCampaign(n *node, before quorum.Status) {
	w := c.w
	if w.s.oldPeers > 0 || w.s.changes || w.s.upgrade {
		return
	}
	l := w.leader()
	if l == nil || l == n || l.leads >= n.prospective || l.q.Status().Epoch > before.Epoch {
		return
	}
	s := l.q.Status()
	at := quorum.LeaderAndEpoch{LeaderID: quorum.NodeID(l.id), Epoch: s.Epoch}
	content := 0
	for _, v := range s.Voters.Voters() {
		o := w.nodes[v.Key.ID]
		if o == l || o != n && o.up && s.Voters.Contains(o.key()) && o.follows.leader == at && o.follows.since < n.prospective {
			content++
		}
	}
	if content >= s.Voters.Majority() {
		c.fail("n%d becomes candidate of epoch %d, though %d of %d voters have been fetching from n%d, leader of epoch %d, since before it asked for pre-votes",
			n.id, before.Epoch+1, content, s.Voters.Len(), l.id, s.Epoch)
	}
}

// mayResign: a leader whose majority fetched lately has no reason to.
func (c *checker) mayResign(n *node, before quorum.Status) {
	if c.w.s.changes || c.w.s.upgrade {
		return
	}
	lately := 0
	for _, v := range before.Voters.Voters() {
		if int(v.Key.ID) == n.id || n.served[v.Key] > max(c.w.now-checkQuorum, n.leads) {
			lately++
		}
	}
	if lately >= before.Voters.Majority() {
		c.fail("n%d resigns in epoch %d, though %d of %d voters fetched in the last %s", n.id, before.Epoch, lately, before.Voters.Len(), checkQuorum)
	}
}

// noteServed: a fetch that was answered with success, from when it came in.
func (n *node) noteServed(to call, m quorum.Message) {
	switch req := to.request.(type) {
	case *quorum.FetchRequest:
		if r := m.(*quorum.FetchResponse); r.Error == quorum.NoError && r.Diverging == nil && r.Snapshot == nil {
			n.served[req.Replica] = max(n.served[req.Replica], to.at)
		}
	case *quorum.FetchSnapshotRequest:
		if m.(*quorum.FetchSnapshotResponse).Error == quorum.NoError {
			n.served[req.Replica] = max(n.served[req.Replica], to.at)
		}
	}
}
