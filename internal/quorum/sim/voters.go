package sim

import (
	"slices"
	"time"

	"github.com/kraft-dev/kraft-operator/internal/quorum"
)

// planChange lets somebody change the voters now and then: add a controller that observes, remove a voter, the leader too,
// or ask for what can't be. He looks before he asks, as a careful operator does: never is the majority of a set left to
// disks that are gone.
func (w *world) planChange() {
	if !w.s.changes && !w.s.upgrade {
		return
	}
	w.after(w.between(0, 2*w.s.between), func() {
		if w.healed {
			return
		}
		if !w.mayChange() {
			w.planChange()
			return
		}
		if leader := w.leader(); leader != nil && leader.frozenUntil <= w.now && !w.chance(0.1) {
			w.change(leader)
		} else if n := w.nodes[w.rng.IntN(len(w.nodes))]; n.up && n.frozenUntil <= w.now {
			w.change(n)
		}
		w.planChange()
	})
}

func (w *world) change(at *node) {
	set := at.q.Status().Voters
	var m quorum.Message
	target := w.nodes[w.rng.IntN(w.s.controllers())]
	key := target.key()
	_, votes := set.ByID(key.ID)
	switch {
	case w.chance(0.12): // nonsense: an unknown disk, or one that is a voter already
		key.DirectoryID = w.randomUUID()
		switch {
		case votes && w.chance(0.5): // this is what an old disk would say
			m = &quorum.UpdateVoterRequest{Epoch: at.q.Status().Epoch, Voter: quorum.Voter{Key: key, Endpoints: target.endpoints(), Supported: quorum.VersionRange{Max: 1}}}
		case votes:
			m = &quorum.RemoveVoterRequest{Voter: key}
		default:
			m = &quorum.AddVoterRequest{Voter: key, Endpoints: target.endpoints(), AckWhenCommitted: true}
		}
	case votes && !w.check.hasKey(set, key) && w.chance(0.5): // its new disk beside the old one
		m = &quorum.AddVoterRequest{Voter: key, Endpoints: target.endpoints(), AckWhenCommitted: true}
	case votes:
		v, _ := set.ByID(key.ID)
		if set.Len() > 1 && w.alive(set.Without(v.Key)) {
			m = &quorum.RemoveVoterRequest{Voter: v.Key}
		}
	case set.Len() < 7 && w.alive(set.With(quorum.Voter{Key: key})):
		m = &quorum.AddVoterRequest{Voter: key, Endpoints: target.endpoints(), AckWhenCommitted: w.chance(0.7)}
	}
	if m == nil {
		return
	}
	w.tracef("CHANGE n%d is asked for %s", at.id, describeMessage(m))
	w.replyTo++
	w.calls[w.replyTo] = call{from: at.id, to: at.id, incarnation: -1, request: m}
	at.step(quorum.Request{ReplyTo: w.replyTo, Listener: "CONTROLLER", Message: m})
}

// alive reports whether the disks of a majority still exist.
func (w *world) alive(set quorum.VoterSet) bool {
	n := 0
	for _, v := range set.Voters() {
		if w.nodes[v.Key.ID].key() == v.Key {
			n++
		}
	}
	return n >= set.Majority()
}

// faultReplace loses a disk for good: the node comes back with an empty one and a new directory id, and observes.
func (w *world) faultReplace(n *node) {
	if w.s.changes && n.id < w.s.controllers() && w.chance(0.3) && w.mayLose(n) {
		w.lose(n)
	}
}

// dispensable: every set that any disk or process knows of can do without this one's disk. While a change is not committed it
// is too early to tell: a voter whose removal only it has in its log blocks those that don't know of it.
func (w *world) dispensable(n *node) bool {
	for _, o := range w.nodes {
		for _, log := range [][]batchID{o.disk.log, o.disk.synced.log} {
			for i, id := range log {
				if hasVoters(w.batches[id]) && !holds(w.check.committed, i, id) {
					return false
				}
			}
		}
	}
	key := n.key()
	for _, o := range w.nodes {
		for _, set := range o.sets() {
			if i := slices.IndexFunc(set.Voters(), func(v quorum.Voter) bool { return v.Key == key }); i >= 0 {
				live := -1
				for _, v := range set.Voters() {
					if w.nodes[v.Key.ID].key() == v.Key {
						live++
					}
				}
				if live < set.Majority() {
					return false
				}
			}
		}
	}
	return true
}

