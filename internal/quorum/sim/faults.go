package sim

import (
	"time"

	"github.com/kraft-dev/kraft-operator/internal/quorum"
)

// plan schedules starts, writes and the first phase's faults.
func (w *world) plan() {
	together := w.chance(0.5)
	for _, n := range w.nodes {
		d := w.between(0, 2*time.Second)
		if together {
			d = w.between(0, 20*time.Millisecond)
		}
		if n.id >= w.s.voters && w.chance(0.3) { // a new one
			d = w.between(0, w.s.faults)
		}
		w.after(d, func() {
			if !n.up {
				n.start()
			}
		})
	}
	w.planSnapshot()
	w.planObserverWipe()
	w.planWrite()
	w.planClients()
	w.planFault()
	w.planDescribe()
	w.planChange()
	w.planUpgrade()
	w.planMove()
	w.planDisk()
	w.planRead()
	w.planPauseInRead()
	w.planTransfer()
	if w.s.wipes > 0 && w.s.strike == 0 && w.chance(0.6) {
		w.planWipe()
	}
}

func (w *world) planWrite() {
	w.after(w.between(0, 2*w.s.write), func() {
		w.nodes[w.rng.IntN(len(w.nodes))].write()
		if w.healed {
			w.s.write = 200 * time.Millisecond // let everyone catch up
		}
		for _, n := range w.nodes {
			if n.accumulator.open && w.chance(0.7) {
				n.write()
			}
		}
		w.planWrite()
	})
}

func (w *world) planDescribe() {
	w.after(w.between(0, 2*time.Second), func() {
		n := w.nodes[w.rng.IntN(len(w.nodes))]
		if n.up && n.frozenUntil <= w.now {
			w.replyTo++
			w.calls[w.replyTo] = call{from: n.id, to: n.id, incarnation: -1}
			n.step(quorum.Request{ReplyTo: w.replyTo, Listener: "CONTROLLER", Message: &quorum.DescribeQuorumRequest{}})
		}
		w.planDescribe()
	})
}

func (w *world) planFault() {
	w.after(w.between(0, 2*w.s.between), func() {
		if w.healed {
			return
		}
		w.fault()
		w.planFault()
	})
}

// planWipe loses disks while the quorum forms, or later. Each is formatted again as the same initial voter, which is
// the worst case, or with a directory id of its own.
func (w *world) planWipe() {
	at := w.between(0, 2*time.Second)
	if w.chance(0.3) {
		at = w.between(0, w.s.faults)
	}
	for i := range 1 + w.rng.IntN(w.s.wipes) {
		w.after(at+w.between(0, time.Duration(i)*time.Second), func() {
			if !w.healed && w.mayLose(w.nodes[i]) {
				w.lose(w.nodes[i])
			}
		})
	}
}

// planObserverWipe: an observer that lost its disk is none the worse.
func (w *world) planObserverWipe() {
	for _, n := range w.nodes[w.s.controllers():] {
		if w.chance(0.5) {
			w.after(w.between(0, w.s.faults), func() {
				if !w.healed && w.mayLose(n) {
					w.lose(n)
				}
			})
		}
	}
}

// strikeLeader crashes a new leader, or cuts it off, about when its first record is on its way; or one that changes the
// voters, about when that is.
func (w *world) strikeLeader(n *node) {
	if w.healed || !w.chance(w.s.churn) {
		return
	}
	n.later(w.between(0, 3*w.s.latency+2*w.s.fsync), func() {
		switch {
		case w.healed:
		case w.chance(0.5):
			w.faultCrash(n)
		default:
			w.faultCutOne(n)
		}
	})
}

// strikeAfterCommit takes the disk of a follower that holds what was just committed, and the leader's life for a while.
func (w *world) strikeAfterCommit(leader *node) {
	if w.healed || w.s.strike == 0 || len(w.check.committed) < w.s.strike {
		return
	}
	w.s.strike = 0
	last := len(w.check.committed) - 1
	w.after(0, func() {
		for _, i := range w.rng.Perm(w.s.voters) {
			if n := w.nodes[i]; n != leader && holds(n.disk.synced.log, last, w.check.committed[last]) {
				w.lose(n)
				break
			}
		}
		w.faultCrash(leader)
	})
}

func (w *world) fault() {
	n := w.nodes[w.rng.IntN(len(w.nodes))]
	if w.chance(0.4) { // the leader makes for better stories
		for _, l := range w.nodes {
			if l.up && l.q.Status().Role == quorum.Leader {
				n = l
			}
		}
	}
	switch w.rng.IntN(11) {
	case 0, 1, 2:
		w.faultCrash(n)
	case 3:
		w.faultCutOne(n)
	case 4:
		w.faultPartition()
	case 5:
		if n.up {
			n.frozenUntil = w.now + w.between(0, 4*time.Second)
			w.tracef("FAULT n%d freezes until %s", n.id, n.frozenUntil)
		}
	case 6, 7:
		if n.up && !n.leaving && n.frozenUntil <= w.now {
			w.tracef("FAULT n%d leaves", n.id)
			n.leave()
		}
	case 8:
		if n.up && n.frozenUntil <= w.now {
			w.tracef("FAULT n%d is asked to resign", n.id)
			n.step(quorum.Resign{Epoch: n.q.Status().Epoch})
		}
	case 9:
		w.faultRoll()
	case 10:
		w.faultReplace(n)
	}
}

func (w *world) faultCrash(n *node) {
	if !n.up {
		return
	}
	w.tracef("FAULT n%d crashes", n.id)
	n.crash()
	away := 3 * time.Second
	if w.s.snapshot > 0 && w.chance(0.2) { // long enough to be left behind
		away = 10 * time.Second
	}
	w.after(w.between(0, away), func() {
		if !n.up {
			n.start()
		}
	})
}

// faultCutOne cuts the links of one node, one way or both.
func (w *world) faultCutOne(n *node) {
	way := w.rng.IntN(3)
	w.tracef("FAULT n%d is cut off (%d)", n.id, way)
	for _, o := range w.nodes {
		if way != 1 {
			w.cut[[2]int{n.id, o.id}] = true
		}
		if way != 0 {
			w.cut[[2]int{o.id, n.id}] = true
		}
	}
	w.after(w.between(0, 5*time.Second), w.heal)
}

func (w *world) faultPartition() {
	side := map[int]bool{}
	for _, n := range w.nodes {
		side[n.id] = w.chance(0.5)
	}
	w.tracef("FAULT partition %v", side)
	for _, a := range w.nodes {
		for _, b := range w.nodes {
			if side[a.id] != side[b.id] {
				w.cut[[2]int{a.id, b.id}] = true
			}
		}
	}
	w.after(w.between(0, 5*time.Second), w.heal)
}

func (w *world) heal() {
	w.tracef("links are whole")
	clear(w.cut)
}

// faultRoll restarts everyone in turn, gracefully.
func (w *world) faultRoll() {
	w.tracef("FAULT rolling restart")
	for i, n := range w.nodes {
		w.after(time.Duration(i)*w.between(200*time.Millisecond, 2*time.Second), func() {
			if n.up && !n.leaving && n.frozenUntil <= w.now {
				n.leave()
			}
		})
	}
}
