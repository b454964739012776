package raft_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kraft-dev/kraft-operator/internal/node/raft"
	"github.com/kraft-dev/kraft-operator/internal/node/rpc"
	"github.com/kraft-dev/kraft-operator/internal/quorum"
	"github.com/kraft-dev/kraft-operator/internal/storage"
	"github.com/kraft-dev/kraft-operator/internal/storage/record"
)

// syncDisk is the real disk, with books of what its syncs have made durable: the offset up to which the log is, and the newest quorum-state.
// Each sync of the log may be delayed, held or failed.
type syncDisk struct {
	storage.FS
	onSync func(file string) error // before the sync; an error is the sync's

	mu       sync.Mutex
	rng      *rand.Rand
	written  int64 // offset behind the last batch that was written
	durable  int64 // behind the last that was written before a sync that has returned
	election storage.ElectionState
	syncs    int
}

func newSyncDisk(seed uint64) *syncDisk {
	return &syncDisk{FS: storage.OS(), rng: rand.New(rand.NewPCG(seed, 0)), election: storage.ElectionState{LeaderID: -1, VotedID: -1}}
}

type syncFile struct {
	storage.File
	d    *syncDisk
	name string
}

func (d *syncDisk) wrap(f storage.File, name string, err error) (storage.File, error) {
	if err != nil {
		return nil, err
	}
	return &syncFile{f, d, name}, nil
}

func (d *syncDisk) Open(name string) (storage.File, error) {
	f, err := d.FS.Open(name)
	return d.wrap(f, name, err)
}

func (d *syncDisk) Create(name string) (storage.File, error) {
	f, err := d.FS.Create(name)
	return d.wrap(f, name, err)
}

// SyncDir makes names durable: quorum-state's, if there is one.
func (d *syncDisk) SyncDir(dir string) error {
	s, readErr := storage.ReadQuorumState(d.FS, dir)
	d.delay()
	if err := d.FS.SyncDir(dir); err != nil || readErr != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.election = s
	return nil
}

func (f *syncFile) isLog() bool { return strings.HasSuffix(f.name, ".log") }

func (f *syncFile) WriteAt(p []byte, off int64) (int, error) {
	n, err := f.File.WriteAt(p, off)
	if err == nil && f.isLog() {
		f.d.mu.Lock()
		defer f.d.mu.Unlock()
		for rest := p; len(rest) > 0; {
			b, next, err := record.Split(rest)
			if err != nil {
				return n, err
			}
			f.d.written, rest = b.NextOffset(), next
		}
	}
	return n, err
}

func (f *syncFile) Sync() error {
	f.d.mu.Lock()
	written, on := f.d.written, f.d.onSync
	f.d.syncs++
	f.d.mu.Unlock()
	if on != nil {
		if err := on(path.Base(f.name)); err != nil {
			return err
		}
	}
	f.d.delay()
	if err := f.File.Sync(); err != nil {
		return err
	}
	if f.isLog() {
		f.d.mu.Lock()
		defer f.d.mu.Unlock()
		f.d.durable = max(f.d.durable, written)
	}
	return nil
}

// delay makes each sync take a few milliseconds, so that whoever doesn't wait for it is seen.
func (d *syncDisk) delay() {
	d.mu.Lock()
	wait := time.Duration(d.rng.IntN(8_000)) * time.Microsecond
	d.mu.Unlock()
	<-time.After(wait)
}

func (d *syncDisk) setOnSync(f func(string) error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.onSync = f
}

func (d *syncDisk) durableTo() int64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.durable
}

func (d *syncDisk) durableElection() storage.ElectionState {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.election
}

// syncWatch checks, whenever something leaves a replica, that its disk has what it says.
type syncWatch struct {
	mu       sync.Mutex
	wrong    []string
	checked  map[string]int
	replicas []*replica
}

func (w *syncWatch) check(rule string, ok bool, format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.checked[rule]++
	if !ok {
		w.wrong = append(w.wrong, rule+": "+fmt.Sprintf(format, args...))
	}
}

func diskOf(r *replica) *syncDisk { return r.fs.(*syncDisk) }

// committed: a majority has the bytes on disk when a commit is told.
func (w *syncWatch) committed(r *replica, batches []raft.CommittedBatch) {
	end, have := batches[len(batches)-1].LastOffset+1, 0
	for _, other := range w.replicas {
		if diskOf(other).durableTo() >= end {
			have++
		}
	}
	w.check("commit", have > len(w.replicas)/2, "replica %d tells of a commit up to %d, on %d disks", r.id, end, have)
}

// watchedNetwork looks at what goes out and at what comes back.
type watchedNetwork struct {
	raft.Network
	w    *syncWatch
	from *replica
}