// sets are all voter sets in a node's log and on its disk, from the one in force where its high watermark is.
func (n *node) sets() []quorum.VoterSet { return n.w.setsIn(n.disk.log, n.disk.synced.log) }

func (w *world) setsIn(logs ...[]batchID) []quorum.VoterSet {
	var out []quorum.VoterSet
	committed := noBatch
	if k := len(w.check.committed); k > 0 {
		committed = w.check.committed[k-1]
	}
	out = append(out, w.check.votersAfter(committed))
	for _, log := range logs {
		for _, id := range log {
			if w.batches[id].info.Control != nil {
				out = append(out, w.check.votersAfter(id))
			}
		}
	}
	return out
}

// oneChange: neighbouring voter sets differ by at most one voter, added or removed.
func (c *checker) oneChange(n *node, before, after quorum.VoterSet) {
	changed := 0
	for _, v := range before.Voters() {
		if !c.hasKey(after, v.Key) {
			changed++
		}
	}
	for _, v := range after.Voters() {
		if !c.hasKey(before, v.Key) {
			changed++
		}
	}
	if changed > 1 {
		c.fail("n%d appends voters %s after %s: %d changes at once", n.id, after, before, changed)
	}
}

func (c *checker) hasKey(set quorum.VoterSet, key quorum.ReplicaKey) bool {
	v, ok := set.ByID(key.ID)
	return ok && (v.Key == key || v.Key.DirectoryID.IsZero() || key.DirectoryID.IsZero())
}

// votersAfter is the set in force in a log that ends with this batch.
func (c *checker) votersAfter(id batchID) quorum.VoterSet {
	if set, ok := c.sets[id]; ok {
		return set
	}
	return c.w.nodes[0].initial
}

// noteVoters follows the sets along a log.
func (c *checker) noteVoters(n *node, prev, id batchID) {
	before := c.votersAfter(prev)
	after := before
	for _, r := range c.w.batches[id].info.Control {
		if r.Voters != nil {
			after = *r.Voters
		}
	}
	c.oneChange(n, before, after)
	c.levels(n, id, before, after)
	c.sets[id] = after
}

// answered: a change that was acknowledged as committed is committed, and nothing that was acknowledged is refused without a word.
func (c *checker) changed(n *node, request, m quorum.Message) {
	switch req := request.(type) {
	case *quorum.TransferRequest:
		c.transferred(n, req, m.(*quorum.TransferResponse))
	case *quorum.AddVoterRequest:
		if resp := m.(*quorum.AddVoterResponse); resp.Error == quorum.NoError && req.AckWhenCommitted && !c.hasKey(c.committedVoters(), req.Voter) {
			c.fail("n%d says that %s is a voter, which is not committed: %s", n.id, req.Voter, c.committedVoters())
		}
	case *quorum.RemoveVoterRequest:
		if resp := m.(*quorum.RemoveVoterResponse); resp.Error == quorum.NoError && c.hasKey(c.committedVoters(), req.Voter) {
			c.fail("n%d says that %s is no voter any more, which is not committed: %s", n.id, req.Voter, c.committedVoters())
		}
	}
}

func (c *checker) committedVoters() quorum.VoterSet {
	if k := len(c.committed); k > 0 {
		return c.votersAfter(c.committed[k-1])
	}
	return c.votersAfter(noBatch)
}

// requireVotingLeader: a leader that was voted out has handed over, soon.
func (w *world) requireVotingLeader() {
	if !w.mayChange() {
		return
	}
	w.runUntil(w.now+2*time.Second, nil)
	if l := w.leader(); l != nil && !w.check.hasKey(w.check.committedVoters(), l.key()) {
		w.check.fail("n%d still leads though the committed voters are %s", l.id, w.check.committedVoters())
	}
}

// leftBehind: a voter campaigns though its log ends with its own removal, because that may not be committed.
func (c *checker) leftBehind(n *node) bool {
	newest, before := quorum.VoterSet{}, n.initial
	found := false
	for i := len(n.disk.log) - 1; i >= 0; i-- {
		if n.disk.log[i] == noBatch || !hasVoters(c.w.batches[n.disk.log[i]]) {
			continue
		}
		if found {
			before = c.votersAfter(n.disk.log[i])
			break
		}
		newest, found = c.votersAfter(n.disk.log[i]), true
	}
	return found && !newest.Contains(n.key()) && before.Contains(n.key())
}

func hasVoters(b batch) bool {
	return slices.ContainsFunc(b.info.Control, func(r quorum.ControlRecord) bool { return r.Voters != nil })
}
