package sim

import (
	"time"

	"github.com/kraft-dev/kraft-operator/internal/quorum"
)

// planRead asks for linearizable reads, here and there, and for handovers to a named voter.
func (w *world) planRead() {
	w.after(w.between(0, 20*w.s.write), func() {
		n := w.nodes[w.rng.IntN(len(w.nodes))]
		if l := w.leader(); l != nil && w.chance(0.5) {
			n = l
		}
		if n.up && n.frozenUntil <= w.now {
			n.readIndex()
		}
		w.planRead()
	})
}

// planPauseInRead stops a process as it has asked whether it still leads. When it goes on, others may have led and committed,
// and the next read comes to it before the answers, and the fetches, of those who followed it once.
func (w *world) planPauseInRead() {
	if !w.s.pauses {
		return
	}
	w.after(w.between(0, 4*time.Second), func() {
		if n := w.leader(); n != nil && !w.healed && n.frozenUntil <= w.now {
			w.faultPauseInRead(n)
		}
		w.planPauseInRead()
	})
}

func (w *world) faultPauseInRead(n *node) {
	n.readIndex()
	if !n.up {
		return
	}
	n.frozenUntil = w.now + w.between(2*time.Second, checkQuorum)
	w.tracef("FAULT n%d freezes in a read until %s", n.id, n.frozenUntil)
	n.later(0, n.readIndex)
}

// readIndex is a linearizable read.
func (n *node) readIndex() {
	n.w.replyTo++
	n.w.check.reads[n.w.replyTo] = n.w.endOf(n.w.check.committed)
	n.step(quorum.ReadIndex{Token: n.w.replyTo})
}

func (w *world) planTransfer() {
	w.after(w.between(0, 4*w.s.between), func() {
		n := w.leader()
		if w.healed {
			return
		}
		if n != nil && n.frozenUntil <= w.now {
			m := &quorum.TransferRequest{To: quorum.NodeID(w.rng.IntN(len(w.nodes)))}
			w.tracef("n%d is asked to hand over to n%d", n.id, m.To)
			if k := len(n.disk.log); k > 0 {
				w.check.transfers[m] = n.disk.log[k-1]
			}
			w.replyTo++
			w.calls[w.replyTo] = call{from: n.id, to: n.id, incarnation: -1, request: m}
			n.step(quorum.Request{ReplyTo: w.replyTo, Listener: "CONTROLLER", Message: m})
		}
		w.planTransfer()
	})
}

// readReady: a linearizable read sees all that anybody had called committed before it began.
func (c *checker) readReady(n *node, e quorum.ReadReady) {
	least, open := c.reads[e.Token]
	if !open {
		c.fail("n%d answers read %d, which is not open", n.id, e.Token)
	}
	if e.Offset < least {
		c.fail("n%d lets a read see all below %d, but %d was committed when it began", n.id, e.Offset, least)
	}
	delete(c.reads, e.Token)
	n.readReady(e)
}
