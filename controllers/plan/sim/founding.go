package sim

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/kraft-dev/kraft-operator/controllers/plan"
)

// founding is a KRaftCluster that comes to its identity and forms, is deleted and made again over what is left of it, while
// people put claims beside its own, and take annotations off them. Its operator dies before and after each write, or sleeps before
// one and goes on when its successor has worked. A second passes between looks.
//
// Left out is one late write: the live settings are applied whosever they are, so a process that slept while its cluster was
// deleted and made anew can withdraw the new one's permit to form for a moment. A disk that is formatted in it observes, and that
// cluster doesn't form until somebody deletes that claim.
type founding struct {
	story
	rnd *rand.Rand
	now int

	object  *object
	numbers int                     // drawn so far: UIDs, resource versions, cluster and directory ids
	drawn   map[string][]plan.Voter // by cluster id
	claims  map[int32]*heldClaim    // by node: they have its name
	nodes   map[int32]*foundNode
	live    *bool                 // the permit to form in the live settings; nil: there are none
	seen    []map[int32]heldClaim // what the cache may still show, the newest last
	asleep  []sleeping            // processes of the operator in the middle of a pass
	q       *foundQuorum          // the last that formed; nil: none has
	deletes bool                  // spec.storage.deletionPolicy: Delete
	healing bool                  // nothing goes wrong any more

	why    string                       // the last reason to refuse or wait
	steps  map[plan.FormationAction]int // that were taken
	events map[string]int               // how often something happened that the play is there for
}

// object is the KRaftCluster.
type object struct {
	uid, version int
	controllers  int // as many shall vote, too
	adopt        string

	id    plan.Identity // in status
	nodes []int32
}

// heldClaim is a claim with its disk.
type heldClaim struct {
	plan.Claim
	owner    int  // UID of a KRaftCluster, 0 nobody
	unmarked bool // its annotations were taken off
	maimed   bool // it names other initial voters
	stranger bool // a person made it
	disk     *foundDisk
}

// foundDisk is what is on a claim's volume.
type foundDisk struct {
	cluster, dir string       // "" while it is empty
	initial      []plan.Voter // as formatted; nil: it observes
	voted        bool         // it has taken part
}

// foundNode is a StatefulSet with its settings, and its process.
type foundNode struct {
	id     plan.Identity
	set    bool       // the StatefulSet stands
	disk   *foundDisk // nil: nothing runs
	starts int        // not before
}

// foundQuorum is what the disks hold together.
type foundQuorum struct {
	cluster string
	voters  []plan.Voter
	leader  int32 // -1 none
	epoch   int32
	commits int // not before
	formed  bool
}

// sleeping is the rest of a pass.
type sleeping struct {
	until int
	rest  []func() bool
}

func newFounding(seed uint64) *founding {
	return &founding{
		rnd: rand.New(rand.NewPCG(seed, 11)), drawn: map[string][]plan.Voter{}, claims: map[int32]*heldClaim{}, nodes: map[int32]*foundNode{},
		deletes: seed%4 == 3, steps: map[plan.FormationAction]int{}, events: map[string]int{},
	}
}

func (w *founding) note(format string, args ...any) {
	w.log = append(w.log, fmt.Sprintf("%4ds ", w.now)+fmt.Sprintf(format, args...))
}

// happened is noted and counted.
func (w *founding) happened(what, format string, args ...any) {
	w.events[what]++
	w.note(what+format, args...)
}

func (w *founding) number() int { w.numbers++; return w.numbers }

func (w *founding) draw(what string) string { return fmt.Sprint(what, w.number()) }

// ids are the nodes of a map, ascending.
func ids[V any](of map[int32]V) []int32 {
	var out []int32
	for id := range of {
		out = append(out, id)
	}
	slices.Sort(out)
	return out
}

// create makes the KRaftCluster, with another number of controllers each time.
func (w *founding) create() {
	w.object = &object{uid: w.number(), version: w.number(), controllers: []int{1, 3, 3, 5}[w.rnd.IntN(4)]}
	switch w.rnd.IntN(8) {
	case 0:
		w.object.adopt = "another"
	case 1:
		w.object.adopt = w.standing()
	}
	w.note("created with %d controllers, adopt %q", w.object.controllers, w.object.adopt)
}

