package sim

import (
	"errors"
	"fmt"
	"io/fs"
	"reflect"
	"syscall"

	"github.com/kraft-dev/kraft-operator/internal/quorum"
	"github.com/kraft-dev/kraft-operator/internal/storage/memfs"
)

// diskFaults are what is wrong with a real disk.
type diskFaults struct {
	powerLost bool
	failed    int // operations that were failed and whose error has not come back yet
}

func (f *diskFaults) rotten() bool { return false }

// injected reports whether an error is one that the simulation made.
func (f *diskFaults) injected(err error) bool { return err != nil && errors.Is(err, syscall.EIO) }

// swallowed: an operation during which an fsync failed must say so.
func (r *realDisk) swallowed(what string) error {
	if r.faults.failed > 0 {
		r.n.w.check.fail("n%d: an fsync failed during %q, which says that all is well", r.n.id, what)
	}
	return nil
}

// failed ends the node's life.
func (r *realDisk) failed(what string, err error) {
	n, w := r.n, r.n.w
	switch {
	case errors.Is(err, memfs.ErrStopped):
		w.tracef("FAULT n%d loses power while it is to %s", n.id, what)
		r.faults.powerLost = true
		n.crash()
	default:
		w.check.fail("n%d can't %s: %v", n.id, what, err)
	}
}

// refused: a disk that is not damaged opens.
func (r *realDisk) refused(err error) {
	r.n.w.check.fail("n%d does not open its disk: %v", r.n.id, err)
}

// lostWrites: a disk that came back without what it had.
func (r *realDisk) lostWrites(log []batchID) {
	n := r.n
	n.w.check.fail("n%d comes back with batches %v, synced were %v and then written %+v", n.id, log, n.disk.synced.log, n.disk.writes)
}

// arm sets the faults of a life.
func (r *realDisk) arm() {}

func sameControl(a, b []quorum.ControlAt) bool {
	return len(a) == 0 && len(b) == 0 || reflect.DeepEqual(a, b)
}

var _ = fmt.Sprint
var _ = fs.ErrClosed
