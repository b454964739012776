package plan

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/kraft-dev/kraft-operator/controllers/plan/planted"
)

// VoterGoal is what the spec asks of the controllers.
type VoterGoal struct {
	Controllers  int           // nodes of the pool
	Voters       int           // of them vote, the rest observe
	ReplaceAfter time.Duration // how long a voter may be gone
}

// VoterChange is one change of the voters that was asked for.
type VoterChange struct {
	Remove bool // or add
	Voter
	Since time.Time // when it was asked for
}

// GoneVoter is a voter that doesn't keep up, and since when the operator has seen it so.
type GoneVoter struct {
	Voter
	Since time.Time
}

// VoterStep is the next step towards the right voters.
type VoterStep struct {
	Do    VoterAction
	Voter Voter  // of VotersAdd and VotersRemove
	Node  Node   // of VotersLeave
	Why   string // the reason for the step; of VotersWait: what it waits for
	// Busy: a change is under way, and nothing else should be begun.
	Busy bool
}

// VoterAction is what a step does.
type VoterAction int

// The steps. VotersLeave takes a node off that observes and that the spec has no place for.
const (
	VotersDone VoterAction = iota
	VotersWait
	VotersAdd
	VotersRemove
	VotersLeave
)

const (
	// UnclearFor is how long a change that wasn't acknowledged may still appear: longer than a leader waits for it.
	UnclearFor = 10 * time.Second
	// Unwatched is how long the leader's word may be missing before the clocks of gone voters begin anew: an operator
	// that slept, or a quorum without a leader, has seen nobody gone.
	Unwatched = 30 * time.Second
)

// Voters says which voter is added or removed next, or which node leaves. A voter stays one until it is gone for
// ReplaceAfter, its disk is lost, or the spec has fewer; the order of nodes picks only whom to add. One step at a time:
//
//  1. A lost disk: the node is back as an observer under a fresh directory id. The old key goes at once (no two keys
//     of one id may vote); step 2 adds the new one.
//  2. Too few that stay: add the observer that keeps up, in the zone with the fewest voters, lowest id first.
//  3. Too many: remove who is gone or whose node is to leave, or else from the fullest zone the highest id; the leader
//     last.
//  4. A node that is to leave and doesn't vote (any more) leaves.
//
// So a dead voter with a standby is replaced by adding first. Each change waits until the quorum commits, the change
// before it is committed, and a majority of the new set keeps up.
func Voters(s Snapshot, goal VoterGoal) VoterStep {
	q := s.Quorum
	switch {
	case !s.Formed:
		return VoterStep{}
	case q == nil || q.Leader < 0:
		return wait(false, "the quorum to have a leader") // a roll may mend that
	case s.Pending != nil && !s.Pending.seen(q) && s.Now.Sub(s.Pending.Since) < UnclearFor && planted.Bug != planted.ChangesOverlap:
		return wait(true, "%s, which may still be made", *s.Pending)
	}
	b := s.ballot(goal)
	step := b.next()
	if step.Do != VotersAdd && step.Do != VotersRemove && step.Do != VotersLeave {
		return step
	}
	switch {
	case !q.Settled && planted.Bug != planted.UncommittedChange:
		return wait(true, "the last change of the voters to be committed")
	case !q.Moves && planted.Bug != planted.StalledChange:
		return wait(false, "the quorum to commit")
	}
	if why := b.unsafe(step); why != "" {
		return wait(false, "%s", why)
	}
	return step
}

func wait(busy bool, format string, args ...any) VoterStep {
	return VoterStep{Do: VotersWait, Why: fmt.Sprintf(format, args...), Busy: busy}
}

// ballot is who votes, who stays and who could.
type ballot struct {
	s      Snapshot
	q      *Quorum
	goal   VoterGoal
	nodes  []Node // controllers
	leave  map[int32]bool
	stays  []Replica // voters that shall go on
	leaves []Replica // voters that are gone, or whose node leaves
}