// standing is the cluster of the claims that no person made; "" of none.
func (w *founding) standing() string {
	for _, id := range ids(w.claims) {
		if c := w.claims[id]; !c.stranger {
			return c.ClusterID
		}
	}
	return ""
}

// remove deletes it: what it owns goes, claims by the policy.
func (w *founding) remove() {
	w.note("deleted")
	w.object, w.live = nil, nil
	for _, n := range w.nodes {
		n.set = false
	}
}

// lose takes a node's disk, and half of the time its claim with it, unless most of the disks that hold what was promised would be gone.
func (w *founding) lose(id int32) {
	c := w.claims[id]
	if q := w.q; q != nil && c.disk.cluster == q.cluster && slices.Contains(q.voters, plan.Voter{ID: id, DirectoryID: c.disk.dir}) {
		if w.holding(id) <= len(q.voters)/2 {
			return
		}
	}
	when := "after"
	if w.q == nil || w.q.cluster != c.ClusterID {
		when = "before"
	} else if !w.q.formed {
		when = "while"
	}
	w.happened("disk lost "+when+" forming", ": %d", id)
	if n := w.nodes[id]; n != nil {
		n.disk = nil
	}
	if w.rnd.IntN(2) == 0 {
		c.disk = &foundDisk{}
		return
	}
	delete(w.claims, id)
}

// holding counts the voters whose disks remember, without one.
func (w *founding) holding(without int32) (n int) {
	for _, v := range w.q.voters {
		c := w.claims[v.ID]
		if v.ID != without && c != nil && c.disk.dir == v.DirectoryID && c.disk.voted {
			n++
		}
	}
	return n
}

// disturb is one event of the world.
func (w *founding) disturb() {
	if w.object == nil {
		if w.rnd.IntN(6) == 0 {
			w.create()
		}
	} else if w.rnd.IntN(40) == 0 {
		w.remove()
	}
	if w.rnd.IntN(25) == 0 {
		w.stranger()
	}
	if len(w.claims) == 0 {
		return
	}
	all := ids(w.claims)
	id := all[w.rnd.IntN(len(all))]
	c := w.claims[id]
	switch w.rnd.IntN(60) {
	case 0, 1, 2:
		if !c.stranger {
			w.lose(id)
		}
	case 3:
		c.unmarked = true
		w.happened("annotations taken off", " %s", c.Name)
	case 4:
		if !c.stranger {
			c.maimed = true
			w.happened("other voters", " on %s", c.Name)
		}
	case 5, 6, 7, 8, 9, 10, 11, 12, 13:
		c.unmarked, c.maimed = false, false
	case 14, 15:
		if w.object == nil && !c.stranger {
			w.move()
		}
	case 16, 17:
		if w.object != nil {
			w.object.adopt, w.object.version = w.standing(), w.number()
			w.note("adopt %q", w.object.adopt)
		}
	case 18, 19, 20, 21, 22, 23:
		for _, id := range all {
			if w.claims[id].stranger {
				w.drop(id)
			}
		}
	case 24, 25:
		if n := w.nodes[id]; n != nil && n.disk != nil {
			n.disk, n.starts = nil, w.now+w.rnd.IntN(20)
			w.note("%d restarts at %d", id, n.starts)
		}
	}
}

// tellTheTruth mends the claims where none of them names the voters as they were drawn: nobody could know.
func (w *founding) tellTheTruth() {
	for _, c := range w.claims {
		if !c.stranger && !c.maimed {
			return
		}
	}
	for _, c := range w.claims {
		c.maimed = false
	}
}

// stranger puts a claim of another cluster where a node's own would be, with a disk that was one of its voters'.
func (w *founding) stranger() {
	id := int32(w.rnd.IntN(5))
	if w.claims[id] != nil || w.nodes[id] != nil && w.nodes[id].set {
		return
	}
	voters := []plan.Voter{{ID: id, DirectoryID: "strange"}}
	w.claims[id] = &heldClaim{stranger: true, disk: &foundDisk{cluster: "strange", dir: "strange", initial: voters, voted: true}, Claim: plan.Claim{
		Name: fmt.Sprintf("data-%d", id), NodeID: id, Identity: plan.Identity{ClusterID: "strange", Voters: voters, Formed: true}, Elsewhere: "other/strange",
	}}
	if w.rnd.IntN(4) == 0 { // as an older operator made them
		w.claims[id].Voters, w.claims[id].Elsewhere = nil, ""
	}
	w.happened("a stranger", ": %d", id)
}

