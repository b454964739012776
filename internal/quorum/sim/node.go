package sim

import (
	"encoding/binary"
	"slices"
	"sort"
	"time"

	"github.com/kraft-dev/kraft-operator/internal/quorum"
	"github.com/kraft-dev/kraft-operator/internal/uuid"
)

// node is a process with a disk: the driver of one engine.
type node struct {
	w                *world
	id               int
	initial          quorum.VoterSet
	initialDirectory uuid.UUID
	controller       bool
	oldFetch         bool    // speaks Fetch before version 18
	oldEpochsGone    bool    // its epoch cache is cut when its log's start moves, not when segments go
	noPreVote        bool    // speaks Vote before version 2
	drift            float64 // of its clock

	disk        disk
	real        *realDisk     // nil: disk is all there is
	slowUntil   time.Duration // the disk's operations take slowBy times as long
	slowBy      int
	failSync    bool    // the next fsync of a fake disk fails
	old         *backup // of the disk
	up          bool
	incarnation int // counts starts; happenings of an earlier life are dropped
	booted      time.Duration
	frozenUntil time.Duration
	q           *quorum.Quorum
	tickAt      quorum.Instant
	leaving     bool
	wiped       bool                            // its disk was lost at least once
	restored    bool                            // an old copy of it came back at least once
	lost        map[quorum.ReplicaKey][]batchID // what was on its disks: a leader may count an acknowledgement from before
	member      bool                            // formatted with the 0-0 checkpoint of the initial voters
	moved       int                             // its address changes with it

	waiting     []waiting
	follows     following
	prospective time.Duration                       // since when
	leads       time.Duration                       // since when
	reads       map[uint64]waiting                  // by token
	served      map[quorum.ReplicaKey]time.Duration // fetches came in

	installing  bool
	damaged     bool // the download has a flipped bit; damagedNext: so has the piece that just came
	damagedNext bool
	accumulator accumulator
	flushing    bool
	flushNext   *quorum.Flush
	watch       watch
	committed   quorum.Offset
	verified    int // batches of its log compared with what is committed
}

func (n *node) directory() uuid.UUID { return n.disk.synced.directory }

func (n *node) key() quorum.ReplicaKey {
	return quorum.ReplicaKey{ID: quorum.NodeID(n.id), DirectoryID: n.directory()}
}

// clock is the node's monotonic time.
func (n *node) clock() quorum.Instant {
	return quorum.Instant(float64(n.w.now-n.booted) * n.drift)
}

// start opens the disk and begins a life.
func (n *node) start() {
	w := n.w
	n.incarnation++
	w.count("starts")
	n.up, n.leaving, n.booted, n.frozenUntil = true, false, w.now, 0
	n.dropClients()
	n.accumulator, n.flushing, n.flushNext, n.installing = accumulator{}, false, nil, false
	n.watch = newWatch()
	n.committed, n.verified, n.tickAt = -1, 0, 0
	n.follows, n.prospective, n.leads, n.served = following{}, 0, 0, map[quorum.ReplicaKey]time.Duration{}
	n.reads = map[uint64]waiting{}
	election, log, ok := n.open()
	if !ok {
		n.up = false
		return
	}

	cfg := quorum.DefaultConfig()
	cfg.ClusterID = "sim"
	cfg.NodeID, cfg.DirectoryID = quorum.NodeID(n.id), n.directory()
	cfg.Endpoints, cfg.Listener = n.endpoints(), "CONTROLLER"
	if w.s.changes {
		cfg.Routes = w.routes()
	}
	cfg.Controller, cfg.AutoJoin = n.controller, n.controller && w.s.autoJoin
	cfg.FormationSafe = w.s.formationSafe
	cfg.FetchSnapshotMaxBytes = w.s.chunk
	if !n.controller {
		cfg.Endpoints = nil
	}
	if w.s.kraftVersion == 0 {
		cfg.StaticVoters = n.initial
	} else {
		for _, o := range w.nodes[:w.s.controllers()] {
			e := o.endpoints()[0]
			cfg.BootstrapServers = append(cfg.BootstrapServers, quorum.Node{Host: e.Host, Port: e.Port})
		}
	}
	q, err := quorum.New(cfg, election, log, w.rng.Uint64())
	if err != nil {
		w.check.fail("n%d does not start: %v", n.id, err)
	}
	n.q = q
	w.tracef("n%d starts as %s, %d batches, election %+v", n.id, n.key(), len(n.disk.log), n.disk.synced.election)
	n.step(quorum.Start{})
}

