package sim

import (
	"errors"
	"io/fs"
	"path"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/kraft-dev/kraft-operator/internal/quorum"
	"github.com/kraft-dev/kraft-operator/internal/storage"
	"github.com/kraft-dev/kraft-operator/internal/storage/memfs"
)

// diskFaults are what is wrong with a real disk.
type diskFaults struct {
	failing   bool // operations fail from now on
	failed    int  // so many have, and the error has not come back yet
	powerLost bool
	holes     bool // the next crash tears unsynced bytes in the middle, too
	tornHoles bool // it did
	rot       []rot
}

// rot is a file's bytes that changed on their own, and what they were.
type rot struct {
	name string
	at   int64
	xor  byte
}

func (f *diskFaults) rotten() bool { return len(f.rot) > 0 }

// injected reports whether an error is one that the simulation made.
func injected(err error) bool { return errors.Is(err, syscall.EIO) }

// failFrom makes every operation of these kinds fail after so many more.
func (r *realDisk) failFrom(after int, kinds ...memfs.OpKind) {
	r.faults.failing = true
	r.fs.SetHook(func(op memfs.Op) error {
		if !slices.Contains(kinds, op.Kind) {
			return nil
		}
		if after--; after >= 0 {
			return nil
		}
		r.faults.failed++
		return &fs.PathError{Op: string(op.Kind), Path: op.Name, Err: syscall.EIO}
	})
}

// losePowerAfter ends the machine's life in the middle of some operation.
func (r *realDisk) losePowerAfter(ops int64) { r.fs.StopAfter(ops) }

// swallowed: an operation that failed says so.
func (r *realDisk) swallowed(what string) {
	if r.faults.failed > 0 {
		r.n.w.check.fail("n%d: the disk failed during %q, which says that all is well", r.n.id, what)
	}
}

// failed ends the node's life: what its disk holds is no longer known.
func (r *realDisk) failed(what string, err error) {
	n, w := r.n, r.n.w
	switch {
	case errors.Is(err, memfs.ErrStopped):
		w.tracef("FAULT n%d loses power while it is to %s", n.id, what)
		w.count("power lost inside an operation")
		r.faults.powerLost = true
	case injected(err):
		w.tracef("FAULT n%d stops: its disk fails while it is to %s: %v", n.id, what, err)
		w.count("disks failed")
		r.staysPoisoned(err)
	case r.faults.rotten() && errors.Is(err, storage.ErrCorrupt):
		w.tracef("n%d stops: it meets rot while it is to %s: %v", n.id, what, err)
	default:
		w.check.fail("n%d can't %s: %v", n.id, what, err)
	}
	n.crash()
	n.comeBack(w.between(0, 3*time.Second))
}

// staysPoisoned: after a failed fsync a log takes nothing more, even if the disk seems to be well again.
func (r *realDisk) staysPoisoned(err error) {
	if !errors.Is(err, storage.ErrPoisoned) || r.n.installing || r.d == nil {
		return
	}
	r.fs.SetHook(nil)
	if errors.Is(r.d.Flush(), nil) && !strings.Contains(err.Error(), "freeze ") {
		r.n.w.check.fail("n%d: its log could be flushed after %v", r.n.id, err)
	}
}

// refused takes a disk that does not open. One that rotted is put back as it was or replaced, as far as others remember.
func (r *realDisk) refused(err error) {
	n, w := r.n, r.n.w
	switch {
	case errors.Is(err, memfs.ErrStopped), injected(err):
		w.tracef("n%d does not start: %v", n.id, err)
		w.count("starts failed")
		r.faults.powerLost = errors.Is(err, memfs.ErrStopped)
		r.crash()
		n.comeBack(w.between(0, 2*time.Second))
	case (r.faults.tornHoles || r.faults.rotten()) && errors.Is(err, storage.ErrCorrupt):
		w.tracef("n%d refuses to start: %v", n.id, err)
		w.count("disks refused")
		if w.mayLose(n) && (r.faults.tornHoles || n.wiped || w.chance(0.7)) {
			w.lose(n)
			return
		}
		if r.faults.tornHoles { // too many would be lost: it was another power loss
			r.fs, r.faults.tornHoles = r.whole.OrderedCrashClone(w.rng.Uint64()), false
		}
		r.unrot()
		n.comeBack(w.between(0, time.Second))
	default:
		w.check.fail("n%d does not open its disk: %v", n.id, err)
	}
}

func (r *realDisk) unrot() {
	for _, x := range r.faults.rot {
		if info, err := r.fs.Stat(x.name); err == nil && x.at < info.Size { // else it was cut away since
			r.fs.Corrupt(x.name, x.at, x.xor)
		}
	}
	r.faults.rot = nil
}