func (w *founding) drop(id int32) {
	w.note("%s is removed", w.claims[id].Name)
	delete(w.claims, id)
}

// move leaves the claims as if another namespace's cluster had been theirs.
func (w *founding) move() {
	for _, c := range w.claims {
		if !c.stranger {
			c.Elsewhere = "other/demo"
		}
	}
	w.happened("moved here", " from other/demo")
}

// kubernetes is a second of what owns, runs and collects.
func (w *founding) kubernetes() {
	for _, id := range ids(w.nodes) {
		n := w.nodes[id]
		if n.set {
			w.start(id, n)
			continue
		}
		if w.rnd.IntN(3) == 0 { // it stops in its time
			delete(w.nodes, id)
		}
	}
	for _, id := range ids(w.claims) {
		c := w.claims[id]
		if c.owner == 0 || w.object != nil && c.owner == w.object.uid {
			continue
		}
		if c.Going = c.Going || w.rnd.IntN(3) == 0; c.Going && (w.nodes[id] == nil || w.nodes[id].disk == nil) && w.rnd.IntN(3) == 0 {
			w.drop(id)
		}
	}
}

// start starts a node by its rules: an empty disk takes the settings' identity, and is an initial voter's if it may.
func (w *founding) start(id int32, n *foundNode) {
	c := w.claims[id]
	if n.disk != nil && (c == nil || c.disk != n.disk) {
		n.disk = nil
	}
	if n.disk != nil || c == nil || c.Going || w.live == nil || w.now < n.starts {
		return
	}
	d := c.disk
	if d.cluster == "" {
		w.format(id, n, d)
	}
	w.must(d.cluster == n.id.ClusterID, "foreign-disk", "node %d of %s starts on a disk of %s", id, n.id.ClusterID, d.cluster)
	n.disk = d
}

func (w *founding) format(id int32, n *foundNode, d *foundDisk) {
	d.cluster, d.dir = n.id.ClusterID, ""
	for _, v := range n.id.Voters {
		if v.ID == id && *w.live {
			d.dir, d.initial = v.DirectoryID, n.id.Voters
		}
	}
	if d.dir == "" {
		d.dir = w.draw("dir")
	}
	for _, other := range ids(w.claims) {
		o := w.claims[other]
		if o.stranger || o.disk.cluster == "" || o.disk == d {
			continue
		}
		w.must(o.disk.cluster == d.cluster, "one-cluster", "disk %d is formatted as one of %s, and disk %d holds %s", id, d.cluster, other, o.disk.cluster)
		w.must(d.initial == nil || o.disk.initial == nil || slices.Equal(d.initial, o.disk.initial), "one-voter-set",
			"disk %d is formatted with the voters %v, and disk %d with %v", id, d.initial, other, o.disk.initial)
	}
	w.note("disk %d is formatted: %s of %s, voter %t", id, d.dir, d.cluster, d.initial != nil)
}

// runs tells whether a voter's node runs on that disk.
func (w *founding) runs(v plan.Voter) bool {
	n := w.nodes[v.ID]
	return n != nil && n.disk != nil && n.disk.dir == v.DirectoryID
}

// vote is a second of the quorum: all initial voters form it, or nobody does.
func (w *founding) vote() {
	for _, id := range ids(w.nodes) {
		d := w.nodes[id].disk
		if d == nil || d.initial == nil || d.voted {
			continue
		}
		fresh := !slices.ContainsFunc(d.initial, func(v plan.Voter) bool { return !w.runs(v) || w.nodes[v.ID].disk.voted })
		switch {
		case fresh && w.rnd.IntN(3) == 0:
			w.begin(d)
		case !fresh && w.q != nil && w.q.leader >= 0 && w.q.cluster == d.cluster: // it has forgotten what it promised
			d.initial, d.dir = nil, w.draw("dir")
			w.note("disk %d was lost while forming: %s", id, d.dir)
		}
	}
	q := w.q
	if q == nil {
		return
	}
	running := slices.DeleteFunc(slices.Clone(q.voters), func(v plan.Voter) bool { return !w.runs(v) })
	switch {
	case len(running) <= len(q.voters)/2:
		q.leader = -1
		return
	case !slices.ContainsFunc(running, func(v plan.Voter) bool { return v.ID == q.leader }):
		q.leader = running[w.rnd.IntN(len(running))].ID
		q.epoch++
		q.commits = w.now + w.rnd.IntN(6)
		w.note("leader %d in epoch %d", q.leader, q.epoch)
	}
	if !q.formed && w.now >= q.commits {
		q.formed = true
		w.note("the first epoch is committed")
	}
	w.replaceVoters()
}