// open recovers the disk: it deletes what is below the log's start, and finishes an install. ok is false where a real disk
// refuses.
func (n *node) open() (election *quorum.ElectionState, log quorum.LogState, ok bool) {
	if n.real != nil {
		return n.real.open()
	}
	d := &n.disk
	d.log = append([]batchID(nil), d.synced.log...)
	d.writes, d.pending = nil, nil
	d.part, d.first = nil, min(d.synced.first, len(d.log))
	start := n.w.offsetAt(d.log, d.first)
	d.snapshots = slices.DeleteFunc(slices.Clone(d.synced.snapshots), func(f snapshotFile) bool { return f.id.Offset < start })
	d.synced.snapshots = d.snapshots
	n.finishInstall()
	return d.synced.election, n.logState(), true
}

// logState describes the log as opening it finds it.
func (n *node) logState() quorum.LogState {
	var s quorum.LogState
	level := n.w.s.kraftVersion
	if n.member {
		s.Control = append(s.Control,
			quorum.ControlAt{Offset: -1, Record: quorum.ControlRecord{KRaftVersion: &level}},
			quorum.ControlAt{Offset: -1, Record: quorum.ControlRecord{Voters: &n.initial}})
	}
	s.StartOffset = n.w.offsetAt(n.disk.log, n.disk.first)
	s.EndOffset = s.StartOffset
	for _, f := range n.disk.snapshots {
		s.Snapshots = append(s.Snapshots, f.info())
	}
	if k := len(n.disk.snapshots); k > 0 {
		_, control, _ := n.w.decodeSnapshot(n.disk.snapshots[k-1])
		s.Control = append(s.Control, control...)
	}
	for i, id := range n.disk.log[n.disk.first:] {
		b := n.w.batches[id].info
		trimmed := n.oldEpochsGone && n.disk.first+i < n.disk.synced.trimmed
		if k := len(s.Epochs); !trimmed && (k == 0 || s.Epochs[k-1].Epoch < b.Epoch) {
			s.Epochs = append(s.Epochs, quorum.EpochStart{Epoch: b.Epoch, Start: b.Base})
		}
		for i, r := range b.Control {
			s.Control = append(s.Control, quorum.ControlAt{Offset: b.Base + quorum.Offset(i), Record: r})
		}
		s.EndOffset = b.Last + 1
	}
	return s
}

// step feeds one event and carries out its effects.
func (n *node) step(ev quorum.Event) {
	w := n.w
	w.steps++
	before := n.q.Status()
	fx := n.q.Step(n.clock(), ev)
	if w.trace != nil {
		w.traceStep(n, ev, before, fx)
	}
	life, after := n.incarnation, n.q.Status()
	for _, e := range fx {
		if n.carryOut(e); !n.up || n.incarnation != life { // the disk failed: nothing after it leaves
			w.check.epochBorn(n, ev, before, after)
			return
		}
	}
	w.check.afterStep(n)
	w.check.watch(n, ev, before, fx)
	w.check.roles(n, ev, before, fx)
	n.scheduleTick()
	if w.afterEvent != nil {
		w.afterEvent(n)
	}
}

// later runs do in this life of the node, after a freeze if there is one.
func (n *node) later(d time.Duration, do func()) {
	life := n.incarnation
	var run func()
	run = func() {
		switch {
		case !n.up || n.incarnation != life:
		case n.frozenUntil > n.w.now:
			n.w.after(n.frozenUntil-n.w.now, run)
		default:
			do()
		}
	}
	n.w.after(d, run)
}

func (n *node) scheduleTick() {
	d := n.q.Deadline()
	if d == n.tickAt || d == quorum.Never {
		n.tickAt = d
		return
	}
	n.tickAt = d
	wait := time.Duration(float64(d-n.clock())/n.drift) + time.Microsecond
	n.later(wait, func() {
		if n.tickAt == d {
			n.tickAt = -1
			n.step(quorum.Tick{})
		}
	})
}

