package sim

import (
	"math/rand/v2"

	"github.com/kraft-dev/kraft-operator/internal/quorum"
	"github.com/kraft-dev/kraft-operator/internal/uuid"
)

// batchID numbers the batches ever written by any leader of a run. Equal ids mean equal bytes.
type batchID int32

const noBatch batchID = -1

// batch is the content behind an id.
type batch struct {
	info  quorum.BatchInfo
	value uint64
	key   int    // 1 for key 0; 0: no client's
	bytes []byte // on real disks
}

// image is the content of a disk: what a crash leaves.
type image struct {
	directory uuid.UUID
	election  *quorum.ElectionState
	// log is whole, from the first batch ever; those below first are no longer in it, some snapshot has them.
	log       []batchID
	first     int
	trimmed   int // where the log was said to begin: segments, and the start after a crash, follow later
	snapshots []snapshotFile
}

// disk holds what is synced, and the writes since, in order. A crash keeps any prefix of those.
type disk struct {
	synced    image
	log       []batchID // as the process sees it
	first     int
	snapshots []snapshotFile
	partID    quorum.OffsetAndEpoch // of a download
	part      []byte
	writes    []write // of the log, not yet synced
	done      int     // writes synced so far
	pending   []quorum.PersistElection
}

type write struct {
	append   batchID // noBatch: a truncation
	truncate int     // to this many batches
}

func (d *disk) append(id batchID) {
	d.log = append(d.log, id)
	d.writes = append(d.writes, write{append: id})
}

func (d *disk) truncate(n int) {
	d.log = append([]batchID(nil), d.log[:n]...)
	d.writes = append(d.writes, write{append: noBatch, truncate: n})
}

// mark is the position up to which a flush that starts now will sync.
func (d *disk) mark() int { return d.done + len(d.writes) }

func (d *disk) sync(mark int) {
	for d.done < mark && len(d.writes) > 0 {
		w := d.writes[0]
		d.writes = d.writes[1:]
		d.done++
		if w.append == noBatch {
			d.synced.log = append([]batchID(nil), d.synced.log[:min(w.truncate, len(d.synced.log))]...)
			continue
		}
		d.synced.log = append(d.synced.log, w.append)
	}
}

// persisted completes election writes up to seq, and returns them.
func (d *disk) persisted(seq uint64) (states []quorum.ElectionState) {
	for len(d.pending) > 0 && d.pending[0].Seq <= seq {
		state := d.pending[0].State
		d.synced.election = &state
		d.pending = d.pending[1:]
		states = append(states, state)
	}
	return states
}

// crash loses unsynced writes: all, none, or the tail of them. It returns the election states it kept.
func (d *disk) crash(rng *rand.Rand) (states []quorum.ElectionState) {
	if n := len(d.writes); n > 0 {
		keep := 0
		switch rng.IntN(3) {
		case 1:
			keep = n
		case 2:
			keep = rng.IntN(n + 1)
		}
		d.sync(d.done + keep)
	}
	if n := len(d.pending); n > 0 && rng.IntN(2) == 0 {
		states = d.persisted(d.pending[rng.IntN(n)].Seq)
	}
	d.writes, d.pending, d.part = nil, nil, nil
	d.log = append([]batchID(nil), d.synced.log...)
	d.crashSnapshots(rng)
	return states
}

// crashSnapshots: of the segments and snapshots to be deleted some are gone, so the log may begin earlier than it was
// said to, though not where a snapshot is missing.
func (d *disk) crashSnapshots(rng *rand.Rand) {
	s := &d.synced
	if s.trimmed = max(s.trimmed, d.first); s.trimmed > s.first {
		s.first += rng.IntN(s.trimmed - s.first + 1)
	}
	kept := s.snapshots[:0:0]
	for _, f := range s.snapshots {
		live := len(d.snapshots) == 0 || f.id.Offset >= d.snapshots[0].id.Offset
		if live || rng.IntN(2) == 0 {
			kept = append(kept, f)
		}
	}
	s.snapshots = kept
}

// Disk is what a run's disks are.
type Disk string

// Disks. By default every fourth seed runs on real ones.
const (
	SeedsDisk Disk = ""
	FakeDisk  Disk = "fake" // a model: fast
	RealDisk  Disk = "real" // the node's executor of effects on storage.Log, on a file system that can crash
)

// format makes an empty disk.
func (n *node) format(directory uuid.UUID) {
	n.disk = disk{synced: image{directory: directory}}
	if n.w.real {
		n.real = newRealDisk(n, directory)
	}
}