// replaceVoters is another planner's work, which follows when the claims are marked.
func (w *founding) replaceVoters() {
	q := w.q
	if w.object == nil || !w.object.id.Formed || q.cluster != w.object.id.ClusterID {
		return
	}
	for _, c := range w.claims {
		if !c.Formed {
			return
		}
	}
	for i, v := range q.voters {
		if !slices.Contains(w.object.nodes, v.ID) {
			q.voters = slices.Delete(q.voters, i, i+1)
			w.note("voter %d leaves", v.ID)
			return
		}
		if n := w.nodes[v.ID]; n != nil && n.disk != nil && n.disk.cluster == q.cluster && n.disk.dir != v.DirectoryID {
			q.voters[i].DirectoryID, n.disk.voted = n.disk.dir, true
			w.note("voter %d is replaced", v.ID)
			return
		}
	}
}

// begin forms a quorum of a disk's initial voters.
func (w *founding) begin(d *foundDisk) {
	for _, id := range ids(w.claims) {
		c := w.claims[id]
		w.must(c.stranger || !c.disk.voted, "two-quorums", "%v form a quorum of %s, and disk %d holds that of %s", d.initial, d.cluster, id, c.disk.cluster)
	}
	w.q = &foundQuorum{cluster: d.cluster, voters: slices.Clone(d.initial), leader: -1}
	for _, v := range d.initial {
		w.nodes[v.ID].disk.voted = true
	}
	w.happened("a quorum forms", ": %s", strings.Join(names(d.initial), " "))
}

func names(voters []plan.Voter) (out []string) {
	for _, v := range voters {
		out = append(out, fmt.Sprintf("%d@%s", v.ID, v.DirectoryID))
	}
	return out
}

// answer is what the cluster says of itself; nil when nobody does.
func (w *founding) answer() *plan.Quorum {
	q := w.q
	if q == nil || w.rnd.IntN(4) == 0 || !slices.ContainsFunc(q.voters, w.runs) {
		return nil
	}
	out := &plan.Quorum{Leader: q.leader, Epoch: q.epoch}
	if q.formed {
		out.HighWatermark = 7
	}
	for _, v := range q.voters {
		out.Voters = append(out.Voters, plan.Replica{ID: v.ID, DirectoryID: v.DirectoryID})
	}
	return out
}

// remember keeps what the cache may still show: up to three seconds.
func (w *founding) remember() {
	now := map[int32]heldClaim{}
	for id, c := range w.claims {
		now[id] = *c
	}
	w.seen = append(w.seen, now)
	w.seen = w.seen[max(0, len(w.seen)-3):]
}

// looked is a pass's own copy of things.
type looked struct {
	object
	claims map[int32]heldClaim
}

// look is a pass of the operator: the same few lines as its acting code.
func (w *founding) look() {
	s := &looked{object: *w.object, claims: w.seen[w.rnd.IntN(len(w.seen))]}
	if s.id.ClusterID == "" { // the cache may not have seen claims that stand
		s.claims = w.seen[len(w.seen)-1]
	}
	step := plan.Form(s.id, planned(s), s.adopt)
	w.steps[step.Do]++
	w.check(s, step)
	switch step.Do {
	case plan.FormationRefuse, plan.FormationWait:
		if step.Why != w.why { // once each
			w.note("%s", step.Why)
		}
		w.why = step.Why
		return
	case plan.FormationNew:
		s.id = plan.Identity{ClusterID: w.draw("cluster")}
		for id := range int32(s.controllers) {
			s.id.Voters = append(s.id.Voters, plan.Voter{ID: id, DirectoryID: w.draw("dir")})
		}
		w.drawn[s.id.ClusterID] = s.id.Voters
		w.note("draws %s", s.id.ClusterID)
	case plan.FormationAdopt:
		s.id = step.Identity
		w.happened("adopts", " %s, formed %t", s.id.ClusterID, s.id.Formed)
		for _, v := range s.id.Voters {
			if !s.id.Formed {
				s.include(v.ID)
			}
		}
		for _, id := range ids(s.claims) {
			s.include(id)
		}
	}
	for id := int32(0); len(s.nodes) < s.controllers; id++ {
		s.include(id)
	}
	w.carryOut(w.pass(s))
}