func (s Snapshot) ballot(goal VoterGoal) *ballot {
	b := &ballot{s: s, q: s.Quorum, goal: goal, leave: map[int32]bool{}}
	for _, n := range s.Nodes {
		if n.Controller {
			b.nodes = append(b.nodes, n)
		}
	}
	byLeaving := slices.Clone(b.nodes)
	slices.SortStableFunc(byLeaving, func(x, y Node) int {
		return cmp.Or(cmp.Compare(b.hold(x.ID), b.hold(y.ID)), cmp.Compare(y.ID, x.ID))
	})
	for i := range len(byLeaving) - goal.Controllers {
		b.leave[byLeaving[i].ID] = true
	}
	for _, v := range b.q.Voters {
		late := planted.Bug == planted.OrderDecides && slices.IndexFunc(b.nodes, func(n Node) bool { return n.ID == v.ID }) >= goal.Voters
		if _, there := b.node(v.ID); !there || b.leave[v.ID] || b.gone(v) || late {
			b.leaves = append(b.leaves, v)
		} else {
			b.stays = append(b.stays, v)
		}
	}
	return b
}

// hold ranks what a node holds on to: those with the least leave first.
func (b *ballot) hold(id int32) int {
	i := slices.IndexFunc(b.q.Voters, func(v Replica) bool { return v.ID == id })
	switch {
	case id == b.q.Leader:
		return 4
	case i >= 0 && b.gone(b.q.Voters[i]):
		return 0
	case i < 0:
		return 1
	case !b.q.KeepsUp(b.q.Voters[i]):
		return 2
	}
	return 3
}

// next is the step that the spec asks for, safe or not.
func (b *ballot) next() VoterStep {
	if old, ok := b.lostDisk(); ok && planted.Bug != planted.OldKeyStays {
		return VoterStep{Do: VotersRemove, Voter: old.voter(), Why: fmt.Sprintf("node %d is back with another disk", old.ID)}
	}
	if len(b.stays) < b.goal.Voters && (len(b.leaves) == 0 || planted.Bug != planted.RemovedFirst) {
		return b.add()
	}
	surplus := slices.Clone(b.leaves)
	if len(surplus) == 0 && len(b.stays) > b.goal.Voters {
		surplus = slices.Clone(b.stays)
	}
	if len(surplus) > 0 && planted.Bug != planted.LeavesVoting {
		slices.SortStableFunc(surplus, b.byRemoval)
		v := surplus[0]
		return VoterStep{Do: VotersRemove, Voter: v.voter(), Why: b.whyRemove(v)}
	}
	for _, n := range slices.Backward(b.nodes) {
		if b.leave[n.ID] && n.Broker {
			return wait(false, "%s to hold no replicas", n.Name)
		} else if b.leave[n.ID] {
			return VoterStep{Do: VotersLeave, Node: n, Why: fmt.Sprintf("spec.controllers.replicas is %d", b.goal.Controllers)}
		}
	}
	return VoterStep{}
}

// lostDisk finds a voter that is silent while its node fetches under another directory id.
func (b *ballot) lostDisk() (Replica, bool) {
	for _, v := range b.q.Voters {
		for _, o := range b.q.Observers {
			if o.ID == v.ID && o.DirectoryID != v.DirectoryID && v.ID != b.q.Leader && o.Fetches() && !v.Fetches() {
				return v, true
			}
		}
	}
	return Replica{}, false
}

