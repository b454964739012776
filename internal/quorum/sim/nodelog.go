package sim

import (
	"encoding/binary"
	"sort"

	"github.com/kraft-dev/kraft-operator/internal/quorum"
)

func (n *node) append(e quorum.Append) {
	w := n.w
	if end := n.end(); e.Base != end {
		w.check.fail("n%d appends at %d, its log ends at %d", n.id, e.Base, end)
	}
	if e.Control != nil {
		n.appendBatch(w.newBatch(quorum.BatchInfo{Base: e.Base, Last: e.End - 1, Epoch: e.Epoch, Size: batchSize, Control: e.Control}, 0))
	} else {
		ids, ok := w.decode(e.Data)
		if !ok || len(ids) != len(e.Batches) {
			w.check.fail("n%d appends %d batches, of which %d are known, for %d", n.id, len(ids), len(ids), len(e.Batches))
		}
		for _, id := range ids {
			n.appendBatch(id)
		}
	}
	if n.real != nil && !n.real.append(e) {
		return
	}
	if end := n.end(); end != e.End {
		w.check.fail("n%d's log ends at %d after an append to %d", n.id, end, e.End)
	}
}

func (n *node) appendBatch(id batchID) {
	n.w.check.append(n, id)
	n.disk.append(id)
}

func (n *node) truncate(to quorum.Offset) {
	k := len(n.disk.log)
	for k > 0 && n.w.batches[n.disk.log[k-1]].info.Last >= to {
		k--
	}
	n.w.check.truncate(n, to, k)
	n.disk.truncate(k)
	n.verified = min(n.verified, k)
	if n.real != nil {
		n.real.truncate(to)
	}
}

// lastEpoch is that of the last record, 0 if there is none.
func (n *node) lastEpoch() quorum.Epoch {
	if k := len(n.disk.log); k > 0 {
		return n.w.batches[n.disk.log[k-1]].info.Epoch
	}
	return 0
}

func (n *node) end() quorum.Offset { return n.w.endOf(n.disk.log) }

func (w *world) endOf(log []batchID) quorum.Offset {
	if k := len(log); k > 0 {
		return w.batches[log[k-1]].info.Last + 1
	}
	return 0
}

// flush syncs in the background, one at a time, the latest request next.
func (n *node) flush(e quorum.Flush) {
	if n.flushing {
		n.flushNext = &e
		return
	}
	n.flushing = true
	mark := n.disk.mark()
	sync := func() bool {
		if n.real != nil {
			return n.real.flush()
		}
		n.disk.sync(mark)
		return true
	}
	early := n.real != nil && n.w.chance(0.5) // durable before the word of it is as possible as after
	if early && !sync() {
		return
	}
	n.later(n.fsyncTime(), func() {
		if n.syncFails() || !early && !sync() {
			return
		}
		n.flushing = false
		if next := n.flushNext; next != nil {
			n.flushNext = nil
			n.flush(*next)
		}
		if n.up {
			n.step(quorum.Flushed(e))
		}
	})
}

// index is the number, in its log, of the batch that holds an offset.
func (n *node) index(offset quorum.Offset) int {
	return sort.Search(len(n.disk.log), func(i int) bool { return n.w.batches[n.disk.log[i]].info.Last >= offset })
}

// read returns a few batches from an offset.
func (n *node) read(e quorum.Read) (data []byte, ok bool) {
	limit := 1 + n.w.rng.IntN(20)
	if n.w.healed {
		limit = 1 << 20
	}
	first := n.index(e.From)
	if first < n.disk.first {
		n.w.check.fail("n%d reads from %d, its log begins at %d", n.id, e.From, n.w.offsetAt(n.disk.log, n.disk.first))
	}
	if n.real != nil {
		return n.real.read(e)
	}
	for _, id := range n.disk.log[first:] {
		if limit > 0 {
			data = n.w.encode(data, id)
			limit--
		}
	}
	return data, true
}

const batchSize = 4

func decodeBatch(data []byte) batchID { return batchID(binary.BigEndian.Uint32(data)) }
