package crashpoints

import (
	"crypto/sha256"
	"fmt"
	"maps"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/kraft-dev/kraft-operator/internal/config"
	"github.com/kraft-dev/kraft-operator/internal/uuid"
)

// How long things take in a kraftd.
const (
	catchUp   = 300 * time.Millisecond // an observer, from its first fetch
	elects    = 400 * time.Millisecond // from a lost leader to the next
	commits   = 400 * time.Millisecond // a change of the voters: longer than the operator waits between two looks
	registers = 200 * time.Millisecond // a broker, from its start
	rejoins   = 500 * time.Millisecond // the in-sync replicas, from being registered
	staysUp   = 10 * time.Second       // Ready through a time without a leader
	farBehind = int64(5000)            // records, of one that is slow
)

// voter is a node on one disk.
type voter struct {
	id  int32
	dir string
}

// disk is what is on a claim's volume. It survives pods.
type disk struct {
	formatted    bool
	cluster, dir string
	id           int32
	initial      []voter // as formatted
	log          bool    // it has a metadata log or a quorum-state
}

// kraftd is a running process.
type kraftd struct {
	pod, ip            string
	id                 int32
	controller, broker bool
	disk               *disk
	claim              types.UID
	started            time.Time
	stopping, cut      bool
	fetches            time.Time // first fetch as it is; zero: none yet
	unfenced           time.Time // zero: it is fenced
	slow               time.Time // since when it fetches and falls behind all the same; zero: it doesn't
	ready              bool
}

// quorum is the metadata quorum. There can be one.
type quorum struct {
	cluster   string
	voters    []voter
	leader    int32 // -1 none
	epoch     int32
	formed    time.Time
	changed   time.Time // of the last change of the voters
	committed bool
	lost      time.Time // since when there is no leader
	fetched   map[voter]time.Time
}

// lateChange is a change of the voters that the leader makes after its answer was lost.
type lateChange struct {
	at     time.Time
	remove bool
	v      voter
}

// fleet is every kraftd there is, by its pod, and what they hold together.
type fleet struct {
	now        time.Time
	disks      map[types.UID]*disk // by claim
	run        map[types.UID]*kraftd
	q          *quorum
	partitions []partition
	configs    map[string]string // dynamic ones
	registered map[int32]bool    // brokers
	ids        int
	ips        int
	starts     map[int32]int // of processes
	records    int64         // in the log beside those that come with time
	late       time.Duration // the next change is made so much after its answer was lost
	pending    []lateChange
	violate    func(format string, args ...any)
	note       func(format string, args ...any)
}

func newFleet() *fleet {
	return &fleet{disks: map[types.UID]*disk{}, run: map[types.UID]*kraftd{}, starts: map[int32]int{}, configs: map[string]string{}, registered: map[int32]bool{}}
}

func (f *fleet) clone() *fleet {
	c := *f
	c.disks, c.run, c.starts, c.configs = map[types.UID]*disk{}, map[types.UID]*kraftd{}, maps.Clone(f.starts), maps.Clone(f.configs)
	c.registered = maps.Clone(f.registered)
	for uid, d := range f.disks {
		copied := *d
		c.disks[uid] = &copied
	}
	for uid, k := range f.run {
		copied := *k
		copied.disk = c.disks[k.claim]
		c.run[uid] = &copied
	}
	if f.q != nil {
		q := *f.q
		q.voters, q.fetched = slices.Clone(f.q.voters), maps.Clone(f.q.fetched)
		c.q = &q
	}
	c.partitions = nil
	for _, p := range f.partitions {
		p.isr = slices.Clone(p.isr)
		c.partitions = append(c.partitions, p)
	}
	if len(f.pending) > 0 {
		panic("a world isn't copied while a change of the voters is in flight")
	}
	return &c
}

// newID draws a cluster or directory id.
func (f *fleet) newID() string {
	for {
		f.ids++
		sum := sha256.Sum256(fmt.Append(nil, "id", f.ids))
		if id := uuid.UUID(sum[:16]).String(); id[0] != '-' {
			return id
		}
	}
}

