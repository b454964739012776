package group

import (
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
)

// JoinRequest is JoinGroup without its wire form.
type JoinRequest struct {
	MemberID             string
	InstanceID           *string
	NewMemberID          string // what to call the sender if it has no id yet: client id and a random uuid
	ClientID, ClientHost string
	RequireKnownMemberID bool // v4 and later: hand out the id first (KIP-394)
	SkipAssignment       bool // v9 and later can be told so (KIP-814)
	RebalanceTimeout     time.Duration
	SessionTimeout       time.Duration
	ProtocolType         string
	Protocols            []Protocol
}

// JoinReply is what JoinGroup answers. Members is filled for the leader only.
type JoinReply struct {
	Err            error // a kerr.Error, nil for NONE
	Generation     int32
	ProtocolType   string
	Protocol       string
	Leader         string
	SkipAssignment bool
	MemberID       string
	Members        []*Member
}

// Join takes a member into the next round. The answer comes in these Effects, or in later ones if it is parked.
func (g *Group) Join(now time.Duration, r JoinRequest, waiter any) (fx Effects) {
	refuse := func(err error) Effects {
		fx.join(waiter, JoinReply{Err: err, MemberID: r.MemberID, Generation: -1})
		return fx
	}
	switch {
	case g.ID == "":
		return refuse(kerr.InvalidGroupID)
	case r.SessionTimeout < g.cfg.MinSessionTimeout || r.SessionTimeout > g.cfg.MaxSessionTimeout:
		return refuse(kerr.InvalidSessionTimeout)
	case g.State == Dead:
		return refuse(kerr.CoordinatorNotAvailable)
	case g.full(r):
		return refuse(kerr.GroupMaxSizeReached)
	case !g.supports(r.ProtocolType, r.Protocols, r.MemberID):
		return refuse(kerr.InconsistentGroupProtocol)
	}
	switch _, isPending := g.pending[r.MemberID]; {
	case r.MemberID == "" && r.InstanceID != nil:
		g.joinStatic(now, r, waiter, &fx)
	case r.MemberID == "" && r.RequireKnownMemberID:
		g.pending[r.NewMemberID] = now + r.SessionTimeout
		fx.join(waiter, JoinReply{Err: kerr.MemberIDRequired, MemberID: r.NewMemberID, Generation: -1})
	case r.MemberID == "":
		g.joinNew(now, r, r.NewMemberID, waiter, &fx)
	case isPending && r.InstanceID == nil:
		g.joinNew(now, r, r.MemberID, waiter, &fx)
	default:
		m, err := g.member(r.MemberID, r.InstanceID)
		if err != nil {
			return refuse(err)
		}
		g.rejoin(now, m, r, waiter, &fx)
	}
	return fx
}

// full tells whether the group takes no more members than it has; a member that is in may always join again.
func (g *Group) full(r JoinRequest) bool {
	if _, in := g.Members[r.MemberID]; in || g.cfg.MaxSize <= 0 {
		return false
	}
	if _, in := g.pending[r.MemberID]; in {
		return len(g.Members) >= g.cfg.MaxSize
	}
	if r.InstanceID != nil {
		if _, in := g.static[*r.InstanceID]; in {
			return false
		}
	}
	return len(g.Members)+len(g.pending) >= g.cfg.MaxSize
}

func (m *Member) update(r JoinRequest) {
	m.ClientID, m.ClientHost = r.ClientID, r.ClientHost
	m.RebalanceTimeout, m.SessionTimeout, m.Protocols = r.RebalanceTimeout, r.SessionTimeout, r.Protocols
}

func (g *Group) joinNew(now time.Duration, r JoinRequest, id string, waiter any, fx *Effects) {
	if len(g.Members) == 0 {
		g.ProtocolType = r.ProtocolType
	}
	m := &Member{ID: id, InstanceID: r.InstanceID, join: waiter}
	m.update(r)
	g.add(m)
	g.touch(m, now)
	if g.State == PreparingRebalance && g.initial {
		g.newMember = true
	}
	g.prepareRebalance(now, fx)
}

// joinStatic takes a static member in, or gives a restarted one a fresh member id: if its subscription is
// the same in a stable group nobody else notices (KIP-345).
func (g *Group) joinStatic(now time.Duration, r JoinRequest, waiter any, fx *Effects) {
	oldID, known := g.static[*r.InstanceID]
	if !known {
		g.joinNew(now, r, r.NewMemberID, waiter, fx)
		return
	}
	m := g.Members[oldID]
	g.dropParked(m, kerr.FencedInstanceID, fx)
	wasLeader := g.Leader == oldID
	same := sameProtocols(m.Protocols, r.Protocols)
	g.remove(m)
	m.ID = r.NewMemberID
	g.add(m)
	m.update(r)
	g.touch(m, now)
	if wasLeader {
		g.Leader = m.ID
	}
	if g.State == Stable && same {
		// The record that names the old member id must be replaced, but nobody waits for it.
		fx.Persist = true
		fx.join(waiter, g.joined(m, wasLeader))
		return
	}
	m.join = waiter
	g.prepareRebalance(now, fx)
}

