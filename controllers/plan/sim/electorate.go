package sim

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/kraft-dev/kraft-operator/controllers/plan"
)

// electorate is a small model of a quorum, its nodes and an operator that now and then sleeps, crashes or waits in
// vain for an answer. A second passes between looks.
type electorate struct {
	story
	rnd    *rand.Rand
	now    time.Time
	goal   plan.VoterGoal
	nodes  map[int32]*machine
	nextID int32
	dirs   int
	voters []plan.Voter
	leader int32

	late     func() // a change whose answer was lost, still to be made
	lateAt   time.Time
	unsettle time.Time // the last change isn't committed before

	// what the operator keeps in status
	gone    []plan.GoneVoter
	pending *plan.VoterChange
	heard   time.Time
	asleep  time.Time // until
	resumes time.Time // paused until
	paused  bool

	restarting int32     // a node that a roll has taken down, -1 none
	stands     time.Time // the high watermark doesn't move until then

	bad         map[plan.Voter]time.Time // doesn't keep up since then, as far as the operator can have seen
	replaceable map[plan.Voter]bool      // was silent for long enough, or its disk is lost
	changes     int

	deaf   map[int32]bool // the leader doesn't reach them, and refuses to make them voters
	inVain []plan.Voter
}

type machine struct {
	dir    string
	up     time.Time // down until then
	fetch  time.Time
	caught time.Time // caught up from then on
	quick  time.Time // it fetches, and lags until then
}

const simReplaceAfter = 40 * time.Second

func newElectorate(seed uint64) *electorate {
	e := &electorate{
		rnd: rand.New(rand.NewPCG(seed, 7)), now: time.Unix(1_700_000_000, 0), nodes: map[int32]*machine{},
		replaceable: map[plan.Voter]bool{}, bad: map[plan.Voter]time.Time{}, leader: -1, restarting: -1,
	}
	e.heard = e.now
	n := []int{1, 3, 5}[e.rnd.IntN(3)]
	e.goal = plan.VoterGoal{Controllers: n + e.rnd.IntN(3), Voters: n, ReplaceAfter: simReplaceAfter}
	for range e.goal.Controllers {
		e.join()
	}
	for id := range int32(n) {
		e.voters = append(e.voters, plan.Voter{ID: id, DirectoryID: e.nodes[id].dir})
	}
	return e
}

func (e *electorate) note(format string, args ...any) {
	e.log = append(e.log, fmt.Sprintf("%4ds ", int(e.now.Sub(time.Unix(1_700_000_000, 0)).Seconds()))+fmt.Sprintf(format, args...))
}

func (e *electorate) must(holds bool, rule, format string, args ...any) {
	if !holds {
		e.note("voters %v leader %d goal %+v", e.voters, e.leader, e.goal)
		e.story.must(false, rule, format, args...)
	}
}

func (e *electorate) newDir() string { e.dirs++; return fmt.Sprintf("d%d", e.dirs) }

func (e *electorate) join() {
	e.nodes[e.nextID] = &machine{dir: e.newDir(), caught: e.now.Add(time.Duration(e.rnd.IntN(8)) * time.Second)}
	e.nextID++
}

func (e *electorate) runs(v plan.Voter) bool {
	m := e.nodes[v.ID]
	return m != nil && m.dir == v.DirectoryID && !e.now.Before(m.up)
}

func (e *electorate) votes(id int32) bool {
	return slices.ContainsFunc(e.voters, func(v plan.Voter) bool { return v.ID == id })
}