func (o *object) include(id int32) {
	if !slices.Contains(o.nodes, id) {
		o.nodes = append(slices.Clone(o.nodes), id)
		slices.Sort(o.nodes)
	}
}

// planned is what the claims say.
func planned(s *looked) (out []plan.Claim) {
	for _, id := range ids(s.claims) {
		c := s.claims[id]
		p := c.Claim
		p.Going = c.Going || c.owner != 0 && c.owner != s.uid
		switch {
		case c.unmarked:
			p.Identity, p.Elsewhere = plan.Identity{}, ""
		case c.maimed:
			p.Voters = []plan.Voter{{ID: id, DirectoryID: "other"}}
		}
		out = append(out, p)
	}
	return out
}

// check are the rules of a decision, of claims as they stand: without ids in status they are read from the API itself.
func (w *founding) check(s *looked, step plan.FormationStep) {
	if step.Do == plan.FormationNew {
		w.must(len(w.claims) == 0, "new-beside", "new ids are drawn, and %d claims stand", len(w.claims))
	}
	if step.Do != plan.FormationAdopt {
		return
	}
	id := step.Identity
	for _, node := range ids(w.claims) {
		c := w.claims[node]
		w.must(c.ClusterID == id.ClusterID, "claims-of-one", "%s is adopted, and %s is of %s", id.ClusterID, c.Name, c.ClusterID)
		w.must(c.Elsewhere == "" || s.adopt == id.ClusterID, "by-word", "%s is taken from %s without a word", c.Name, c.Elsewhere)
		w.must(!c.Formed || id.Formed, "formed-stays", "%s is adopted as one that hasn't formed, and %s says that it has", id.ClusterID, c.Name)
	}
	if voters := w.drawn[id.ClusterID]; voters != nil {
		w.must(slices.Equal(voters, id.Voters), "voters-as-drawn", "%s is adopted with the voters %v, and was drawn with %v", id.ClusterID, id.Voters, voters)
	}
}

// pass is what follows from an identity, a write each, in the order of the acting code. A write that reports false ends the pass.
func (w *founding) pass(s *looked) []func() bool {
	writes := []func() bool{func() bool { return w.record(s) }, func() bool {
		if s.id.Formed || !plan.HasFormed(w.answer(), s.id.Voters) {
			return true
		}
		s.id.Formed = true
		if !w.record(s) {
			return false
		}
		w.must(w.q.cluster == s.id.ClusterID && w.q.formed, "formed-early", "%s is recorded as formed, and no epoch is committed", s.id.ClusterID)
		return true
	}, func() bool {
		if w.object != nil && w.object.uid == s.uid { // what a process writes late, of a cluster that is gone, is left out: see the type
			permit := !s.id.Formed
			w.live = &permit
		}
		return true
	}}
	for _, id := range s.nodes {
		writes = append(writes, func() bool { return w.ensureClaim(s, id) }, func() bool {
			if w.object != nil && w.object.uid == s.uid && w.nodes[id] == nil {
				w.nodes[id] = &foundNode{id: s.id, set: true, starts: w.now + w.rnd.IntN(10)}
			}
			return true
		})
	}
	for _, id := range s.nodes {
		writes = append(writes, func() bool { w.mark(s, id); return true })
	}
	return writes
}

// record writes the status, if nobody else has since it was read.
func (w *founding) record(s *looked) bool {
	if w.object == nil || w.object.version != s.version {
		return false
	}
	if w.object.id.ClusterID == s.id.ClusterID && w.object.id.Formed == s.id.Formed && slices.Equal(w.object.nodes, s.nodes) {
		return true
	}
	was := w.object.id
	w.must(was.ClusterID == "" || was.ClusterID == s.id.ClusterID && slices.Equal(was.Voters, s.id.Voters), "identity-stays", "%v becomes %v", was, s.id)
	w.must(!was.Formed || s.id.Formed, "formed-stays", "formed is unset")
	s.version = w.number()
	*w.object = s.object
	w.note("recorded: %s, formed %t, nodes %v", s.id.ClusterID, s.id.Formed, s.nodes)
	return true
}