// carryOut is the driver: one case an effect.
func (n *node) carryOut(e quorum.Effect) {
	w := n.w
	if n.installing {
		switch e.(type) {
		case quorum.Append, quorum.Truncate, quorum.Flush, quorum.Read, quorum.DropPrefix, quorum.WriteSnapshot, quorum.InstallSnapshot:
			w.check.fail("n%d: %s while a snapshot is being installed", n.id, describeEffect(e))
		}
	}
	switch e := e.(type) {
	case quorum.PersistElection:
		n.disk.pending = append(n.disk.pending, e)
		if n.real != nil {
			n.real.persist(e)
			return
		}
		n.later(n.fsyncTime(), func() {
			if n.syncFails() {
				return
			}
			w.check.persisted(n, n.disk.persisted(e.Seq))
			n.step(quorum.ElectionPersisted{Seq: e.Seq})
		})
	case quorum.Append:
		n.append(e)
	case quorum.ReadReady:
		w.check.readReady(n, e)
	case quorum.ReadFailed:
		delete(w.check.reads, e.Token)
	case quorum.ProposeControl:
		n.proposeControl(e)
	case quorum.Truncate:
		n.truncate(e.To)
	case quorum.Flush:
		n.flush(e)
	case quorum.Read:
		data, ok := n.read(e)
		if !ok {
			return
		}
		n.later(w.between(0, w.s.fsync/4), func() { n.step(quorum.ReadDone{Token: e.Token, Data: data}) })
	case quorum.ReadSnapshot, quorum.WriteSnapshot, quorum.AbandonSnapshot, quorum.InstallSnapshot, quorum.DropPrefix:
		n.carryOutSnapshot(e)
	case quorum.Send:
		w.check.send(n, e)
		w.check.requestBears(n, e)
		w.transmit(n, e)
	case quorum.Reply:
		w.answer(n, e)
	case quorum.Committed:
		w.check.commit(n, e.HighWatermark)
		n.answerClients(e.HighWatermark)
		w.strikeAfterCommit(n)
	case quorum.LeaderChanged:
		n.dropClients()
		n.accumulator = accumulator{}
		if int(e.LeaderID) == n.id {
			n.accumulator = accumulator{open: true, epoch: e.Epoch, next: e.NextOffset}
			w.check.elected(n, e)
			w.strikeLeader(n)
		}
	case quorum.ReplaceDirectory:
		if !w.s.formationSafe || !n.wiped {
			w.check.fail("n%d gives up its directory without having lost it", n.id)
		}
		n.later(n.fsyncTime(), func() {
			id := w.randomUUID()
			if n.real != nil && !n.real.replaceDirectory(id) {
				return
			}
			n.disk.synced.directory = id
			n.step(quorum.DirectoryReplaced{DirectoryID: n.directory()})
		})
	case quorum.ShutdownComplete:
		n.later(w.between(0, time.Millisecond), func() { n.stop(w.chance(0.5)) })
	case quorum.Note:
		if e.Level == quorum.NoteError {
			w.check.contradiction(n, e.Text)
		}
	}
}

func (n *node) append(e quorum.Append) {
	w := n.w
	if end := n.end(); e.Base != end {
		w.check.fail("n%d appends at %d, its log ends at %d", n.id, e.Base, end)
	}
	if e.Control != nil {
		n.appendBatch(w.newBatch(quorum.BatchInfo{Base: e.Base, Last: e.End - 1, Epoch: e.Epoch, Size: batchSize, Control: e.Control}, 0))
	} else {
		ids, ok := w.decode(e.Data)
		if !ok || len(ids) != len(e.Batches) {
			w.check.fail("n%d appends %d batches, of which %d are known, for %d", n.id, len(ids), len(ids), len(e.Batches))
		}
		for _, id := range ids {
			n.appendBatch(id)
		}
	}
	if n.real != nil && !n.real.append(e) {
		return
	}
	if end := n.end(); end != e.End {
		w.check.fail("n%d's log ends at %d after an append to %d", n.id, end, e.End)
	}
}

