package sim

import (
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
			w.replyTo++
			w.check.reads[w.replyTo] = w.endOf(w.check.committed)
			n.step(quorum.ReadIndex{Token: w.replyTo})
		}
		w.planRead()
	})
}

func (w *world) planTransfer() {
	w.after(w.between(0, 10*w.s.between), func() {
		n := w.leader()
		if w.healed {
			return
		}
		if n != nil && n.frozenUntil <= w.now {
			m := &quorum.TransferRequest{To: quorum.NodeID(w.rng.IntN(len(w.nodes)))}
			w.tracef("n%d is asked to hand over to n%d", n.id, m.To)
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
