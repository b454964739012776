package sim

import (
	"time"

	"github.com/kraft-dev/kraft-operator/internal/quorum"
)

// step feeds one event and carries out its effects.
func (n *node) step(ev quorum.Event) {
	w := n.w
	w.steps++
	before := n.q.Status()
	fx := n.q.Step(n.clock(), ev)
	if w.trace != nil {
		w.traceStep(n, ev, before, fx)
	}
	life, after := n.incarnation, n.q.Status()
	w.check.validated(n, ev, fx)
	for _, e := range fx {
		if a, ok := e.(quorum.Append); ok {
			w.check.records(n, before, a)
		}
		if n.carryOut(e); !n.up || n.incarnation != life { // the disk failed: nothing after it leaves
			w.check.epochBorn(n, ev, before, after)
			return
		}
	}
	w.check.afterStep(n)
	w.check.downloaded(n, ev, fx)
	w.check.watch(n, ev, before, fx)
	w.check.roles(n, ev, before, fx)
	n.scheduleTick()
	if w.afterEvent != nil {
		w.afterEvent(n)
	}
}

// later runs do in this life of the node, after a freeze if there is one.
func (n *node) later(d time.Duration, do func()) {
	life := n.incarnation
	var run func()
	run = func() {
		switch {
		case !n.up || n.incarnation != life:
		case n.frozenUntil > n.w.now:
			n.w.after(n.frozenUntil-n.w.now, run)
		default:
			do()
		}
	}
	n.w.after(d, run)
}

func (n *node) scheduleTick() {
	d := n.q.Deadline()
	if d == n.tickAt || d == quorum.Never {
		n.tickAt = d
		return
	}
	n.tickAt = d
	wait := time.Duration(float64(d-n.clock())/n.drift) + time.Microsecond
	n.later(wait, func() {
		if n.tickAt == d {
			n.tickAt = -1
			n.step(quorum.Tick{})
		}
	})
}

// carryOut is the driver: one case an effect.
func (n *node) carryOut(e quorum.Effect) {
	w := n.w
	if n.installing {
		switch e.(type) {
		case quorum.Append, quorum.Truncate, quorum.Flush, quorum.Read, quorum.DropPrefix, quorum.WriteSnapshot, quorum.InstallSnapshot:
			w.check.fail("n%d: %s while a snapshot is being installed", n.id, describeEffect(e))
		}
	}
	switch e := e.(type) {
	case quorum.PersistElection:
		n.disk.pending = append(n.disk.pending, e)
		if n.real != nil {
			n.real.persist(e)
			return
		}
		n.later(n.fsyncTime(), func() {
			if n.syncFails() {
				return
			}
			w.check.persisted(n, n.disk.persisted(e.Seq))
			n.step(quorum.ElectionPersisted{Seq: e.Seq})
		})
	case quorum.Append:
		n.append(e)
	case quorum.ReadReady:
		w.check.readReady(n, e)
	case quorum.VersionUpgraded:
		w.check.upgraded(n, e)
	case quorum.ReadFailed:
		delete(w.check.reads, e.Token)
	case quorum.ProposeControl:
		n.proposeControl(e)
	case quorum.Truncate:
		n.truncate(e.To)
	case quorum.Flush:
		n.flush(e)
	case quorum.Read:
		data, ok := n.read(e)
		if !ok {
			return
		}
		n.later(w.between(0, w.s.fsync/4), func() { n.step(quorum.ReadDone{Token: e.Token, Data: data}) })
	case quorum.ReadSnapshot, quorum.WriteSnapshot, quorum.AbandonSnapshot, quorum.InstallSnapshot, quorum.DropPrefix:
		n.carryOutSnapshot(e)
	case quorum.Send:
		w.check.send(n, e)
		w.check.requestBears(n, e)
		w.transmit(n, e)
	case quorum.Reply:
		w.answer(n, e)
	case quorum.Committed:
		w.check.commit(n, e.HighWatermark)
		n.answerClients(e.HighWatermark)
		w.strikeAfterCommit(n)
	case quorum.LeaderChanged:
		n.dropClients()
		n.accumulator = accumulator{}
		if int(e.LeaderID) == n.id {
			n.accumulator = accumulator{open: true, epoch: e.Epoch, next: e.NextOffset}
			w.check.elected(n, e)
			w.strikeLeader(n)
		}
	case quorum.ReplaceDirectory:
		if !w.s.formationSafe || !n.wiped {
			w.check.fail("n%d gives up its directory without having lost it", n.id)
		}
		n.later(n.fsyncTime(), func() {
			id := w.randomUUID()
			if n.real != nil && !n.real.replaceDirectory(id) {
				return
			}
			n.disk.synced.directory = id
			n.step(quorum.DirectoryReplaced{DirectoryID: n.directory()})
		})
	case quorum.ShutdownComplete:
		n.later(w.between(0, time.Millisecond), func() { n.stop(w.chance(0.5)) })
	case quorum.Note:
		if e.Level == quorum.NoteError {
			w.check.contradiction(n, e.Text)
		}
	}
}