// add picks the observer to become a voter, or says what is missing.
func (b *ballot) add() VoterStep {
	why := fmt.Sprintf("%d voters are asked for", b.goal.Voters)
	for _, v := range b.leaves {
		if b.gone(v) {
			why = fmt.Sprintf("voter %d is gone for %s", v.ID, b.goal.ReplaceAfter)
		}
	}
	var standby []Replica
	coming := ""
	for _, n := range b.nodes {
		if b.leave[n.ID] || b.q.Voter(n.ID) {
			continue
		}
		if o, ok := b.observer(n); ok {
			standby = append(standby, o)
		} else {
			coming = cmp.Or(coming, n.Name)
		}
	}
	switch {
	case len(standby) == 0 && coming != "":
		return wait(false, "%s: %s to catch up as an observer", why, coming)
	case len(standby) == 0:
		return wait(false, "%s, and no other controller stands by: the lost one has to come back, be it with an empty disk, or raise spec.controllers.replicas with spec.quorum.voters at %d", why, b.goal.Voters)
	}
	vain := func(r Replica) int { // such as one that the leader can't reach: it may be for good
		if planted.Bug == planted.SameAgain {
			return -1
		}
		return slices.Index(b.s.InVain, r.voter())
	}
	slices.SortStableFunc(standby, func(x, y Replica) int {
		return cmp.Or(vain(x)-vain(y), cmp.Compare(b.inZone(x.ID), b.inZone(y.ID)), cmp.Compare(x.ID, y.ID))
	})
	return VoterStep{Do: VotersAdd, Voter: standby[0].voter(), Why: why}
}

// observer is the key under which a node could vote now.
func (b *ballot) observer(n Node) (best Replica, ok bool) {
	for _, o := range b.q.Observers {
		if o.ID != n.ID || o.DirectoryID == "" || !n.Up() || !b.q.KeepsUp(o) && planted.Bug != planted.LaggardAdded {
			continue
		}
		if !ok || o.SinceFetch < best.SinceFetch {
			best, ok = o, true
		}
	}
	return best, ok
}

// byRemoval: who is silent first, the leader last; then the fullest zone, then the highest id.
func (b *ballot) byRemoval(x, y Replica) int {
	rank := func(v Replica) int {
		switch {
		case v.ID == b.q.Leader && planted.Bug != planted.LeaderRemoved:
			return 2
		case b.q.KeepsUp(v):
			return 1
		}
		return 0
	}
	return cmp.Or(cmp.Compare(rank(x), rank(y)), cmp.Compare(b.inZone(y.ID), b.inZone(x.ID)), cmp.Compare(y.ID, x.ID))
}

func (b *ballot) whyRemove(v Replica) string {
	switch {
	case b.gone(v):
		return fmt.Sprintf("its place is taken: it was gone for %s", b.goal.ReplaceAfter)
	case b.leave[v.ID]:
		return fmt.Sprintf("spec.controllers.replicas is %d", b.goal.Controllers)
	}
	return fmt.Sprintf("%d voters are asked for", b.goal.Voters)
}

// inZone counts the voters that stay in a node's zone.
func (b *ballot) inZone(id int32) (count int) {
	n, _ := b.node(id)
	for _, v := range b.stays {
		if m, ok := b.node(v.ID); ok && m.Zone == n.Zone {
			count++
		}
	}
	return count
}

// unsafe says why the quorum can't bear a change now: a majority of the set after it must keep up.
func (b *ballot) unsafe(step VoterStep) string {
	if step.Do == VotersLeave {
		return ""
	}
	live, size, what := 0, len(b.q.Voters), "add voter"
	for _, v := range b.q.Voters {
		if step.Do == VotersRemove && v.voter() == step.Voter {
			size, what = size-1, "remove voter"
		} else if b.q.KeepsUp(v) && !b.down(v.ID) {
			live++
		}
	}
	if step.Do == VotersAdd {
		size, live = size+1, live+1
	}
	if majority := size/2 + 1; live < majority && planted.Bug != planted.MajorityUnasked {
		return fmt.Sprintf("a majority to keep up, to %s %d: of the %d voters then, %d do", what, step.Voter.ID, size, live)
	}
	return ""
}