// start starts a node with its settings on the disk of its claim. The error is why it won't run.
func (f *fleet) start(pod types.UID, name string, claim types.UID, settings, live string) error {
	p, err := config.Parse([]byte(settings))
	if err != nil {
		return err
	}
	p, err = config.Expand(p, func(name string) (string, bool) { return name, true })
	if err != nil {
		return err
	}
	l, err := config.Parse([]byte(live))
	if err != nil {
		return err
	}
	c, err := config.Load(p)
	if err != nil {
		return err
	}
	if f.disks[claim] == nil {
		f.disks[claim] = &disk{}
	}
	d := f.disks[claim]
	if !d.formatted {
		if err := f.format(d, c, l[config.KraftFormationPermit] != "false"); err != nil {
			return err
		}
	}
	cluster, _, err := c.ClusterID()
	switch {
	case err != nil:
		return err
	case d.cluster != cluster.String():
		f.violate("%s starts on a disk of cluster %s with settings of %s", name, d.cluster, cluster)
		return fmt.Errorf("a disk of cluster %s", d.cluster)
	case d.id != c.NodeID():
		f.violate("%s starts on the disk of node %d", name, d.id)
		return fmt.Errorf("the disk of node %d", d.id)
	}
	for _, other := range f.run {
		if other.id == d.id {
			f.violate("%s starts while %s runs: node %d twice", name, other.pod, d.id)
		}
	}
	f.ips++
	f.starts[d.id]++
	f.run[pod] = &kraftd{
		pod: name, ip: fmt.Sprintf("10.1.%d.%d", f.ips/250, f.ips%250+1), id: d.id, controller: c.IsController(), broker: c.IsBroker(),
		disk: d, claim: claim, started: f.now,
	}
	f.note("%s runs: node %d, directory %s", name, d.id, d.dir)
	return nil
}

// format is what a node does with an empty disk.
func (f *fleet) format(d *disk, c *config.Config, permit bool) error {
	cluster, _, err := c.ClusterID()
	if err != nil {
		return err
	}
	own, given, err := c.DirectoryID()
	if err != nil {
		return err
	}
	initial, err := c.InitialControllers()
	if err != nil {
		return err
	}
	d.formatted, d.cluster, d.id, d.dir = true, cluster.String(), c.NodeID(), f.newID()
	if given && permit {
		d.dir = own.String()
		for _, v := range initial {
			d.initial = append(d.initial, voter{v.ID, v.DirectoryID.String()})
		}
	}
	return nil
}

// stop is SIGTERM: brokers leave the in-sync replicas, the active controller hands over.
func (f *fleet) stop(pod types.UID) {
	k := f.run[pod]
	if k == nil || k.stopping {
		return
	}
	k.stopping = true
	f.fence(k)
	if f.q != nil && f.q.leader == k.id && f.isVoter(k) {
		f.q.leader, f.q.lost = -1, f.now.Add(-elects) // handed over
	}
}

// end is when the process is gone.
func (f *fleet) end(pod types.UID) { delete(f.run, pod) }

// cut takes a node off the network, or puts it back.
func (f *fleet) cut(pod types.UID, cut bool) {
	if k := f.run[pod]; k != nil && k.cut != cut {
		k.cut = cut
		f.fence(k)
	}
}

// up is the process of a node that runs, stays and is reached.
func (f *fleet) up(id int32) *kraftd {
	for _, k := range f.run {
		if k.id == id && !k.stopping && !k.cut {
			return k
		}
	}
	return nil
}

// live tells whether a voter's node runs on that disk.
func (f *fleet) live(v voter) bool {
	k := f.up(v.id)
	return k != nil && k.disk.dir == v.dir
}

func (f *fleet) liveOf(voters []voter) (n int) {
	for _, v := range voters {
		if f.live(v) {
			n++
		}
	}
	return n
}

func (f *fleet) isVoter(k *kraftd) bool {
	return f.q != nil && slices.Contains(f.q.voters, voter{k.id, k.disk.dir})
}

// sorted are the processes by node id.
func (f *fleet) sorted() []*kraftd {
	return slices.SortedFunc(maps.Values(f.run), func(a, b *kraftd) int {
		if a.id != b.id {
			return int(a.id - b.id)
		}
		return int(a.started.Sub(b.started))
	})
}

// tick lets a moment pass.
func (f *fleet) tick(now time.Time) {
	f.now = now
	f.form()
	f.makeLate()
	f.elect()
	f.fetch()
	f.serve()
	for _, k := range f.run {
		k.ready = f.isReady(k)
	}
}

// form lets initial voters with empty logs form the quorum: all of them, or nobody.
func (f *fleet) form() {
	for _, k := range f.sorted() {
		if !k.controller || k.disk.log || len(k.disk.initial) == 0 || f.up(k.id) == nil {
			continue
		}
		together := true
		for _, v := range k.disk.initial {
			o := f.up(v.id)
			together = together && o != nil && o.disk.dir == v.dir && !o.disk.log && o.disk.cluster == k.disk.cluster
		}
		if together {
			f.begin(k)
			continue
		}
		// One of them has a log: this disk was lost while forming. It votes for nobody, and observes when it hears of a leader.
		if f.q != nil && f.q.leader >= 0 && f.q.cluster == k.disk.cluster {
			k.disk.initial, k.disk.dir = nil, f.newID()
			f.note("node %d has lost its disk while forming: directory %s", k.id, k.disk.dir)
		}
	}
}