// ensureClaim makes a node's claim, or refuses what stands under its name.
func (w *founding) ensureClaim(s *looked, id int32) bool {
	if _, known := s.claims[id]; known {
		return true
	}
	if c := w.claims[id]; c != nil {
		return !c.unmarked && c.ClusterID == s.id.ClusterID
	}
	c := &heldClaim{disk: &foundDisk{}, Claim: plan.Claim{Name: fmt.Sprintf("data-%d", id), NodeID: id, Identity: s.id}}
	if w.deletes {
		c.owner = s.uid
	}
	w.claims[id] = c
	w.note("claim %s of %s", c.Name, s.id.ClusterID)
	return true
}

// mark writes what a claim's annotations lack by what was read of it.
func (w *founding) mark(s *looked, id int32) {
	read, known := s.claims[id]
	c := w.claims[id]
	if !known || c == nil {
		return
	}
	if read.Formed != s.id.Formed {
		c.Formed = s.id.Formed
	}
	if read.Elsewhere != "" {
		c.Elsewhere = ""
	}
	if read.maimed {
		c.maimed = false
	}
	if w.deletes && read.owner != s.uid {
		c.owner = s.uid
	}
}

// carryOut makes the writes. The process may die before or after each, or sleep before it: then its successor works meanwhile.
func (w *founding) carryOut(writes []func() bool) {
	for i, write := range writes {
		fate := w.rnd.IntN(250)
		switch {
		case w.healing:
		case fate == 0:
			w.happened("the operator dies", " before write %d", i)
			return
		case fate == 1:
			w.happened("the operator sleeps", " before write %d", i)
			w.asleep = append(w.asleep, sleeping{w.now + 1 + w.rnd.IntN(30), writes[i:]})
			return
		}
		if !write() {
			w.note("the pass ends at write %d", i)
			return
		}
	}
}

// second lets a second pass.
func (w *founding) second() {
	w.now++
	w.kubernetes()
	w.tellTheTruth()
	w.vote()
	for _, a := range w.asleep {
		if w.now == a.until {
			w.note("one wakes")
			for _, write := range a.rest {
				if !write() {
					break
				}
			}
		}
	}
	w.remember()
	if w.object != nil && w.rnd.IntN(3) > 0 {
		w.look()
	}
}

// heal is what people do who read the conditions: strangers go, annotations come back, and the word is said.
func (w *founding) heal() {
	if w.object == nil {
		w.create()
	}
	for _, id := range ids(w.claims) {
		c := w.claims[id]
		c.unmarked, c.maimed = false, false
		if own := w.object.id.ClusterID; c.stranger || own != "" && c.ClusterID != own {
			w.drop(id)
		}
	}
	if w.object.adopt != w.standing() {
		w.object.adopt, w.object.version = w.standing(), w.number()
	}
}

// missing says what is to come yet; "" when all is as it shall be.
func (w *founding) missing() string {
	o := w.object
	switch {
	case o.id.ClusterID == "":
		return "no identity"
	case w.q == nil || w.q.cluster != o.id.ClusterID || !w.q.formed || w.q.leader < 0:
		return "no quorum"
	case !o.id.Formed:
		return "formed isn't recorded"
	case w.live == nil || *w.live:
		return "an empty disk may form a quorum"
	case slices.ContainsFunc(w.q.voters, func(v plan.Voter) bool { return !w.runs(v) }):
		return "a voter's place is empty"
	}
	for _, id := range o.nodes {
		switch c := w.claims[id]; {
		case c == nil || w.nodes[id] == nil || w.nodes[id].disk == nil:
			return fmt.Sprintf("node %d doesn't run", id)
		case !c.Formed || c.Elsewhere != "" || c.ClusterID != o.id.ClusterID:
			return fmt.Sprintf("claim %d says something else", id)
		}
	}
	return ""
}

// playFormation: a cluster is made, deleted and made again in any order of events; once people do what the conditions say it is one
// cluster, formed, on all of its disks.
func playFormation(seed uint64) *founding {
	w := newFounding(seed)
	w.create()
	w.remember()
	for range 300 {
		w.disturb()
		w.second()
	}
	w.note("healing")
	w.healing = true
	for range 200 {
		w.heal()
		w.second()
		if w.missing() == "" && len(w.asleep) == 0 {
			return w
		}
		w.asleep = slices.DeleteFunc(w.asleep, func(a sleeping) bool { return a.until <= w.now })
	}
	w.must(w.missing() == "", "converges", "not right after 200 s of health: %s", w.missing())
	return w
}
