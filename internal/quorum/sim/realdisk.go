package sim

import (
	"errors"
	"slices"
	"time"

	"github.com/kraft-dev/kraft-operator/internal/quorum"
	qdisk "github.com/kraft-dev/kraft-operator/internal/quorum/disk"
	"github.com/kraft-dev/kraft-operator/internal/storage"
	"github.com/kraft-dev/kraft-operator/internal/storage/memfs"
	"github.com/kraft-dev/kraft-operator/internal/uuid"
)

// realDisk is a node's disk in a real run: the node's own executor of effects, on a file system that can crash.
//
// The node's disk (the fake one) goes along as a model. It says what must be there: what it calls synced is what the engine
// was promised, and a start must find that and some prefix of the writes since. The model may lag behind what is really
// durable (a log syncs a full segment by itself), never the reverse.
type realDisk struct {
	n     *node
	fs    *memfs.FS
	whole *memfs.FS // before a crash that tore holes
	cfg   storage.LogConfig
	d     *qdisk.Disk // nil while the node is down

	persisting     bool
	persistNext    *quorum.PersistElection
	replacing      uuid.UUID     // directory id on its way to meta.properties
	writing        bool          // a snapshot
	pendingInstall *snapshotFile // a crash in the middle leaves one log or the other
	faults         diskFaults
}

const (
	dataDir      = "/data"
	partitionDir = dataDir + "/" + storage.MetadataPartitionDir
)

// newRealDisk is a disk that was just formatted.
func newRealDisk(n *node, directory uuid.UUID) *realDisk {
	w := n.w
	r := &realDisk{n: n, fs: memfs.New(), cfg: storage.MetadataLogConfig(w.s.segment, w.s.segmentMs)}
	r.cfg.IndexIntervalBytes, r.cfg.IndexMaxBytes, r.cfg.DeleteDelayMs = 200, 4096, 500
	r.fs.SetNow(func() time.Time { return time.UnixMilli(w.nowMs()) })
	err := r.fs.MkdirAll(partitionDir)
	if n.member {
		err = errors.Join(err, storage.WriteBootstrapSnapshot(r.fs, partitionDir, w.s.kraftVersion, qdisk.VotersRecord(n.initial).Voters, w.nowMs()))
	}
	err = errors.Join(err, r.fs.SyncDir(partitionDir), r.fs.SyncDir(dataDir), r.fs.SyncDir("/"), r.writeDirectory(directory))
	if err != nil {
		w.check.fail("n%d's disk can't be formatted: %v", n.id, err)
	}
	return r
}

func (r *realDisk) writeDirectory(id uuid.UUID) error {
	return storage.WriteMetaProperties(r.fs, dataDir, storage.MetaProperties{ClusterID: "sim", NodeID: int32(r.n.id), DirectoryID: id})
}

// ok takes the result of an operation. A disk that failed ends the node's life there and then.
func (r *realDisk) ok(what string, err error) bool {
	if err == nil {
		r.swallowed(what)
		return true
	}
	r.faults.failed = 0
	r.failed(what, err)
	return false
}

// persist writes quorum-state beside the loop: one at a time, the newest next. What is durable when is open: the write may
// be done at the begin or at the end of the time it takes.
func (r *realDisk) persist(e quorum.PersistElection) {
	if r.persisting {
		r.persistNext = &e
		return
	}
	n, w := r.n, r.n.w
	write := func() bool {
		done, err := r.d.PersistElection(e)
		if !r.ok("persist", err) {
			return false
		}
		if done.Seq != e.Seq {
			w.check.fail("n%d persists %d and reports %d", n.id, e.Seq, done.Seq)
		}
		w.check.persisted(n, n.disk.persisted(e.Seq))
		return true
	}
	early := w.chance(0.5)
	if early && !write() {
		return
	}
	r.persisting = true
	n.later(n.fsyncTime(), func() {
		if !early && !write() {
			return
		}
		r.persisting = false
		if next := r.persistNext; next != nil {
			r.persistNext = nil
			r.persist(*next)
		}
		if n.up {
			n.step(quorum.ElectionPersisted{Seq: e.Seq})
		}
	})
}