func (n watchedNetwork) Do(ctx context.Context, addr string, req kmsg.Request, opts ...rpc.Option) (kmsg.Response, error) {
	mine := diskOf(n.from)
	switch q := req.(type) {
	case *kmsg.VoteRequest:
		if p := q.Topics[0].Partitions[0]; !p.PreVote {
			e := mine.durableElection()
			n.w.check("own vote", e.LeaderEpoch >= p.CandidateEpoch && (e.LeaderEpoch > p.CandidateEpoch || e.VotedID == n.from.id || e.LeaderID == n.from.id),
				"replica %d asks for votes in epoch %d, its disk says %+v", n.from.id, p.CandidateEpoch, e)
		}
	case *kmsg.FetchRequest:
		p := q.Topics[0].Partitions[0]
		n.w.check("fetch", mine.durableTo() >= p.FetchOffset, "replica %d fetches from %d, its disk has %d", n.from.id, p.FetchOffset, mine.durableTo())
	case *kmsg.BeginQuorumEpochRequest:
		p := q.Topics[0].Partitions[0]
		n.w.leads("begin", n.from, p.LeaderEpoch)
	}
	resp, err := n.Network.Do(ctx, addr, req, opts...)
	if err != nil {
		return resp, err
	}
	peer := n.w.at(addr)
	switch a := resp.(type) {
	case *kmsg.VoteResponse:
		q := req.(*kmsg.VoteRequest).Topics[0].Partitions[0]
		if len(a.Topics) == 1 && a.Topics[0].Partitions[0].VoteGranted && !q.PreVote {
			e := diskOf(peer).durableElection()
			n.w.check("vote given", e.LeaderEpoch > q.CandidateEpoch || e.LeaderEpoch == q.CandidateEpoch && (e.VotedID == n.from.id || e.LeaderID == n.from.id),
				"replica %d has voted for %d in epoch %d, its disk says %+v", peer.id, n.from.id, q.CandidateEpoch, e)
		}
	case *kmsg.FetchResponse:
		if len(a.Topics) == 1 && len(a.Topics[0].Partitions[0].RecordBatches) > 0 {
			n.w.leads("records", peer, a.Topics[0].Partitions[0].CurrentLeader.LeaderEpoch)
		}
	}
	return resp, err
}

// leads: "leader = self" is on disk before anything of that epoch is heard of it.
func (w *syncWatch) leads(rule string, r *replica, epoch int32) {
	e := diskOf(r).durableElection()
	w.check(rule, e.LeaderEpoch > epoch || e.LeaderEpoch == epoch && e.LeaderID == r.id, "replica %d leads in epoch %d, its disk says %+v", r.id, epoch, e)
}

func (w *syncWatch) at(addr string) *replica {
	for _, r := range w.replicas {
		if r.addr == addr {
			return r
		}
	}
	return nil
}

// watched starts three replicas on disks whose syncs are counted.
func watched(t *testing.T) (*syncWatch, []*replica, quorum.VoterSet) {
	t.Helper()
	rs, set := voters(t, 3)
	w := &syncWatch{checked: map[string]int{}, replicas: rs}
	for _, r := range rs {
		r.fs, r.addr = newSyncDisk(uint64(r.id)), r.listener.Addr().String()
		r.network = func(n raft.Network) raft.Network { return watchedNetwork{n, w, r} }
		r.watch = w.committed
		r.start(set)
	}
	t.Cleanup(func() {
		for _, r := range rs {
			diskOf(r).setOnSync(nil)
			r.stop(false)
		}
	})
	return w, rs, set
}

func (w *syncWatch) clean(t *testing.T, rules ...string) {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	require.Empty(t, w.wrong)
	for _, rule := range rules {
		require.NotZero(t, w.checked[rule], "%s was never seen: %v", rule, w.checked)
	}
}

// TestNothingLeavesBeforeItsSync writes through two leaders, with syncs of random length, and looks at every vote, fetch, first record and commit.
func TestNothingLeavesBeforeItsSync(t *testing.T) {
	w, rs, _ := watched(t)
	first, epoch := leader(t, rs)
	appendRecords(t, first, epoch, 150, "a")
	eventually(t, "the first leader's records", func() bool { return len(first.state.all()) == 150 })
	first.stop(true)
	second, epoch := leader(t, rs)
	appendRecords(t, second, epoch, 150, "b")
	eventually(t, "the second leader's records", func() bool { return len(second.state.all()) == 300 })
	w.clean(t, "commit", "own vote", "vote given", "fetch", "begin", "records")
	t.Log(w.checked)
	// Syncs are shared, or three hundred records would have cost as many.
	d := diskOf(first)
	d.mu.Lock()
	defer d.mu.Unlock()
	t.Logf("%d syncs on the first leader's disk", d.syncs)
}

