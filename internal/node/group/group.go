package group

import (
	"maps"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
)

// State of a classic group (Kafka's group-coordinator module, ClassicGroupState).
type State int8

// A group is Empty without members, gathers them in PreparingRebalance, waits in CompletingRebalance for
// the leader's assignment, and is Stable with it. A Dead group has been deleted or unloaded.
const (
	Empty State = iota
	PreparingRebalance
	CompletingRebalance
	Stable
	Dead
)

// String is the name that DescribeGroups and ListGroups answer.
func (s State) String() string {
	return [...]string{"Empty", "PreparingRebalance", "CompletingRebalance", "Stable", "Dead"}[s]
}

// Config bounds what members may ask for (group.* settings).
type Config struct {
	MinSessionTimeout, MaxSessionTimeout time.Duration
	InitialRebalanceDelay                time.Duration
	MaxSize                              int
}

// Protocol is one assignor that a member supports, with its subscription.
type Protocol struct {
	Name     string
	Metadata []byte
}

// Member is one consumer of a group.
type Member struct {
	ID                               string
	InstanceID                       *string // static membership (KIP-345)
	ClientID, ClientHost             string
	RebalanceTimeout, SessionTimeout time.Duration
	Protocols                        []Protocol // in the member's order of preference
	Assignment                       []byte

	deadline time.Duration // session; pushed back by each sign of life
	join     any           // parked JoinGroup, nil when none
	sync     any           // parked SyncGroup, nil when none
	synced   bool          // sent SyncGroup in this generation
}

// Metadata returns the member's subscription under protocol; nil if it doesn't support it.
func (m *Member) Metadata(protocol string) []byte {
	for _, p := range m.Protocols {
		if p.Name == protocol {
			return p.Metadata
		}
	}
	return nil
}

func sameProtocols(a, b []Protocol) bool {
	return slices.EqualFunc(a, b, func(x, y Protocol) bool { return x.Name == y.Name && slices.Equal(x.Metadata, y.Metadata) })
}

// Reply answers one parked or current request: Waiter is what the caller handed in with it.
type Reply struct {
	Waiter any
	Join   *JoinReply
	Sync   *SyncReply
}

// Effects is what the caller must do after a transition: first Persist (if set), then Replies.
// When Persist was set, the caller calls Persisted once the record is replicated or has failed.
type Effects struct {
	Persist bool
	Replies []Reply
}

func (fx *Effects) join(w any, r JoinReply) {
	fx.Replies = append(fx.Replies, Reply{Waiter: w, Join: &r})
}
func (fx *Effects) sync(w any, r SyncReply) {
	fx.Replies = append(fx.Replies, Reply{Waiter: w, Sync: &r})
}

// Group is the state machine of one classic consumer group. It is pure: time comes in as a duration on the
// caller's monotonic clock, answers go out as Effects. One goroutine owns it.
type Group struct {
	ID           string
	State        State
	ProtocolType string
	Protocol     string
	Generation   int32
	Leader       string
	Members      map[string]*Member
	Since        time.Duration // when State was entered

	cfg     Config
	static  map[string]string        // instance id → member id
	pending map[string]time.Duration // member ids handed out that have not joined yet (KIP-394) → deadline

	joinDeadline time.Duration // PreparingRebalance: when the round ends whoever is missing
	initialEnd   time.Duration // PreparingRebalance from Empty: the latest end of the extended first round
	initial      bool          // the round waits for its whole delay, as members are still starting
	newMember    bool          // somebody joined during the initial delay: wait once more
	syncDeadline time.Duration // CompletingRebalance and Stable: who has not synced by then is removed
	persisting   bool          // an assignment is being replicated
}

// New returns an empty group.
func New(id string, cfg Config) *Group {
	return &Group{ID: id, cfg: cfg, Members: map[string]*Member{}, static: map[string]string{}, pending: map[string]time.Duration{}}
}

func (g *Group) enter(s State, now time.Duration) { g.State, g.Since = s, now }

// Ordered returns the members by id, so that answers and records don't depend on map order.
func (g *Group) Ordered() []*Member {
	out := make([]*Member, 0, len(g.Members))
	for _, id := range slices.Sorted(maps.Keys(g.Members)) {
		out = append(out, g.Members[id])
	}
	return out
}

func (g *Group) add(m *Member) {
	if len(g.Members) == 0 {
		g.Leader = m.ID
	}
	if m.InstanceID != nil {
		g.static[*m.InstanceID] = m.ID
	}
	delete(g.pending, m.ID)
	g.Members[m.ID] = m
}

func (g *Group) remove(m *Member) {
	delete(g.Members, m.ID)
	if m.InstanceID != nil && g.static[*m.InstanceID] == m.ID {
		delete(g.static, *m.InstanceID)
	}
	if g.Leader == m.ID {
		g.electLeader()
	}
}

// electLeader prefers a member that takes part in the current round.
func (g *Group) electLeader() {
	g.Leader = ""
	for _, m := range g.Ordered() {
		if g.Leader == "" || (m.join != nil && g.Members[g.Leader].join == nil) {
			g.Leader = m.ID
		}
	}
}

