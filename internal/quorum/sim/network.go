package sim

import (
	"slices"
	"time"

	"github.com/kraft-dev/kraft-operator/internal/quorum"
)

func (w *world) travelTime() time.Duration {
	d := w.between(10*time.Microsecond, w.s.latency)
	if w.chance(w.s.slow) {
		d *= 10
	}
	if w.chance(w.s.stray) {
		d += w.between(0, strayTime)
	}
	return d
}

// strayTime is long enough for an election or two to pass meanwhile.
const strayTime = 5 * time.Second

func (n *node) fsyncTime() time.Duration {
	w := n.w
	d := w.between(10*time.Microsecond, w.s.fsync)
	if w.chance(0.01) {
		d *= 10
	}
	if w.now < n.slowUntil {
		d = min(d*time.Duration(n.slowBy), 5*time.Second)
	}
	return d
}

func (w *world) lost(from, to int) bool {
	return w.cut[[2]int{from, to}] || w.chance(w.s.drop)
}

// transmit carries a request. A connection has two ends: what was sent to an earlier life of a node does not reach
// the next one.
func (w *world) transmit(n *node, e quorum.Send) {
	if e.To.Host == stranger {
		w.askStranger(n, e)
		return
	}
	to, here := w.nodeAt(e.To)
	if to == nil {
		w.check.fail("n%d sends to %+v, where nobody ever was", n.id, e.To)
	}
	fail := func(d time.Duration, f quorum.SendFailure) {
		n.later(d, func() { n.step(quorum.SendFailed{Correlation: e.Correlation, Failure: f}) })
	}
	if v, ok := e.Message.(*quorum.VoteRequest); ok && v.PreVote && to.noPreVote {
		fail(w.travelTime(), quorum.VersionMismatch)
		return
	}
	if !to.up || !here {
		if w.chance(w.s.refuse) {
			fail(w.travelTime(), quorum.Refused)
		}
		return
	}
	copies := 1
	if w.chance(w.s.repeat) {
		copies = 2
	}
	life := n.incarnation
	for range copies {
		if w.lost(n.id, to.id) {
			if w.chance(0.2) {
				fail(w.travelTime(), quorum.Disconnected)
			}
			continue
		}
		peer, travel := to.incarnation, w.travelTime()
		w.after(travel, func() {
			if (!to.up || to.incarnation != peer) && w.chance(w.s.refuse) {
				fail(w.travelTime(), quorum.Refused)
			}
		})
		to.later(travel, func() {
			if _, ok := e.Message.(*quorum.ApiVersionsRequest); ok { // answered beside the engine
				if !w.lost(to.id, n.id) && n.up && n.incarnation == life {
					n.later(w.travelTime(), func() {
						n.step(quorum.Response{Correlation: e.Correlation, Message: &quorum.ApiVersionsResponse{KRaftVersion: &quorum.VersionRange{Max: 1}}})
					})
				}
				return
			}
			w.replyTo++
			w.calls[w.replyTo] = call{from: n.id, to: to.id, incarnation: life, correlation: e.Correlation, request: e.Message, at: w.now}
			to.step(quorum.Request{ReplyTo: w.replyTo, Listener: "CONTROLLER", Message: to.received(e.Message)})
		})
	}
}

// hangUp closes the connections of a process that ended: whoever waits for an answer hears of it.
func (w *world) hangUp(n *node) {
	var open []uint64
	for id, c := range w.calls {
		if c.to == n.id {
			open = append(open, id)
		}
	}
	slices.Sort(open)
	for _, id := range open {
		c := w.calls[id]
		delete(w.calls, id)
		from := w.nodes[c.from]
		if c.incarnation != from.incarnation || !from.up || from == n || w.lost(n.id, from.id) || !w.chance(w.s.refuse) {
			continue
		}
		from.later(w.travelTime(), func() {
			from.step(quorum.SendFailed{Correlation: c.correlation, Failure: quorum.Refused})
		})
	}
}

// received is a request as the receiver's version of the RPC shows it.
func (n *node) received(m quorum.Message) quorum.Message {
	if f, ok := m.(*quorum.FetchRequest); ok && n.w.nodes[f.Replica.ID].oldFetch {
		c := *f
		c.HighWatermark = quorum.NoHighWatermark
		return &c
	}
	return m
}

// answer carries a reply back.
func (w *world) answer(n *node, e quorum.Reply) {
	c, ok := w.calls[e.ReplyTo]
	if !ok {
		w.check.fail("n%d answers request %d, which is not open", n.id, e.ReplyTo)
	}
	delete(w.calls, e.ReplyTo)
	w.check.reply(n, c.request, e.Message)
	w.check.answerBears(n, c, e.Message)
	n.noteServed(c, e.Message)
	from := w.nodes[c.from]
	if from.incarnation != c.incarnation || !from.up {
		return
	}
	copies := 1
	if w.chance(w.s.repeat) {
		copies = 2
	}
	for range copies {
		if w.lost(n.id, from.id) {
			continue
		}
		from.later(w.travelTime(), func() {
			from.step(quorum.Response{Correlation: c.correlation, Message: w.parse(from, e.Message)})
			from.damagedNext = false
		})
	}
}

// parse is the receiving driver's work: it checks and describes the batches.
func (w *world) parse(n *node, m quorum.Message) quorum.Message {
	if s, ok := m.(*quorum.FetchSnapshotResponse); ok && len(s.Data) > 0 && w.chance(w.s.drop/3) {
		c := *s
		n.damagedNext = true
		c.Data = slices.Clone(s.Data)
		c.Data[w.rng.IntN(len(c.Data))] ^= 1
		return &c
	}
	f, ok := m.(*quorum.FetchResponse)
	if !ok {
		return m
	}
	c := *f
	switch damaged := len(c.Data) > 0 && w.chance(w.s.drop/10); {
	case damaged && w.real:
		c.Data = w.spoil(c.Data)
	case damaged:
		c.Data, c.Corrupt = nil, true
	}
	w.describe(&c)
	return &c
}

// nodeAt is who listens at an address, or did before it moved.
func (w *world) nodeAt(to quorum.Node) (n *node, here bool) {
	for _, n := range w.nodes {
		for moved := range n.moved + 1 {
			if e := endpointsAt(n.id, moved)[0]; e.Host == to.Host && e.Port == to.Port {
				return n, moved == n.moved || to.ID <= -2 // bootstrap servers go by a name that moves along
			}
		}
	}
	return nil, false
}