// gate holds syncs of the log until it is opened.
type gate struct {
	entered chan struct{}
	opened  chan struct{}
	once    sync.Once
}

func hold(t *testing.T, d *syncDisk) *gate {
	g := &gate{entered: make(chan struct{}, 1024), opened: make(chan struct{})}
	t.Cleanup(g.open) // or a test that failed would wait for it
	d.setOnSync(func(name string) error {
		if strings.HasSuffix(name, ".log") {
			g.entered <- struct{}{}
			<-g.opened
		}
		return nil
	})
	return g
}

func (g *gate) open() { g.once.Do(func() { close(g.opened) }) }

func others(rs []*replica, not *replica) (out []*replica) {
	for _, r := range rs {
		if r != not {
			out = append(out, r)
		}
	}
	return out
}

// TestOneSlowSyncHoldsNobodyUp holds the syncs of the leader, then of one follower: the other two commit. With both followers held nothing
// commits, and with one of them let go it does.
func TestOneSlowSyncHoldsNobodyUp(t *testing.T) {
	w, rs, _ := watched(t)
	l, epoch := leader(t, rs)
	total := 0
	more := func(why string) {
		appendRecords(t, l, epoch, 5, why)
		total += 5
		eventually(t, why, func() bool { return len(l.state.all()) == total })
	}
	more("all sync")
	g := hold(t, diskOf(l))
	more("the leader's sync is held")
	g.open()
	diskOf(l).setOnSync(nil)

	fs := others(rs, l)
	g = hold(t, diskOf(fs[0]))
	more("one follower's sync is held")

	both := hold(t, diskOf(fs[1]))
	appendRecords(t, l, epoch, 5, "two are held")
	end := l.driver.LogEndOffset
	eventually(t, "the leader's own sync", func() bool { return diskOf(l).durableTo() >= end() })
	<-both.entered
	<-g.entered
	require.Len(t, l.state.all(), total, "committed on one disk")
	require.NoError(t, l.driver.Ping(t.Context()), "a held sync beside the loop")
	require.NoError(t, fs[0].driver.Ping(t.Context()), "a held sync beside the loop")
	g.open()
	total += 5
	eventually(t, "one follower is let go", func() bool { return len(l.state.all()) == total })
	both.open()
	w.clean(t, "commit", "fetch")
}

var errDisk = errors.New("the disk is gone")

// failing makes the next sync of the log fail; a second try would succeed, and must not come.
func failing(t *testing.T, d *syncDisk) {
	failed := false
	d.setOnSync(func(name string) error {
		if !strings.HasSuffix(name, ".log") && !strings.HasSuffix(name, "quorum-state.tmp") {
			return nil
		}
		if failed {
			t.Errorf("%s is synced again after a failure", name)
		}
		failed = true
		return errDisk
	})
}

// TestAFailedSyncStopsTheNode fails one sync of a follower, then one of the leader. The node's Run ends with the disk's error, nothing that the sync
// would have covered was told, and the others go on.
func TestAFailedSyncStopsTheNode(t *testing.T) {
	for _, who := range []string{"follower", "leader"} {
		t.Run(who, func(t *testing.T) {
			w, rs, _ := watched(t)
			l, epoch := leader(t, rs)
			appendRecords(t, l, epoch, 10, "a")
			eventually(t, "everybody has it", func() bool {
				for _, r := range rs {
					if len(r.state.all()) < 10 {
						return false
					}
				}
				return true
			})
			broken := l
			if who == "follower" {
				broken = others(rs, l)[0]
			}
			failing(t, diskOf(broken))
			appendRecords(t, l, epoch, 10, "b")
			select {
			case err := <-broken.done:
				require.ErrorIs(t, err, errDisk)
			case <-time.After(20 * time.Second):
				t.Fatal("it runs on without its disk")
			}
			broken.abandon(t)
			rest := others(rs, broken)
			next, epoch := leader(t, rest)
			appendRecords(t, next, epoch, 10, "c")
			eventually(t, "the others go on", func() bool {
				all := next.state.all()
				return len(all) > 0 && all[len(all)-1] == "c-9"
			})
			w.clean(t, "commit", "fetch")
		})
	}
}

// abandon takes away what is left of a replica whose driver has ended by itself.
func (r *replica) abandon(t *testing.T) {
	r.cancel()
	r.cancel = nil
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	_ = r.server.Shutdown(ctx)
	r.client.Close()
	require.NoError(t, r.disk.Close(), "what failed is not synced again")
}