// supports tells whether a member with these protocols can be in the group: same type, and one protocol
// that every member has.
func (g *Group) supports(protocolType string, protocols []Protocol, except string) bool {
	others := 0
	for id := range g.Members {
		if id != except {
			others++
		}
	}
	if others == 0 {
		return protocolType != "" && len(protocols) > 0
	}
	if protocolType != g.ProtocolType {
		return false
	}
	return slices.ContainsFunc(protocols, func(p Protocol) bool { return g.allSupport(p.Name, except) })
}

func (g *Group) allSupport(protocol, except string) bool {
	for id, m := range g.Members {
		if id != except && !slices.ContainsFunc(m.Protocols, func(p Protocol) bool { return p.Name == protocol }) {
			return false
		}
	}
	return true
}

// vote picks the protocol: among those that all support, each member votes for its first; most votes win,
// and a tie goes to the name that sorts first.
func (g *Group) vote() string {
	votes := map[string]int{}
	for _, m := range g.Members {
		for _, p := range m.Protocols {
			if g.allSupport(p.Name, "") {
				votes[p.Name]++
				break
			}
		}
	}
	best := ""
	for _, name := range slices.Sorted(maps.Keys(votes)) {
		if best == "" || votes[name] > votes[best] {
			best = name
		}
	}
	return best
}

// member finds who speaks, or the error that fences it.
func (g *Group) member(memberID string, instanceID *string) (*Member, error) {
	if instanceID != nil {
		current, ok := g.static[*instanceID]
		if !ok {
			return nil, kerr.UnknownMemberID
		}
		if current != memberID {
			return nil, kerr.FencedInstanceID
		}
	}
	m := g.Members[memberID]
	if m == nil {
		return nil, kerr.UnknownMemberID
	}
	return m, nil
}

func (g *Group) touch(m *Member, now time.Duration) { m.deadline = now + m.SessionTimeout }

// Deadline is when Tick must be called at the latest; ok is false when nothing is timed.
func (g *Group) Deadline() (at time.Duration, ok bool) {
	earliest := func(d time.Duration) {
		if !ok || d < at {
			at, ok = d, true
		}
	}
	for _, m := range g.Members {
		if m.join == nil && m.sync == nil { // a parked member is alive: its connection waits for our answer
			earliest(m.deadline)
		}
	}
	for _, d := range g.pending {
		earliest(d)
	}
	switch {
	case g.State == PreparingRebalance:
		earliest(g.joinDeadline)
	case g.State == CompletingRebalance && !g.persisting:
		earliest(g.syncDeadline)
	}
	return at, ok
}

// Tick expires sessions, pending ids and rounds that are due.
func (g *Group) Tick(now time.Duration) (fx Effects) {
	for id, d := range g.pending {
		if d <= now {
			delete(g.pending, id)
		}
	}
	expired := false
	for _, m := range g.Ordered() {
		if m.join == nil && m.sync == nil && m.deadline <= now {
			g.remove(m)
			expired = true
		}
	}
	if g.State == CompletingRebalance && !g.persisting && g.syncDeadline <= now {
		for _, m := range g.Ordered() {
			if !m.synced {
				g.dropParked(m, kerr.UnknownMemberID, &fx)
				g.remove(m)
				expired = true
			}
		}
	}
	if expired {
		g.afterRemoval(now, &fx)
	}
	if g.State == PreparingRebalance {
		g.maybeCompleteJoin(now, &fx)
	}
	return fx
}

// dropParked answers what m waits for with an error.
func (g *Group) dropParked(m *Member, err error, fx *Effects) {
	if m.join != nil {
		fx.join(m.join, JoinReply{Err: err, MemberID: m.ID, Generation: -1})
		m.join = nil
	}
	if m.sync != nil {
		fx.sync(m.sync, SyncReply{Err: err})
		m.sync = nil
	}
}

// afterRemoval starts a round if members left a settled group; a round under way may now be complete.
func (g *Group) afterRemoval(now time.Duration, fx *Effects) {
	switch g.State {
	case Stable, CompletingRebalance:
		g.prepareRebalance(now, fx)
	case PreparingRebalance:
		g.maybeCompleteJoin(now, fx)
	}
}

// Unload ends the group on this broker: its partition's leader is elsewhere, or it was deleted.
func (g *Group) Unload(now time.Duration, err error) (fx Effects) {
	for _, m := range g.Ordered() {
		g.dropParked(m, err, &fx)
	}
	g.enter(Dead, now)
	return fx
}

// Restore takes a group over as it was read from the log: sessions start anew.
func (g *Group) Restore(now time.Duration, state State, protocolType, protocol, leader string, generation int32, members []*Member) {
	g.ProtocolType, g.Protocol, g.Generation = protocolType, protocol, generation
	for _, m := range members {
		g.add(m)
		g.touch(m, now)
		m.synced = true
	}
	g.Leader = leader
	g.enter(state, now)
}
