package sim

import (
	"math"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/kraft-dev/kraft-operator/internal/quorum"
)

// Clients of a small key-value store over the log: they put, and they read with a linearizable read, either the engine's
// (ReadIndex) or one that waits for a record that was appended since its arrival. What they saw is checked with porcupine, key
// by key. A client that gets no answer does not know whether its put was done, nor when.

// history is what clients saw of one key.
type history struct {
	ops     []clientOp
	unknown int // puts without an answer
}

type clientOp struct {
	put           bool
	value         uint64 // put, or read; 0: nothing yet
	called, ended int64  // in the order of the run; ended 0: no answer
}

// waiting is an operation at a leader.
type waiting struct {
	key, op int
	until   quorum.Offset // answered once this record is committed
}

const (
	keysInPlay   = 2
	opsPerKey    = 10 // then another takes its place: checking takes time exponential in what is concurrent
	unknownByKey = 3
)

func (w *world) planClients() {
	w.after(w.between(0, 2*max(w.s.write, 20*time.Millisecond)), func() {
		if n := w.someLeader(); n != nil {
			n.serveClient()
		}
		w.planClients()
	})
}

// someLeader is any node that believes to lead, for a client doesn't know better.
func (w *world) someLeader() *node {
	var found []*node
	for _, n := range w.nodes {
		if n.up && n.accumulator.open && !n.leaving && n.frozenUntil <= w.now {
			found = append(found, n)
		}
	}
	if len(found) == 0 {
		return nil
	}
	return found[w.rng.IntN(len(found))]
}

// key is one that is in play.
func (w *world) key() int {
	i := w.rng.IntN(keysInPlay)
	for len(w.keys) < keysInPlay {
		w.keys = append(w.keys, len(w.histories))
		w.histories = append(w.histories, &history{})
	}
	if h := w.histories[w.keys[i]]; len(h.ops) >= opsPerKey || h.unknown >= unknownByKey {
		w.keys[i] = len(w.histories)
		w.histories = append(w.histories, &history{})
	}
	return w.keys[i]
}

func (n *node) serveClient() {
	w, a := n.w, &n.accumulator
	key := w.key()
	h := w.histories[key]
	w.opClock++
	op := clientOp{put: w.chance(0.5), called: w.opClock}
	until := a.next // a read waits for a record behind it
	if op.put {
		w.values++
		op.value = w.values
		id := w.newBatch(quorum.BatchInfo{Base: a.next, Last: a.next, Epoch: a.epoch, Size: batchSize}, w.values)
		w.batches[id].key = key + 1
		a.held = append(a.held, id)
		a.next++
		n.later(w.between(0, 3*time.Millisecond), n.propose)
	}
	p := waiting{key, len(h.ops), until}
	h.ops = append(h.ops, op)
	if op.put || w.chance(0.5) {
		n.waiting = append(n.waiting, p)
		return
	}
	w.replyTo++
	w.check.reads[w.replyTo], n.reads[w.replyTo] = w.endOf(w.check.committed), p
	n.step(quorum.ReadIndex{Token: w.replyTo})
}

// readReady answers a read by what is committed below the offset, as soon as that is known here.
func (n *node) readReady(e quorum.ReadReady) {
	p, ok := n.reads[e.Token]
	if !ok {
		return
	}
	delete(n.reads, e.Token)
	p.until = e.Offset - 1
	n.waiting = append(n.waiting, p)
	n.answerClients(n.committed)
}

// answerClients: what was waited for is committed, and this node led all the time.
func (n *node) answerClients(hw quorum.Offset) {
	w := n.w
	rest := n.waiting[:0]
	for _, p := range n.waiting {
		if p.until >= hw {
			rest = append(rest, p)
			continue
		}
		w.opClock++
		op := &w.histories[p.key].ops[p.op]
		op.ended = w.opClock
		if !op.put {
			op.value = n.lookup(p.key)
		}
		w.count("client operations answered")
	}
	n.waiting = rest
}

// lookup is the value of a key where the node has committed to.
func (n *node) lookup(key int) uint64 {
	for i := n.verified - 1; i >= 0; i-- {
		if b := n.w.batches[n.disk.log[i]]; b.key == key+1 {
			return b.value
		}
	}
	return 0
}

// dropClients: the node leads no more.
func (n *node) dropClients() {
	for _, p := range n.waiting {
		if h := n.w.histories[p.key]; h.ops[p.op].put {
			h.unknown++
		}
	}
	n.waiting = nil
}

// register is the model: a key has the value that was put last.
var register = porcupine.Model{
	Init: func() any { return uint64(0) },
	Step: func(state, input, output any) (bool, any) {
		op := input.(clientOp)
		if op.put {
			return true, op.value
		}
		return state == output, state
	},
}

// requireLinearizable checks what clients saw.
func (w *world) requireLinearizable() {
	for key, h := range w.histories {
		var ops []porcupine.Operation
		for i, op := range h.ops {
			if op.ended == 0 && !op.put {
				continue
			}
			end := op.ended
			if end == 0 {
				end = math.MaxInt64
			}
			ops = append(ops, porcupine.Operation{ClientId: i, Input: op, Call: op.called, Output: op.value, Return: end})
		}
		if !porcupine.CheckOperations(register, ops) {
			w.check.fail("key %d is not linearizable: %+v", key, h.ops)
		}
	}
}
