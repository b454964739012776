package sim

import (
	"slices"
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
	cfg.Routes = w.routes()
	cfg.Controller, cfg.AutoJoin = n.controller, n.controller && w.s.autoJoin
	cfg.FormationSafe = w.s.formationSafe
	if w.s.requests > 0 {
		cfg.RequestTimeout = w.s.requests
	}
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
	// The start went up to a snapshot. Where the cut of another tail was lost with the crash, as many batches reach further; but
	// the segment that holds the snapshot's end was not deleted.
	for k := len(d.synced.snapshots); k > 0 && d.first > 0 && n.w.offsetAt(d.log, d.first) > d.synced.snapshots[k-1].id.Offset; {
		d.first--
	}
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

// leave is SIGTERM: what was accepted is proposed, then the engine hands over; 5 s bound it.
func (n *node) leave() {
	n.propose()
	if !n.up {
		return
	}
	n.leaving = true
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