func (g *Group) rejoin(now time.Duration, m *Member, r JoinRequest, waiter any, fx *Effects) {
	same := sameProtocols(m.Protocols, r.Protocols)
	if m.join != nil { // the client gave up on its earlier request
		g.dropParked(m, kerr.RebalanceInProgress, fx)
	}
	g.touch(m, now)
	switch {
	case g.State == CompletingRebalance && same:
		// It did not see our answer, or joins twice: tell it again.
		fx.join(waiter, g.joined(m, false))
	case g.State == Stable && same && g.Leader != m.ID:
		fx.join(waiter, g.joined(m, false))
	case g.State == Empty:
		fx.join(waiter, JoinReply{Err: kerr.UnknownMemberID, MemberID: m.ID, Generation: -1})
	default:
		m.update(r)
		m.join = waiter
		g.prepareRebalance(now, fx)
	}
}

// prepareRebalance starts a round, or goes on with the one under way.
func (g *Group) prepareRebalance(now time.Duration, fx *Effects) {
	if g.State != PreparingRebalance {
		g.interruptSync(fx)
		g.initial = g.State == Empty && g.cfg.InitialRebalanceDelay > 0
		g.newMember = false
		limit := g.longestRebalance()
		g.joinDeadline = now + limit
		if g.initial {
			g.initialEnd = now + limit
			g.joinDeadline = now + min(limit, g.cfg.InitialRebalanceDelay)
		}
		g.enter(PreparingRebalance, now)
	}
	g.maybeCompleteJoin(now, fx)
}

// interruptSync tells those who wait for an assignment that there will be another round.
func (g *Group) interruptSync(fx *Effects) {
	for _, m := range g.Ordered() {
		if m.sync != nil {
			fx.sync(m.sync, SyncReply{Err: kerr.RebalanceInProgress})
			m.sync = nil
		}
		if g.State == CompletingRebalance {
			m.Assignment = nil
		}
	}
	g.persisting = false
}

func (g *Group) longestRebalance() (d time.Duration) {
	for _, m := range g.Members {
		d = max(d, m.RebalanceTimeout)
	}
	return d
}

// maybeCompleteJoin ends the round when all have joined or its time is over.
func (g *Group) maybeCompleteJoin(now time.Duration, fx *Effects) {
	due := now >= g.joinDeadline
	if due && g.initial && g.newMember && g.joinDeadline < g.initialEnd {
		g.newMember = false
		g.joinDeadline = min(g.initialEnd, now+g.cfg.InitialRebalanceDelay)
		return
	}
	all := len(g.pending) == 0
	for _, m := range g.Members {
		all = all && m.join != nil
	}
	if (all && !g.initial) || due {
		g.completeJoin(now, fx)
	}
}

func (g *Group) completeJoin(now time.Duration, fx *Effects) {
	for _, m := range g.Ordered() {
		if m.join == nil && m.InstanceID == nil { // a static member may be absent until its session ends
			g.remove(m)
		}
	}
	if lead := g.Members[g.Leader]; len(g.Members) > 0 && (lead == nil || lead.join == nil) {
		g.electLeader()
		if g.Members[g.Leader].join == nil {
			// Only absent static members are left: wait for them, their sessions end it.
			g.joinDeadline = now + g.longestRebalance()
			return
		}
	}
	g.initial = false
	g.Generation++
	if len(g.Members) == 0 {
		g.Protocol, g.Leader = "", ""
		g.enter(Empty, now)
		fx.Persist = true
		return
	}
	g.Protocol = g.vote()
	g.syncDeadline = now + g.longestRebalance()
	g.enter(CompletingRebalance, now)
	for _, m := range g.Ordered() {
		m.synced = m.join == nil // an absent static member isn't waited for
		if m.join != nil {
			fx.join(m.join, g.joined(m, false))
			m.join = nil
			g.touch(m, now)
		}
	}
}

// joined is the answer to a member of the current generation.
func (g *Group) joined(m *Member, skipAssignment bool) JoinReply {
	r := JoinReply{Generation: g.Generation, ProtocolType: g.ProtocolType, Protocol: g.Protocol, Leader: g.Leader, MemberID: m.ID, SkipAssignment: skipAssignment}
	if m.ID == g.Leader {
		r.Members = g.Ordered()
	}
	return r
}
