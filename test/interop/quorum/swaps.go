package main

import "fmt"

// swaps lets each kind start on a disk that the other kind has written, and lead from it.
func (w *world) swaps() {
	for _, n := range []*node{w.of(goKind)[0], w.of(javaKind)[0]} {
		from := n.kind
		ok := w.check(fmt.Sprintf("a %s controller starts on the disk that a %s node wrote", from.other(), from), func() {
			w.caughtUp()
			n.stop()
			n.kind = from.other()
			n.start()
			w.caughtUp()
		})
		if !ok {
			return
		}
		w.check(fmt.Sprintf("%s leads from the disk that a %s node wrote", n, from), func() {
			w.leadBy(n)
			w.writesGoOn()
		})
	}
	w.check("after the two changed programs, logs are equal byte for byte up to the high watermark", w.requireSameLogs)
}

// leadBy makes one node the leader: all voters of other kinds than its own, then all others, are left out.
func (w *world) leadBy(n *node) {
	for range 2 * handOvers {
		s := w.caughtUp()
		if s.leader == n {
			return
		}
		var left []*node
		for _, o := range w.voters {
			if o != n && o != s.leader && len(left) < (len(w.voters)-1)/2 {
				left = append(left, o)
			}
		}
		w.stopLeader(s, n, left)
		w.repair()
	}
	failf("%s was not elected", n)
}