func (n *node) appendBatch(id batchID) {
	n.w.check.append(n, id)
	n.disk.append(id)
}

func (n *node) truncate(to quorum.Offset) {
	k := len(n.disk.log)
	for k > 0 && n.w.batches[n.disk.log[k-1]].info.Last >= to {
		k--
	}
	n.w.check.truncate(n, to, k)
	n.disk.truncate(k)
	n.verified = min(n.verified, k)
	if n.real != nil {
		n.real.truncate(to)
	}
}

// lastEpoch is that of the last record, 0 if there is none.
func (n *node) lastEpoch() quorum.Epoch {
	if k := len(n.disk.log); k > 0 {
		return n.w.batches[n.disk.log[k-1]].info.Epoch
	}
	return 0
}

func (n *node) end() quorum.Offset { return n.w.endOf(n.disk.log) }

func (w *world) endOf(log []batchID) quorum.Offset {
	if k := len(log); k > 0 {
		return w.batches[log[k-1]].info.Last + 1
	}
	return 0
}

// flush syncs in the background, one at a time, the latest request next.
func (n *node) flush(e quorum.Flush) {
	if n.flushing {
		n.flushNext = &e
		return
	}
	n.flushing = true
	mark := n.disk.mark()
	sync := func() bool {
		if n.real != nil {
			return n.real.flush()
		}
		n.disk.sync(mark)
		return true
	}
	early := n.real != nil && n.w.chance(0.5) // durable before the word of it is as possible as after
	if early && !sync() {
		return
	}
	n.later(n.fsyncTime(), func() {
		if n.syncFails() || !early && !sync() {
			return
		}
		n.flushing = false
		if next := n.flushNext; next != nil {
			n.flushNext = nil
			n.flush(*next)
		}
		if n.up {
			n.step(quorum.Flushed(e))
		}
	})
}

// index is the number, in its log, of the batch that holds an offset.
func (n *node) index(offset quorum.Offset) int {
	return sort.Search(len(n.disk.log), func(i int) bool { return n.w.batches[n.disk.log[i]].info.Last >= offset })
}

// read returns a few batches from an offset.
func (n *node) read(e quorum.Read) (data []byte, ok bool) {
	limit := 1 + n.w.rng.IntN(20)
	if n.w.healed {
		limit = 1 << 20
	}
	first := n.index(e.From)
	if first < n.disk.first {
		n.w.check.fail("n%d reads from %d, its log begins at %d", n.id, e.From, n.w.offsetAt(n.disk.log, n.disk.first))
	}
	if n.real != nil {
		return n.real.read(e)
	}
	for _, id := range n.disk.log[first:] {
		if limit > 0 {
			data = n.w.encode(data, id)
			limit--
		}
	}
	return data, true
}

const batchSize = 4

func decodeBatch(data []byte) batchID { return batchID(binary.BigEndian.Uint32(data)) }

// leave is SIGTERM: what was accepted is proposed, then the engine hands over; 5 s bound it.
func (n *node) leave() {
	n.leaving = true
	n.propose()
	n.step(quorum.Shutdown{})
	n.later(5*time.Second, func() { n.stop(true) })
}

// syncFails ends a life on a fake disk. What was being synced is there or not.
func (n *node) syncFails() bool {
	if !n.failSync {
		return false
	}
	n.w.tracef("FAULT n%d stops: an fsync fails", n.id)
	n.w.count("disks failed")
	n.failSync = false
	n.crash()
	n.comeBack(n.w.between(0, 3*time.Second))
	return true
}

// stop ends a life. A clean stop syncs first.
func (n *node) stop(clean bool) {
	switch {
	case clean && n.real == nil:
		n.disk.sync(n.disk.mark())
	case clean && n.up && !n.real.stop():
		return
	}
	n.crash()
	n.w.after(n.w.between(0, 2*time.Second), func() {
		if !n.up {
			n.start()
		}
	})
}

func (n *node) crash() {
	n.up = false
	n.w.hangUp(n)
	if n.real != nil {
		n.real.crash()
	} else {
		n.w.check.persisted(n, n.disk.crash(n.w.rng))
	}
	n.w.tracef("n%d is down with %d batches", n.id, len(n.disk.log))
}