// mendOldSnapshots puts snapshots back as they were that a start did not read whole: those that are not the newest. Nobody is
// sent to them.
func (r *realDisk) mendOldSnapshots() {
	r.faults.rot = slices.DeleteFunc(r.faults.rot, func(x rot) bool {
		info, err := r.fs.Stat(x.name)
		if old := strings.HasSuffix(x.name, ".checkpoint") && err == nil && x.at < info.Size; old {
			r.fs.Corrupt(x.name, x.at, x.xor)
			return true
		}
		return false
	})
}

// lostWrites: a disk that came back without what it had, though nothing was wrong with it.
func (r *realDisk) lostWrites(log []batchID) {
	n := r.n
	n.w.check.fail("n%d comes back with batches %v, synced were %v and then written %+v", n.id, log, n.disk.synced.log, n.disk.writes)
}

// rotSome spoils a byte of what is durable: of any batch of the log but the last, of a snapshot, or all of a small file.
// It returns false where there is nothing of that kind.
func (r *realDisk) rotSome() bool {
	w := r.n.w
	names, err := r.fs.List(partitionDir)
	if err != nil {
		return false
	}
	name := names[w.rng.IntN(len(names))]
	file := path.Join(partitionDir, name)
	info, err := r.fs.Stat(file)
	if err != nil || info.Size == 0 {
		return false
	}
	switch {
	case strings.HasSuffix(name, ".log"):
		return r.rotLog()
	case strings.HasSuffix(name, ".checkpoint"), strings.HasSuffix(name, "index"):
		r.spoil(file, w.rng.Int64N(info.Size), 1<<w.rng.IntN(8))
	case name == storage.LeaderEpochFile:
		r.zero(file, info.Size)
	case name == storage.QuorumStateFile, name == storage.PartitionFile:
		if r.n.w.s.changes || !w.mayLose(r.n) {
			return false
		}
		r.n.wiped = true // as good as lost: nobody puts back what is replaced all the time
		r.zero(file, info.Size)
	default:
		return false
	}
	return true
}

// rotLog leaves the last synced batch alone: damage there looks like a torn write, and without a record of what was
// durable no start can tell.
func (r *realDisk) rotLog() bool {
	n, w := r.n, r.n.w
	d := &n.disk
	k := len(d.synced.log) - 1 - d.first
	if k <= 0 || len(d.synced.log) > len(d.log) || !slices.Equal(d.synced.log, d.log[:len(d.synced.log)]) {
		return false
	}
	i := w.rng.IntN(k)
	if w.chance(0.5) { // others may want it still
		i = k - 1 - w.rng.IntN(min(k, 5))
	}
	for _, o := range w.nodes { // somebody is about to ask for it
		if at := len(o.disk.log) - d.first; o != n && o.up && at >= 0 && at < k && w.chance(0.7) {
			i = at
		}
	}
	id := d.log[d.first+i]
	b := w.batches[id]
	s, err := r.segmentOf(b.info.Base)
	if err != nil {
		return false
	}
	at := w.rng.Int64N(int64(len(b.bytes)))
	if w.chance(0.3) { // offset, length and epoch, outside the checksum
		at = w.rng.Int64N(16)
	}
	w.tracef("FAULT byte %d of batch %d, at offset %d, rots on n%d", at, id, b.info.Base, n.id)
	r.spoil(s.name, s.position+at, 1<<w.rng.IntN(8))
	return true
}

type place struct {
	name     string
	position int64
}

// segmentOf finds a batch in the files.
func (r *realDisk) segmentOf(base quorum.Offset) (place, error) {
	segments := r.d.Segments()
	i := len(segments) - 1
	for i > 0 && quorum.Offset(segments[i].Base) > base {
		i--
	}
	at := int64(0)
	for _, id := range r.n.disk.log[r.n.index(quorum.Offset(segments[i].Base)):] {
		b := r.n.w.batches[id]
		if b.info.Base == base {
			return place{path.Join(partitionDir, segmentName(segments[i].Base)), at}, nil
		}
		at += int64(len(b.bytes))
	}
	return place{}, fs.ErrNotExist
}

func (r *realDisk) spoil(name string, at int64, xor byte) {
	r.n.w.tracef("FAULT byte %d of %s rots on n%d", at, name, r.n.id)
	r.n.w.count("files rotten")
	r.fs.Corrupt(name, at, xor)
	r.faults.rot = append(r.faults.rot, rot{name, at, xor})
}

// zero is a sector that reads as zeros.
func (r *realDisk) zero(name string, size int64) {
	f, err := r.fs.OpenRead(name)
	data := make([]byte, size)
	if err == nil {
		_, err = f.ReadAt(data, 0)
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		r.n.w.check.fail("n%d: %v", r.n.id, err)
	}
	r.n.w.tracef("FAULT %s rots on n%d", name, r.n.id)
	r.n.w.count("files rotten")
	for i, b := range data {
		r.fs.Corrupt(name, int64(i), b)
		r.faults.rot = append(r.faults.rot, rot{name, int64(i), b})
	}
}

func sameControl(a, b []quorum.ControlAt) bool {
	return len(a) == 0 && len(b) == 0 || reflect.DeepEqual(a, b)
}
