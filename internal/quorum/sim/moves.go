package sim

import (
	"time"

	"github.com/kraft-dev/kraft-operator/internal/quorum"
)

// planMove gives nodes other addresses, one or all of them: their voter entries are out of date until they have told a
// leader, and until then their routes must do.
func (w *world) planMove() {
	if !w.s.moves {
		return
	}
	all := w.chance(0.3)
	w.after(w.between(0, w.s.faults), func() {
		if w.healed {
			return
		}
		only := w.rng.IntN(w.s.controllers())
		for _, n := range w.nodes[:w.s.controllers()] {
			if all || n.id == only {
				w.tracef("FAULT n%d moves", n.id)
				n.moved++
				w.faultCrash(n)
			}
		}
		for _, n := range w.nodes {
			n.later(w.between(0, 2*time.Second), func() { n.step(quorum.Routes{Nodes: w.routes()}) })
		}
	})
}

// routes are where the controllers are now. Where nobody moves a route may be wrong: it leads to a node of another cluster, or to
// another controller. With kraft.version 0 all are, and none may be taken.
func (w *world) routes() []quorum.Node {
	var out []quorum.Node
	for _, n := range w.nodes[:w.s.controllers()] {
		e := n.endpoints()[0]
		switch {
		case w.s.kraftVersion == 0:
			e.Host = stranger
		case w.s.moves || !w.chance(w.s.astray):
		case w.chance(0.3):
			e.Host = stranger
		default:
			e = w.nodes[w.rng.IntN(w.s.controllers())].endpoints()[0]
		}
		out = append(out, quorum.Node{ID: quorum.NodeID(n.id), Host: e.Host, Port: e.Port})
	}
	return out
}

// stranger is a host of another cluster.
const stranger = "stranger"

// askStranger carries a request to another cluster, whose answer is the same to all.
func (w *world) askStranger(n *node, e quorum.Send) {
	if w.s.kraftVersion == 0 && n.q.Status().KRaftVersion < 1 {
		w.check.fail("n%d takes a route to n%d, with kraft.version 0", n.id, e.To.ID)
	}
	w.count("strangers asked")
	a := quorum.Answer{TopError: quorum.InconsistentClusterID, Leader: quorum.LeaderAndEpoch{LeaderID: quorum.None}, Endpoint: quorum.Node{ID: quorum.None}}
	var m quorum.Message
	switch e.Message.(type) {
	case *quorum.VoteRequest:
		m = &quorum.VoteResponse{Answer: a}
	case *quorum.BeginQuorumEpochRequest:
		m = &quorum.BeginQuorumEpochResponse{Answer: a}
	case *quorum.EndQuorumEpochRequest:
		m = &quorum.EndQuorumEpochResponse{Answer: a}
	case *quorum.FetchRequest:
		m = &quorum.FetchResponse{Answer: a}
	case *quorum.FetchSnapshotRequest:
		m = &quorum.FetchSnapshotResponse{Answer: a}
	case *quorum.UpdateVoterRequest:
		a.TopError, a.Error = quorum.NoError, a.TopError
		m = &quorum.UpdateVoterResponse{Answer: a}
	case *quorum.AddVoterRequest:
		m = &quorum.AddVoterResponse{Error: a.TopError}
	case *quorum.RemoveVoterRequest:
		m = &quorum.RemoveVoterResponse{Error: a.TopError}
	default:
		w.check.fail("n%d sends %T to another cluster", n.id, e.Message)
	}
	n.later(2*w.travelTime(), func() { n.step(quorum.Response{Correlation: e.Correlation, Message: m}) })
}

// requireTold: whoever moved has told the leader, and that is committed.
func (w *world) requireTold() {
	if !w.s.moves {
		return
	}
	stale := func() *node {
		l := w.leader()
		if l == nil {
			return w.nodes[0]
		}
		for _, v := range w.check.committedVoters().Voters() {
			n := w.nodes[v.Key.ID]
			if e, ok := v.Endpoint("CONTROLLER"); n.key() == v.Key && (!ok || e != n.endpoints()[0]) {
				return n
			}
		}
		return nil
	}
	w.runUntil(w.now+healBound, func() bool { return stale() == nil })
	if n := stale(); n != nil {
		w.check.fail("n%d has moved, and %s later the committed voters are still %+v", n.id, healBound, w.check.committedVoters().Voters())
	}
}
