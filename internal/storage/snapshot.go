package storage

import (
	"iter"

	"github.com/kraft-dev/kraft-operator/internal/storage/record"
	"github.com/kraft-dev/kraft-operator/internal/storage/record/control"
)

// SnapshotID names a KRaft snapshot: EndOffset is exclusive, Epoch is that of the last contained record.
type SnapshotID struct {
	EndOffset int64
	Epoch     int32
}

// BootstrapSnapshot is the id of the checkpoint that formatting writes (KIP-853). It is never served to others.
var BootstrapSnapshot = SnapshotID{}

// Name is the file name: 20 digits, dash, 10 digits, ".checkpoint".
func (id SnapshotID) Name() string { panic("unwritten") }

// ParseSnapshotName reads a file name; ok is false for names of other files, ".part" and ".deleted" among them.
func ParseSnapshotName(name string) (id SnapshotID, ok bool) { panic("unwritten") }

// ListSnapshots returns the snapshots in dir in ascending order, and removes what an interrupted write, download or
// removal left behind (".part", ".deleted"). 0-0 is among them if it is there.
func ListSnapshots(fs FS, dir string) ([]SnapshotID, error) { panic("unwritten") }

// SnapshotHeader is what the first control batch says.
type SnapshotHeader struct {
	LastContainedLogTimestamp int64
	KRaftVersion              int16
	Voters                    []control.Voter // only with KRaftVersion ≥ 1
}

// SnapshotWriter writes one snapshot: header, data batches, footer. Nothing is seen under the snapshot's name before Freeze.
type SnapshotWriter struct{}

// CreateSnapshot begins snapshot id. nowMs stamps its batches. If the snapshot is already there, it returns nil, nil.
// Errors: voters with KRaftVersion 0.
func CreateSnapshot(fs FS, dir string, id SnapshotID, h SnapshotHeader, nowMs int64) (*SnapshotWriter, error) {
	panic("unwritten")
}

// Append adds metadata record values (frames); they are put into batches of bounded size.
func (w *SnapshotWriter) Append(values ...[]byte) error { panic("unwritten") }

// Freeze writes the footer, makes the file durable and read-only and gives it its name. It returns the size in bytes.
func (w *SnapshotWriter) Freeze() (int64, error) { panic("unwritten") }

// Abort drops the snapshot. After Freeze it does nothing.
func (w *SnapshotWriter) Abort() error { panic("unwritten") }

// SnapshotDownload takes the bytes of a snapshot as FetchSnapshot brings them.
type SnapshotDownload struct{}

// CreateSnapshotDownload begins the download of snapshot id.
func CreateSnapshotDownload(fs FS, dir string, id SnapshotID) (*SnapshotDownload, error) {
	panic("unwritten")
}

// ID is the snapshot's.
func (d *SnapshotDownload) ID() SnapshotID { panic("unwritten") }

// Size is the number of bytes so far: the position to ask for next.
func (d *SnapshotDownload) Size() int64 { panic("unwritten") }

// WriteAt appends bytes at position, which must be Size.
func (d *SnapshotDownload) WriteAt(data []byte, position int64) error { panic("unwritten") }

// Freeze checks the whole content (CRCs, header first, footer last), makes it durable and read-only and gives it its name.
func (d *SnapshotDownload) Freeze() error { panic("unwritten") }

// Abort drops the download. After Freeze it does nothing.
func (d *SnapshotDownload) Abort() error { panic("unwritten") }

// Snapshot is an open snapshot.
type Snapshot struct{}

// OpenSnapshot opens and checks the header. Errors: fs.ErrNotExist; wrapping ErrCorrupt.
func OpenSnapshot(fs FS, dir string, id SnapshotID) (*Snapshot, error) { panic("unwritten") }

// ID is the snapshot's.
func (s *Snapshot) ID() SnapshotID { panic("unwritten") }

// Header is its first control batch.
func (s *Snapshot) Header() SnapshotHeader { panic("unwritten") }

// Size is in bytes.
func (s *Snapshot) Size() int64 { panic("unwritten") }

// Slice is the range from position, at most maxBytes, for FetchSnapshot. Errors: ErrOffsetOutOfRange (wire: POSITION_OUT_OF_RANGE).
func (s *Snapshot) Slice(position int64, maxBytes int) (Slice, error) { panic("unwritten") }

// Batches walks the data batches, each checked. A batch is valid until the next one. The walk ends with an error wrapping
// ErrCorrupt if the footer is missing, or isn't last.
func (s *Snapshot) Batches() iter.Seq2[record.Batch, error] { panic("unwritten") }

// Close closes the file.
func (s *Snapshot) Close() error { panic("unwritten") }

// DeleteSnapshot removes a snapshot's name at once (durably); open readers go on. A missing one is no error.
func DeleteSnapshot(fs FS, dir string, id SnapshotID) error { panic("unwritten") }

// WriteBootstrapSnapshot writes the 0-0 checkpoint into the metadata partition's folder.
func WriteBootstrapSnapshot(fs FS, dir string, kraftVersion int16, voters []control.Voter, nowMs int64) error {
	panic("unwritten")
}

// WriteBootstrapCheckpoint writes bootstrap.checkpoint into a log dir: metadata records that a new cluster begins with.
func WriteBootstrapCheckpoint(fs FS, logDir string, values [][]byte) error { panic("unwritten") }

// ReadBootstrapCheckpoint reads it back. Errors: fs.ErrNotExist (meaning the latest production metadata.version only); ErrCorrupt.
func ReadBootstrapCheckpoint(fs FS, logDir string) ([][]byte, error) { panic("unwritten") }
