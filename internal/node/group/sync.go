package group

import (
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
)

// SyncRequest is SyncGroup without its wire form; Assignments is the leader's.
type SyncRequest struct {
	MemberID               string
	InstanceID             *string
	Generation             int32
	ProtocolType, Protocol *string // v5 and later; nil is not checked
	Assignments            map[string][]byte
}

// SyncReply is what SyncGroup answers.
type SyncReply struct {
	Err                    error
	ProtocolType, Protocol string
	Assignment             []byte
}

// Sync hands the leader's assignment in, or waits for it.
func (g *Group) Sync(now time.Duration, r SyncRequest, waiter any) (fx Effects) {
	m, err := g.checkGeneration(r.MemberID, r.InstanceID, r.Generation)
	switch {
	case err != nil:
	case r.ProtocolType != nil && *r.ProtocolType != g.ProtocolType, r.Protocol != nil && *r.Protocol != g.Protocol:
		err = kerr.InconsistentGroupProtocol
	case g.State == PreparingRebalance:
		err = kerr.RebalanceInProgress
	}
	if err != nil {
		fx.sync(waiter, SyncReply{Err: err})
		return fx
	}
	g.touch(m, now)
	if g.State == Stable {
		fx.sync(waiter, g.assigned(m))
		return fx
	}
	if m.sync != nil {
		fx.sync(m.sync, SyncReply{Err: kerr.RebalanceInProgress})
	}
	m.sync, m.synced = waiter, true
	if m.ID == g.Leader && !g.persisting {
		for _, other := range g.Members {
			other.Assignment = r.Assignments[other.ID]
		}
		g.persisting, fx.Persist = true, true
	}
	return fx
}

func (g *Group) assigned(m *Member) SyncReply {
	return SyncReply{ProtocolType: g.ProtocolType, Protocol: g.Protocol, Assignment: m.Assignment}
}

// Persisted tells the group that the record asked for by Persist in generation is replicated, or why it isn't.
// Only the record of an assignment changes what the group does.
func (g *Group) Persisted(now time.Duration, generation int32, err error) (fx Effects) {
	if g.State != CompletingRebalance || g.Generation != generation || !g.persisting {
		return fx
	}
	g.persisting = false
	if err != nil {
		for _, m := range g.Ordered() {
			m.Assignment = nil
			if m.sync != nil {
				fx.sync(m.sync, SyncReply{Err: err})
				m.sync = nil
			}
		}
		g.prepareRebalance(now, &fx)
		return fx
	}
	g.enter(Stable, now)
	for _, m := range g.Ordered() {
		if m.sync != nil {
			fx.sync(m.sync, g.assigned(m))
			m.sync = nil
			g.touch(m, now)
		}
	}
	return fx
}

// checkGeneration finds the speaker and compares its generation with the group's.
func (g *Group) checkGeneration(memberID string, instanceID *string, generation int32) (*Member, error) {
	if g.State == Dead {
		return nil, kerr.CoordinatorNotAvailable
	}
	m, err := g.member(memberID, instanceID)
	if err != nil {
		return nil, err
	}
	if generation != g.Generation {
		return nil, kerr.IllegalGeneration
	}
	return m, nil
}

// Heartbeat keeps a member's session alive and tells it of a round under way.
func (g *Group) Heartbeat(now time.Duration, memberID string, instanceID *string, generation int32) error {
	m, err := g.checkGeneration(memberID, instanceID, generation)
	if err != nil {
		return err
	}
	g.touch(m, now)
	if g.State == PreparingRebalance {
		return kerr.RebalanceInProgress
	}
	return nil
}

// Leave removes one member at its own word, or a static one at an administrator's (empty member id).
func (g *Group) Leave(now time.Duration, memberID string, instanceID *string) (fx Effects, err error) {
	if g.State == Dead {
		return fx, kerr.CoordinatorNotAvailable
	}
	if _, ok := g.pending[memberID]; ok && instanceID == nil {
		delete(g.pending, memberID)
		if g.State == PreparingRebalance {
			g.maybeCompleteJoin(now, &fx)
		}
		return fx, nil
	}
	if instanceID != nil && memberID == "" {
		memberID = g.static[*instanceID]
	}
	m, err := g.member(memberID, instanceID)
	if err != nil {
		return fx, err
	}
	g.dropParked(m, kerr.UnknownMemberID, &fx)
	g.remove(m)
	g.afterRemoval(now, &fx)
	return fx, nil
}

// CheckCommit tells whether a commit by this member may be stored. Generation -1 without members is a consumer
// that assigns partitions by itself. A commit between rounds is refused only while the assignment is awaited.
func (g *Group) CheckCommit(now time.Duration, memberID string, instanceID *string, generation int32) error {
	if generation < 0 && memberID == "" && instanceID == nil {
		switch g.State {
		case Dead:
			return kerr.CoordinatorNotAvailable
		case Empty:
			return nil
		}
		return kerr.UnknownMemberID
	}
	m, err := g.checkGeneration(memberID, instanceID, generation)
	if err != nil {
		return err
	}
	g.touch(m, now)
	if g.State == CompletingRebalance {
		return kerr.RebalanceInProgress
	}
	return nil
}