// flush is one fsync of the log. The model learns of it after the log, which may not say yes too early.
func (r *realDisk) flush() bool {
	mark := r.n.disk.mark()
	if !r.ok("flush", r.d.Flush()) {
		return false
	}
	r.n.disk.sync(mark)
	return true
}

// append is called with the model ahead.
func (r *realDisk) append(e quorum.Append) bool {
	if !r.ok("append", r.d.Append(e, r.n.w.nowMs())) {
		return false
	}
	if end := quorum.Offset(r.d.EndOffset()); end != e.End {
		r.n.w.check.fail("n%d's log ends at %d on disk after an append to %d", r.n.id, end, e.End)
	}
	if len(e.Control) > 0 && !r.faults.rotten() { // these bytes are the executor's
		r.compare(e.Base, r.readBack(e.Base))
	}
	return true
}

func (r *realDisk) readBack(from quorum.Offset) []byte {
	done, err := r.d.Read(quorum.Read{From: from, MaxBytes: 1})
	if err != nil {
		r.n.w.check.fail("n%d can't read at %d what it appended: %v", r.n.id, from, err)
	}
	return done.Data
}

func (r *realDisk) truncate(to quorum.Offset) bool {
	if !r.ok("truncate", r.d.Truncate(quorum.Truncate{To: to})) {
		return false
	}
	if end := quorum.Offset(r.d.EndOffset()); end != to {
		r.n.w.check.fail("n%d's log ends at %d on disk after a truncation to %d", r.n.id, end, to)
	}
	return true
}

// read may return less than was asked for.
func (r *realDisk) read(e quorum.Read) ([]byte, bool) {
	w := r.n.w
	if !w.healed {
		e.MaxBytes = min(e.MaxBytes, 1+w.rng.Int32N(3000))
	}
	done, err := r.d.Read(e)
	if !r.ok("read", err) {
		return nil, false
	}
	r.compare(e.From, done.Data)
	return done.Data, true
}

// compare: what is read is what was written there.
func (r *realDisk) compare(from quorum.Offset, data []byte) {
	n, w := r.n, r.n.w
	if r.faults.rotten() {
		return // whoever gets it looks at the checksums
	}
	ids, ok := w.decode(data)
	i := n.index(from)
	if !ok || len(ids) == 0 && i < len(n.disk.log) || i+len(ids) > len(n.disk.log) || !slices.Equal(ids, n.disk.log[i:i+len(ids)]) {
		w.check.fail("n%d reads %v (%v) at offset %d, it wrote %v", n.id, ids, ok, from, n.disk.log[min(i, len(n.disk.log)):min(i+len(ids), len(n.disk.log))])
	}
}

// replaceDirectory takes a new directory id.
func (r *realDisk) replaceDirectory(id uuid.UUID) bool {
	r.replacing = id
	if !r.ok("replace the directory id", r.writeDirectory(id)) {
		return false
	}
	r.replacing = uuid.UUID{}
	return true
}

// stop closes the disk in order.
func (r *realDisk) stop() bool {
	mark := r.n.disk.mark()
	if !r.ok("close", r.d.Close()) {
		return false
	}
	r.n.disk.sync(mark)
	return true
}

// crash ends the process, or the machine: then what was not synced is lost, kept or torn.
func (r *realDisk) crash() {
	if r.d == nil {
		return
	}
	r.d = nil
	r.fs.SetHook(nil)
	f, w := &r.faults, r.n.w
	switch {
	case f.holes:
		r.whole = r.fs
		r.fs = r.fs.CrashClone(w.rng.Uint64())
		f.tornHoles = true
	case f.powerLost || w.chance(0.75):
		r.fs = r.fs.OrderedCrashClone(w.rng.Uint64())
	}
	f.powerLost, f.holes, f.failing, f.failed = false, false, false, 0
	r.persisting, r.persistNext, r.writing = false, nil, false
}
