package quorum

import "fmt"

// outbox is the one way out. It keeps the order of effects, and it keeps back whatever was emitted after an election
// state that must be durable first, until it is.
type outbox struct {
	fx   Effects      // leave with this Step
	held []heldEffect // in order; empty unless gate > persisted

	seq       uint64 // of the newest PersistElection
	newest    ElectionState
	persisted uint64 // highest Seq known to be on disk
	gate      uint64 // effects emitted from now on wait for this Seq

	writing bool // this Step has emitted a PersistElection, at writeAt
	writeAt int
}

// begin starts a Step.
func (o *outbox) begin() { o.fx, o.writing = nil, false }

type heldEffect struct {
	effect Effect
	gate   uint64
}

// emit appends an effect. Only PersistElection overtakes.
func (o *outbox) emit(e Effect) {
	if o.gate > o.persisted {
		o.held = append(o.held, heldEffect{e, o.gate})
		return
	}
	o.fx = append(o.fx, e)
}

// persist asks for state to be written. With wait, nothing emitted later leaves before it is on disk.
func (o *outbox) persist(state ElectionState, wait bool) {
	if o.seq == 0 || state != o.newest {
		o.newest = state
		if o.writing { // one rewrite carries epoch and vote
			o.fx[o.writeAt] = PersistElection{Seq: o.seq, State: state}
		} else {
			o.seq++
			o.writing, o.writeAt = true, len(o.fx)
			o.fx = append(o.fx, PersistElection{Seq: o.seq, State: state})
		}
	}
	if wait {
		o.gate = o.seq
	}
}

// onPersisted releases what waited for seq or less.
func (o *outbox) onPersisted(seq uint64) {
	if seq > o.seq {
		return // not ours
	}
	o.persisted = max(o.persisted, seq)
	n := 0
	for n < len(o.held) && o.held[n].gate <= o.persisted {
		o.fx = append(o.fx, o.held[n].effect)
		n++
	}
	clear(o.held[:n])
	o.held = o.held[n:]
	if len(o.held) == 0 {
		o.held = nil
	}
}

func (q *Quorum) note(level NoteLevel, format string, args ...any) {
	// A note tells no peer anything, so it needs to wait for no disk.
	q.out.fx = append(q.out.fx, Note{Level: level, Text: fmt.Sprintf(format, args...)})
}

// persist writes the election state. A blank voter that has not voted keeps its disk blank: see formation.go.
func (q *Quorum) persist(wait bool) {
	if q.blank && !q.election.Voted.Known() && planted != blankRemembers {
		return
	}
	q.blank = false
	q.out.persist(q.election, wait)
}