func (f *fleet) begin(k *kraftd) {
	if f.q != nil {
		for _, d := range f.disks {
			if d.cluster == f.q.cluster {
				f.violate("a second quorum forms: %v beside %v", k.disk.initial, f.q.voters)
				return
			}
		}
		f.note("no disk of cluster %s is left", f.q.cluster)
		f.partitions, f.configs, f.registered = nil, map[string]string{}, map[int32]bool{}
	}
	f.q = &quorum{
		cluster: k.disk.cluster, voters: slices.Clone(k.disk.initial), leader: -1, formed: f.now, lost: f.now, changed: f.now,
		fetched: map[voter]time.Time{},
	}
	for _, v := range f.q.voters {
		f.up(v.id).disk.log = true
	}
	f.note("the quorum forms: %v", f.q.voters)
}

// keep forgets the disks of claims that are gone, unless a process still has them.
func (f *fleet) keep(claims map[types.UID]bool) {
	for _, k := range f.run {
		claims[k.claim] = true
	}
	maps.DeleteFunc(f.disks, func(claim types.UID, _ *disk) bool { return !claims[claim] })
}

// slow makes a controller slow: it fetches, and is farther behind than one that keeps up may be. Or it no longer is.
func (f *fleet) slow(id int32, slow bool) {
	k := f.up(id)
	if k.slow = (time.Time{}); slow {
		f.records += farBehind
		k.slow = f.now
	}
}

// follower is the last voter that doesn't lead.
func (f *fleet) follower() int32 {
	for _, v := range slices.Backward(f.q.voters) {
		if v.id != f.q.leader {
			return v.id
		}
	}
	return -1
}

// left is a slow controller that votes no longer; -1 there is none.
func (f *fleet) left() int32 {
	for _, k := range f.sorted() {
		if !k.slow.IsZero() && !f.isVoter(k) {
			return k.id
		}
	}
	return -1
}

// recover is what a person does to a quorum that is lost for good, with kraftd quorum recover on a survivor's disk while
// nothing runs: it goes on as the only voter, and everybody else observes.
func (f *fleet) recover(id int32) {
	q := f.q
	q.voters = slices.DeleteFunc(slices.Clone(q.voters), func(v voter) bool { return v.id != id })
	q.epoch++
	q.committed = true
	f.note("recovered: %v", q.voters)
}

// elect finds a leader when there is none that lives.
func (f *fleet) elect() {
	q := f.q
	if q == nil {
		return
	}
	majority := f.liveOf(q.voters) > len(q.voters)/2
	leads := slices.ContainsFunc(q.voters, func(v voter) bool { return v.id == q.leader && f.live(v) })
	switch {
	case leads && majority:
		return
	case q.leader >= 0:
		q.leader, q.lost = -1, f.now
		f.note("the leader is lost")
	}
	if !majority || f.now.Sub(q.lost) < elects {
		return
	}
	live := slices.DeleteFunc(slices.Clone(q.voters), func(v voter) bool { return !f.live(v) })
	q.leader = live[int(q.epoch+1)%len(live)].id
	q.epoch++
	q.fetched = map[voter]time.Time{}
	f.note("leader %d in epoch %d", q.leader, q.epoch)
}

// fetch is what everyone who reaches the leader does, and what commits.
func (f *fleet) fetch() {
	q := f.q
	if q == nil || q.leader < 0 {
		return
	}
	for _, k := range f.run {
		if k.stopping || k.cut || k.disk.cluster != q.cluster {
			continue
		}
		if k.fetches.IsZero() {
			k.fetches = f.now
		}
		k.disk.log = true
		if f.isVoter(k) || f.now.Sub(k.fetches) >= catchUp {
			q.fetched[voter{k.id, k.disk.dir}] = f.now
		}
	}
	if !q.committed && f.now.Sub(q.changed) >= commits && f.liveOf(q.voters) > len(q.voters)/2 {
		q.committed = true
	}
}

func (f *fleet) isReady(k *kraftd) bool {
	if k.stopping || k.cut {
		return false
	}
	if k.broker && k.unfenced.IsZero() {
		return false
	}
	if !k.controller {
		return true
	}
	q := f.q
	switch {
	case q == nil:
		return false
	case q.leader < 0:
		return k.ready && f.now.Sub(q.lost) < staysUp
	}
	at, ok := q.fetched[voter{k.id, k.disk.dir}]
	return ok && f.now.Sub(at) < 4*time.Second
}