func (e *electorate) ids() []int32 {
	var ids []int32
	for id := range e.nodes {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}

// second lets a second pass: who runs fetches, and a majority has a leader.
func (e *electorate) second() {
	e.now = e.now.Add(time.Second)
	e.paused = e.now.Before(e.resumes)
	if e.late != nil && !e.now.Before(e.lateAt) {
		e.late()
		e.late = nil
	}
	running := slices.DeleteFunc(slices.Clone(e.voters), func(v plan.Voter) bool { return !e.runs(v) })
	leads := slices.ContainsFunc(running, func(v plan.Voter) bool { return v.ID == e.leader })
	switch {
	case len(running) <= len(e.voters)/2:
		e.leader = -1
	case !leads || e.rnd.IntN(100) == 0:
		e.leader = running[e.rnd.IntN(len(running))].ID
		e.note("leader %d", e.leader)
	}
	for id, m := range e.nodes {
		if !e.now.Before(m.up) && e.leader >= 0 {
			m.fetch = e.now
		} else if id == e.leader {
			e.leader = -1
		}
	}
	if e.restarting >= 0 && (e.nodes[e.restarting] == nil || !e.now.Before(e.nodes[e.restarting].up)) {
		e.restarting = -1
	}
}

// watch keeps the truth about voters that don't keep up, as far as an operator can know: no clock runs while it is
// paused, has restarted that node, or hasn't heard of a leader for half a minute.
func (e *electorate) watch() {
	if e.leader < 0 {
		return
	}
	for _, v := range e.voters {
		since, known := e.bad[v]
		switch {
		case e.keepsUp(v) || e.paused || e.restarting == v.ID:
			delete(e.bad, v)
		case e.now.Sub(e.heard) > 30*time.Second:
			e.bad[v] = e.now
		case !known:
			e.bad[v] = e.now
			if m := e.nodes[v.ID]; m != nil && m.dir == v.DirectoryID && e.now.Sub(m.fetch) > plan.MaxSinceFetch { // silent, and not far behind alone
				e.bad[v] = slices.MaxFunc([]time.Time{e.heard, m.fetch}, time.Time.Compare)
			}
		case e.now.Sub(since) >= simReplaceAfter:
			e.replaceable[v] = true
		}
		if m := e.nodes[v.ID]; m == nil || m.dir != v.DirectoryID {
			e.replaceable[v] = true
		}
	}
}

func (e *electorate) keepsUp(v plan.Voter) bool {
	m := e.nodes[v.ID]
	return m != nil && m.dir == v.DirectoryID && e.now.Sub(m.fetch) <= plan.MaxSinceFetch && (!e.lags(m) || v.ID == e.leader)
}

// disturb is one event of the world.
func (e *electorate) disturb() {
	ids := e.ids()
	id := ids[e.rnd.IntN(len(ids))]
	m := e.nodes[id]
	switch e.rnd.IntN(120) {
	case 0, 1, 2: // a blip, or an absence of a while
		m.up = e.now.Add(time.Duration(1+e.rnd.IntN(30)) * time.Second)
		e.note("node %d is down until %s", id, m.up.Format("04:05"))
	case 3:
		m.up = e.now.Add(time.Duration(60+e.rnd.IntN(120)) * time.Second)
		e.note("node %d is down for long", id)
	case 4, 5:
		e.loseDisk(id, m)
	case 6:
		voters := []int{1, 3, 5, 7}[e.rnd.IntN(4)]
		e.goal.Voters, e.goal.Controllers = voters, voters+e.rnd.IntN(3)
		e.note("edit: %d voters of %d controllers", e.goal.Voters, e.goal.Controllers)
	case 7:
		e.asleep = e.now.Add(time.Duration(1+e.rnd.IntN(100)) * time.Second)
		e.note("the operator sleeps")
	case 8:
		e.resumes = e.now.Add(time.Duration(1+e.rnd.IntN(60)) * time.Second)
		e.note("paused until %s", e.resumes.Format("04:05"))
	case 9:
		if !e.lags(m) {
			m.quick = e.now.Add(time.Duration(1+e.rnd.IntN(150)) * time.Second)
			e.note("node %d lags until %s", id, m.quick.Format("04:05"))
		}
	case 10:
		if e.restarting < 0 && e.restart(id, m) {
			e.note("node %d is restarted until %s", id, m.up.Format("04:05"))
		}
	case 11:
		e.stands = e.now.Add(time.Duration(1+e.rnd.IntN(10)) * time.Second)
		e.note("the high watermark stands")
	}
}

// restart takes a node down for a roll, unless it would cost the majority.
func (e *electorate) restart(id int32, m *machine) bool {
	up := 0
	for _, v := range e.voters {
		if v.ID != id && e.keepsUp(v) {
			up++
		}
	}
	if e.paused || up <= len(e.voters)/2 {
		return false
	}
	e.restarting, m.up = id, e.now.Add(time.Duration(5+e.rnd.IntN(90))*time.Second)
	return true
}

func (e *electorate) lags(m *machine) bool { return e.now.Before(m.quick) }

// loseDisk empties a node's disk, unless the quorum would be lost for good.
func (e *electorate) loseDisk(id int32, m *machine) {
	intact := 0
	for _, v := range e.voters {
		if n := e.nodes[v.ID]; n != nil && n.dir == v.DirectoryID && v.ID != id {
			intact++
		}
	}
	if e.late != nil || e.votes(id) && intact <= len(e.voters)/2 {
		return
	}
	m.dir, m.up = e.newDir(), e.now.Add(time.Duration(1+e.rnd.IntN(10))*time.Second)
	m.caught = m.up.Add(time.Duration(e.rnd.IntN(10)) * time.Second)
	e.note("node %d lost its disk", id)
}

func (e *electorate) snapshot() plan.Snapshot {
	s := plan.Snapshot{Now: e.now, Formed: true, Gone: e.gone, InVain: slices.Clone(e.inVain), Pending: e.pending, Restarting: e.restarting, Paused: e.paused, LastAnswer: e.heard}
	q := &plan.Quorum{Leader: e.leader, Epoch: 1, HighWatermark: 9000, Settled: !e.now.Before(e.unsettle), Moves: !e.now.Before(e.stands)}
	replica := func(v plan.Voter) plan.Replica {
		r := plan.Replica{ID: v.ID, DirectoryID: v.DirectoryID, SinceFetch: -1}
		if m := e.nodes[v.ID]; m != nil && m.dir == v.DirectoryID {
			r.SinceFetch = e.now.Sub(m.fetch)
			if (e.votes(v.ID) || !e.now.Before(m.caught)) && (!e.lags(m) || v.ID == e.leader) {
				r.LogEndOffset = 9000
			}
		}
		return r
	}
	for _, v := range e.voters {
		q.Voters = append(q.Voters, replica(v))
	}
	for _, id := range e.ids() {
		m := e.nodes[id]
		n := plan.Node{ID: id, Name: fmt.Sprintf("c%d", id), Controller: true, Zone: fmt.Sprint(id % 3)}
		if !e.now.Before(m.up) {
			n.Pod = &plan.Pod{Ready: true}
			if v := (plan.Voter{ID: id, DirectoryID: m.dir}); !slices.Contains(e.voters, v) {
				q.Observers = append(q.Observers, replica(v))
			}
		}
		s.Nodes = append(s.Nodes, n)
	}
	if e.leader >= 0 {
		s.Quorum = q
	}
	return s
}

// look is a pass of the operator: the same few lines as its acting code.
func (e *electorate) look() plan.VoterStep {
	s := e.snapshot()
	e.watch()
	e.gone = plan.Clock(s, e.goal)
	if s.Quorum != nil {
		e.heard = e.now
	}
	if e.paused {
		return plan.VoterStep{Do: plan.VotersWait}
	}
	e.pending = s.Open()
	s.Gone, s.Pending = e.gone, e.pending
	step := plan.Voters(s, e.goal)
	switch step.Do {
	case plan.VotersAdd, plan.VotersRemove:
		e.check(step, s)
		e.pending = &plan.VoterChange{Remove: step.Do == plan.VotersRemove, Voter: step.Voter, Since: e.now}
		e.change(*e.pending, step.Why)
	case plan.VotersLeave:
		e.must(!e.votes(step.Node.ID), "leaves-voting", "node %d leaves and votes", step.Node.ID)
		e.must(len(e.nodes) > e.goal.Controllers, "leaves", "node %d leaves: %d controllers of %d", step.Node.ID, len(e.nodes), e.goal.Controllers)
		e.note("node %d leaves (%s)", step.Node.ID, step.Why)
		delete(e.nodes, step.Node.ID)
	case plan.VotersDone:
		for len(e.nodes) < e.goal.Controllers {
			e.join()
		}
	}
	for len(e.nodes) < e.goal.Controllers {
		e.join()
	}
	return step
}

// check are the rules that no act may break, written without the planner's own functions.
func (e *electorate) check(step plan.VoterStep, s plan.Snapshot) {
	e.must(e.late == nil, "one-in-flight", "%+v while another change is in flight", step)
	e.must(!e.now.Before(e.unsettle), "committed", "%+v before the last change is committed", step)
	e.must(!e.now.Before(e.stands), "moves", "%+v while the quorum doesn't commit", step)
	v := step.Voter
	after := slices.DeleteFunc(slices.Clone(e.voters), func(w plan.Voter) bool { return w == v })
	if step.Do == plan.VotersAdd {
		after = append(after, v)
		e.checkAdded(v, s)
	} else {
		e.checkRemoved(v)
	}
	live := 0
	for _, w := range after {
		if e.keepsUp(w) {
			live++
		}
	}
	e.must(live > len(after)/2, "majority", "%+v: %d of %d voters would keep up", step, live, len(after))
}

func (e *electorate) checkAdded(v plan.Voter, s plan.Snapshot) {
	m := e.nodes[v.ID]
	e.must(m != nil && m.dir == v.DirectoryID, "disk", "%v is added: no such disk", v)
	e.must(!e.votes(v.ID), "identity", "%v is added, and its node votes already", v)
	e.must(!e.now.Before(m.caught) && !e.lags(m), "caught-up", "%v is added and hasn't caught up", v)
	free := 0 // voters that nothing speaks against
	for _, w := range e.voters {
		if !e.replaceable[w] {
			free++
		}
	}
	e.must(free < e.goal.Voters || e.leaving(s), "blip", "%v is added for a blip", v)
}

func (e *electorate) checkRemoved(v plan.Voter) {
	e.must(v.ID != e.leader, "leader", "the leader is removed")
	if len(e.voters) <= e.goal.Voters {
		m := e.nodes[v.ID] // the same id on a new disk can't be added first
		e.must(e.replaceable[v], "blip", "%v is removed for a blip", v)
		e.must(m == nil || m.dir != v.DirectoryID, "strength", "%v is removed before another takes its place", v)
	}
}

// leaving tells whether nodes are to leave: then their voters may have to be replaced.
func (e *electorate) leaving(s plan.Snapshot) bool { return len(s.Nodes) > e.goal.Controllers }

// change is the engine: refused, made, made with the answer lost, made later, or never read.
func (e *electorate) change(c plan.VoterChange, why string) {
	e.changes++
	apply := func() {
		if e.leader < 0 {
			return
		}
		if c.Remove {
			e.voters = slices.DeleteFunc(e.voters, func(v plan.Voter) bool { return v == c.Voter })
		} else if !e.votes(c.ID) {
			e.voters = append(e.voters, c.Voter)
		}
		e.unsettle = e.now.Add(time.Duration(e.rnd.IntN(3)) * time.Second)
		delete(e.replaceable, c.Voter)
		delete(e.bad, c.Voter)
	}
	how := "made"
	luck := e.rnd.IntN(8)
	if e.deaf[c.ID] && !c.Remove {
		luck = 0
	}
	switch luck {
	case 0:
		how = "refused"
		e.pending = nil
		e.inVain = append(slices.DeleteFunc(e.inVain, func(v plan.Voter) bool { return v == c.Voter }), c.Voter)
	case 1:
		how = "the answer is lost"
		apply()
	case 2, 3:
		how = "late"
		e.late, e.lateAt = apply, e.now.Add(time.Duration(1+e.rnd.IntN(8))*time.Second)
	case 4:
		how = "never read"
	default:
		apply()
		e.pending = nil
	}
	e.note("%s@%s (%s): %s", c, c.DirectoryID, why, how)
}

func (e *electorate) right() bool {
	if len(e.voters) != e.goal.Voters || len(e.nodes) != e.goal.Controllers {
		return false
	}
	return !slices.ContainsFunc(e.voters, func(v plan.Voter) bool { return !e.runs(v) })
}

// playDeaf: more voters, and observers that fetch and that the leader doesn't reach: others take the places.
func playDeaf(seed uint64) *electorate {
	e := newElectorate(seed)
	deaf := 1 + e.rnd.IntN(2)
	e.goal.Voters += 2
	e.goal.Controllers = e.goal.Voters + deaf
	for len(e.nodes) < e.goal.Controllers {
		e.join()
	}
	e.deaf = map[int32]bool{}
	observers := slices.DeleteFunc(e.ids(), e.votes)
	for _, i := range e.rnd.Perm(len(observers))[:deaf] {
		e.deaf[observers[i]] = true
		e.note("node %d isn't reached", observers[i])
	}
	for range 300 {
		e.second()
		if e.look(); e.right() {
			return e
		}
	}
	e.must(false, "converges", "not right after 300 s")
	return e
}

// playVoters: faults and edits while the rules are checked, then healing until all is right, and then rest.
func playVoters(seed uint64) *electorate {
	e := newElectorate(seed)
	for range 600 {
		e.disturb()
		e.second()
		if !e.now.Before(e.asleep) {
			e.look()
		}
	}
	e.note("healing")
	e.asleep, e.resumes, e.stands = time.Time{}, time.Time{}, time.Time{}
	for _, m := range e.nodes {
		m.up, m.quick = e.now, e.now
	}
	last := -1
	for i := range 500 {
		e.second()
		if step := e.look(); step.Do != plan.VotersDone || !e.right() {
			last = i
		}
	}
	e.must(last <= 400, "converges", "not right after 400 s of health")
	before := e.changes
	for range 30 {
		e.second()
		e.look()
	}
	e.must(before == e.changes, "churn", "%d changes of voters that are right", e.changes-before)
	return e
}
