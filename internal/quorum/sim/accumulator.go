package sim

import (
	"time"

	"github.com/kraft-dev/kraft-operator/internal/quorum"
)

// accumulator gives offsets while the node leads.
type accumulator struct {
	open  bool
	epoch quorum.Epoch
	next  quorum.Offset
	held  []batchID
}

// write lets a client's records into the accumulator, and hands over what it holds.
func (n *node) write() {
	a := &n.accumulator
	if !n.up || !a.open {
		return
	}
	w := n.w
	for range 1 + w.rng.IntN(2) {
		count := quorum.Offset(1 + w.rng.IntN(3))
		w.values++
		id := w.newBatch(quorum.BatchInfo{Base: a.next, Last: a.next + count - 1, Epoch: a.epoch, Size: batchSize}, w.values)
		a.held = append(a.held, id)
		a.next += count
	}
	n.later(w.between(0, 3*time.Millisecond), n.propose)
}

// proposeControl gives the engine's own records offsets, behind what clients have written.
func (n *node) proposeControl(e quorum.ProposeControl) {
	a := &n.accumulator
	if !a.open || a.epoch != e.Epoch {
		return
	}
	last := a.next + quorum.Offset(len(e.Records)) - 1
	id := n.w.newBatch(quorum.BatchInfo{Base: a.next, Last: last, Epoch: a.epoch, Size: batchSize, Control: e.Records}, 0)
	a.held = append(a.held, id)
	a.next = last + 1
	n.later(n.w.between(0, 3*time.Millisecond), n.propose)
	n.w.strikeLeader(n)
}

func (n *node) propose() {
	a := &n.accumulator
	if !a.open || len(a.held) == 0 {
		return
	}
	p := quorum.Propose{Epoch: a.epoch}
	for _, id := range a.held {
		p.Batches = append(p.Batches, n.w.batches[id].info)
		p.Data = n.w.encode(p.Data, id)
	}
	a.held = nil
	n.step(p)
}