// down tells whether a voter is known not to run, or to stop, however lately it fetched.
func (b *ballot) down(id int32) bool {
	n, ok := b.node(id)
	return ok && (n.Pod == nil || n.Pod.Terminating)
}

func (b *ballot) node(id int32) (Node, bool) {
	i := slices.IndexFunc(b.nodes, func(n Node) bool { return n.ID == id })
	if i < 0 {
		return Node{}, false
	}
	return b.nodes[i], true
}

// gone tells whether a voter's place is to be taken, or is taken by now. One that was elected since isn't: whoever leads
// keeps up, and another is one too many.
func (b *ballot) gone(v Replica) bool {
	after := b.goal.ReplaceAfter
	if planted.Bug == planted.BlipReplaced {
		after = 0
	}
	return v.ID != b.q.Leader && b.s.goneFor(v) >= after
}

// goneFor is how long a voter doesn't keep up; negative when it does.
func (s Snapshot) goneFor(v Replica) time.Duration {
	for _, g := range s.Gone {
		if g.Voter == v.voter() {
			return s.Now.Sub(g.Since)
		}
	}
	return -1
}

// Clock says which voters don't keep up and since when: one that is silent since its last fetch, but not since before the operator last
// heard of the leader, when it kept up or its clock stood still. No clock runs while the operator is paused, restarts that node,
// or hasn't heard of a leader. A voter that returns is no longer gone, unless its place is taken by then.
func Clock(s Snapshot, goal VoterGoal) (out []GoneVoter) {
	q := s.Quorum
	if q == nil || q.Leader < 0 {
		return s.Gone // as it was: if it lasts, it begins anew
	}
	unwatched := s.Now.Sub(s.LastAnswer) > Unwatched && planted.Bug != planted.UnwatchedCounts
	up := 0
	for _, v := range q.Voters {
		if q.KeepsUp(v) && s.goneFor(v) < goal.ReplaceAfter {
			up++
		}
	}
	for _, v := range q.Voters {
		g := GoneVoter{Voter: v.voter(), Since: s.Now}
		switch was := s.goneFor(v); {
		case unwatched:
		case was >= 0:
			g.Since = s.Now.Add(-was)
		case v.SinceFetch > MaxSinceFetch:
			g.Since = s.Now.Add(-min(v.SinceFetch, s.Now.Sub(s.LastAnswer)))
		}
		replaced := s.Now.Sub(g.Since) >= goal.ReplaceAfter && up >= goal.Voters
		if q.KeepsUp(v) && !replaced || s.Paused && planted.Bug != planted.PauseCounts || s.restarts(v.ID) && planted.Bug != planted.RollCounts {
			continue
		}
		out = append(out, g)
	}
	return out
}

// seen tells whether a change is in force.
func (c VoterChange) seen(q *Quorum) bool {
	in := slices.ContainsFunc(q.Voters, func(v Replica) bool { return v.voter() == c.Voter })
	return in != c.Remove
}

// Open is the pending change while it has to be waited for: nil once it is in force and committed, or can't appear
// any more.
func (s Snapshot) Open() *VoterChange {
	c, q := s.Pending, s.Quorum
	if c == nil || q == nil || q.Leader < 0 {
		return c
	}
	if c.seen(q) && q.Settled || !c.seen(q) && (s.Now.Sub(c.Since) >= UnclearFor || planted.Bug == planted.AnswerForgotten) {
		return nil
	}
	return c
}

// String is the change in words.
func (c VoterChange) String() string {
	if c.Remove {
		return fmt.Sprintf("remove voter %d", c.ID)
	}
	return fmt.Sprintf("add voter %d", c.ID)
}

func (r Replica) voter() Voter { return Voter{ID: r.ID, DirectoryID: r.DirectoryID} }

// Fetches tells whether the leader saw a fetch of this replica lately.
func (r Replica) Fetches() bool { return r.SinceFetch >= 0 && r.SinceFetch <= MaxSinceFetch }
