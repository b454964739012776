package sim

import (
	"slices"

	"github.com/kraft-dev/kraft-operator/internal/quorum"
)

// planUpgrade lets somebody ask for kraft.version 1 of a quorum of static voters, again and again: before everybody has told the leader
// its directory id, of nodes that don't lead, and when it is done.
func (w *world) planUpgrade() {
	if !w.s.upgrade {
		return
	}
	w.after(w.between(0, 2*w.s.between), func() {
		n := w.nodes[w.rng.IntN(len(w.nodes))]
		if l := w.leader(); l != nil && w.chance(0.8) {
			n = l
		}
		if n.up && n.frozenUntil <= w.now {
			w.upgrade(n)
		}
		w.planUpgrade()
	})
}

// upgrade is what a node was asked for.
type upgrade struct {
	quorum.UpgradeVersion
	leader bool // it led then
}

func (w *world) upgrade(n *node) {
	w.replyTo++
	ev := quorum.UpgradeVersion{Token: w.replyTo, Epoch: n.q.Status().Epoch, Level: 1, ValidateOnly: w.chance(0.2)}
	if w.chance(0.1) {
		ev.Level = []int16{-1, 0, 2}[w.rng.IntN(3)]
	}
	if l := w.leader(); w.healed && l != nil { // in earnest, or chance may have it that nobody asks before the time is over
		n, ev.Epoch, ev.Level, ev.ValidateOnly = l, l.q.Status().Epoch, 1, false
	}
	w.check.granted = false
	w.tracef("n%d is asked for kraft.version %d, validateOnly %v", n.id, ev.Level, ev.ValidateOnly)
	w.check.upgrades[ev.Token] = upgrade{ev, n.q.Status().Role == quorum.Leader}
	n.step(ev)
	if w.check.granted && !w.healed && w.chance(0.5) {
		w.faultCutOne(n) // the records are on its disk alone, and are cut off when it comes back
	}
}

// upgraded: the answer comes from a leader, promises no level that there isn't, and takes none back.
func (c *checker) upgraded(n *node, e quorum.VersionUpgraded) {
	asked, ok := c.upgrades[e.Token]
	if !ok {
		c.fail("n%d answers for upgrade %d, which nobody asked for", n.id, e.Token)
	}
	delete(c.upgrades, e.Token)
	c.granted = e.Changed && !asked.ValidateOnly
	if e.Error != quorum.NoError {
		if e.Text == "" {
			c.fail("n%d refuses kraft.version %d without a word", n.id, asked.Level)
		}
		return
	}
	switch {
	case !asked.leader:
		c.fail("n%d grants kraft.version %d, which it was asked for as it did not lead", n.id, asked.Level)
	case asked.Level < c.committedLevel() || asked.Level < 0 || asked.Level > 1:
		c.fail("n%d grants kraft.version %d, level %d is committed", n.id, asked.Level, c.committedLevel())
	case e.Changed:
		c.w.count("upgrades of kraft.version granted")
	}
}

// validated: who only asks whether it would go changes nothing.
func (c *checker) validated(n *node, ev quorum.Event, fx quorum.Effects) {
	u, ok := ev.(quorum.UpgradeVersion)
	if ok && u.ValidateOnly && slices.ContainsFunc(fx, func(e quorum.Effect) bool { _, ok := e.(quorum.ProposeControl); return ok }) {
		c.fail("n%d goes to kraft.version %d, though it was only asked whether it could", n.id, u.Level)
	}
}

// levels follows kraft.version along a log: it never falls. With level 1 static voters become records, all at once: the same nodes,
// each by the directory it has.
func (c *checker) levels(n *node, id batchID, before, after quorum.VoterSet) {
	for _, r := range c.w.batches[id].info.Control {
		if r.KRaftVersion == nil {
			continue
		}
		if *r.KRaftVersion < c.committedLevel() {
			c.fail("n%d appends kraft.version %d, level %d is committed", n.id, *r.KRaftVersion, c.committedLevel())
		}
		if c.w.s.kraftVersion > 0 || *r.KRaftVersion < 1 || c.committedLevel() > 0 {
			continue
		}
		if !slices.Equal(before.IDs(), after.IDs()) {
			c.fail("n%d makes records of the voters %v, and has %v", n.id, before.IDs(), after.IDs())
		}
		for _, v := range after.Voters() {
			if want := c.w.nodes[v.Key.ID].key(); v.Key != want || !v.Supported.Contains(1) || len(v.Endpoints) == 0 {
				c.fail("n%d records voter %s, kraft.version %v, at %v: it is %s", n.id, v.Key, v.Supported, v.Endpoints, want)
			}
		}
	}
}

// levelKept: the level in force is the newest in the log, and after a truncation the one before.
func (c *checker) levelKept(n *node, before, after quorum.Status) {
	if !c.w.s.upgrade || before.KRaftVersion == after.KRaftVersion && before.LogEndOffset <= after.LogEndOffset {
		return
	}
	if want := c.levelAfter(n.disk.log); after.KRaftVersion != want {
		c.fail("n%d is at kraft.version %d, its log at %d", n.id, after.KRaftVersion, want)
	}
}

// committedLevel is the kraft.version that is committed.
func (c *checker) committedLevel() int16 { return c.levelAfter(c.committed) }

// levelAfter is the kraft.version in force at the end of a log.
func (c *checker) levelAfter(log []batchID) int16 {
	for i := len(log) - 1; i >= 0; i-- {
		if log[i] == noBatch {
			continue
		}
		for _, r := range c.w.batches[log[i]].info.Control {
			if r.KRaftVersion != nil {
				return *r.KRaftVersion
			}
		}
	}
	return c.w.s.kraftVersion
}

// mayChange reports whether the voters can be changed now.
func (w *world) mayChange() bool {
	return w.s.changes || w.s.upgrade && w.s.spares > 0 && w.check.committedLevel() > 0
}

// requireUpgraded: what was asked for again and again is granted once the quorum is whole, and in force everywhere.
func (w *world) requireUpgraded() {
	if !w.s.upgrade {
		return
	}
	behind := func() *node {
		for _, n := range w.nodes {
			if !n.up || n.q.Status().KRaftVersion < 1 {
				return n
			}
		}
		return nil
	}
	w.runUntil(w.now+healBound, func() bool { return behind() == nil })
	if n := behind(); n != nil {
		w.check.fail("n%d is at kraft.version %d %s after healing", n.id, n.q.Status().KRaftVersion, healBound)
	}
	w.count("quorums upgraded to kraft.version 1")
}
