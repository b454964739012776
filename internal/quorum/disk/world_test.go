package disk_test

import (
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kraft-dev/kraft-operator/internal/quorum"
	"github.com/kraft-dev/kraft-operator/internal/quorum/disk"
	"github.com/kraft-dev/kraft-operator/internal/storage"
	"github.com/kraft-dev/kraft-operator/internal/storage/memfs"
	"github.com/kraft-dev/kraft-operator/internal/storage/record"
	"github.com/kraft-dev/kraft-operator/internal/uuid"
)

const (
	root   = "/meta"
	folder = root + "/__cluster_metadata-0"
)

// smallSegments hold two or three batches.
func smallSegments() storage.LogConfig { return storage.MetadataLogConfig(250, 1<<40) }

func newFS(t testing.TB) *memfs.FS {
	t.Helper()
	fs := memfs.New()
	require.NoError(t, fs.MkdirAll(folder))
	require.NoError(t, fs.SyncDir("/"))
	require.NoError(t, fs.SyncDir(root))
	return fs
}

func openDisk(fs storage.FS) (*disk.Disk, error) { return disk.Open(fs, root, smallSegments(), 1000) }

func voterSet() quorum.VoterSet {
	return quorum.NewVoterSet(quorum.Voter{
		Key:       quorum.ReplicaKey{ID: 1, DirectoryID: uuid.UUID{1, 15: 9}},
		Endpoints: []quorum.Endpoint{{Listener: "CONTROLLER", Host: "c-1", Port: 9093}}, Supported: quorum.VersionRange{Max: 1},
	})
}

// value is the record at an offset; it names the epoch, since another history has other records.
func value(offset int64, epoch int32) []byte { return fmt.Appendf(nil, "%d/%d", offset, epoch) }

// appendBatch appends n records in an epoch.
func appendBatch(d *disk.Disk, epoch int32, n int) error {
	base := d.EndOffset()
	b := record.NewBuilder(record.BuilderConfig{BaseOffset: base, Epoch: epoch})
	for i := range n {
		b.Append(1000, nil, value(base+int64(i), epoch))
	}
	batch, err := b.Build()
	if err != nil {
		return err
	}
	return d.Append(quorum.Append{
		Base: quorum.Offset(base), End: quorum.Offset(base + int64(n)), Epoch: quorum.Epoch(epoch), Data: batch,
		Batches: []quorum.BatchInfo{{Base: quorum.Offset(base), Last: quorum.Offset(base+int64(n)) - 1, Epoch: quorum.Epoch(epoch), Size: len(batch)}},
	}, 1000)
}

// appendControl is what a leader appends first.
func appendControl(d *disk.Disk, epoch int32) error {
	level, set := int16(1), voterSet()
	base := d.EndOffset()
	return d.Append(quorum.Append{Base: quorum.Offset(base), End: quorum.Offset(base + 3), Epoch: quorum.Epoch(epoch), Control: []quorum.ControlRecord{
		{LeaderChange: &quorum.LeaderChange{LeaderID: 1, Voters: []quorum.NodeID{1}, GrantingVoters: []quorum.NodeID{1}}}, {KRaftVersion: &level}, {Voters: &set}}}, 1000)
}

func header() storage.SnapshotHeader {
	return storage.SnapshotHeader{LastContainedLogTimestamp: 1000, KRaftVersion: 1, Voters: disk.VotersRecord(voterSet()).Voters}
}

// fill writes what a snapshot at end in epoch holds.
func fill(w interface{ Append(...[]byte) error }, end int64, epoch int32) error {
	for i := range end {
		if err := w.Append(value(i, epoch)); err != nil {
			return err
		}
	}
	return nil
}

// createSnapshot makes the disk's own snapshot of all its log holds.
func createSnapshot(d *disk.Disk, epoch int32) error {
	id := storage.SnapshotID{EndOffset: d.EndOffset(), Epoch: epoch}
	w, err := d.CreateSnapshot(id, header(), 1000)
	if err != nil || w == nil {
		return err
	}
	if err := fill(w, id.EndOffset, epoch); err != nil {
		return err
	}
	s, ok, err := w.Freeze()
	if err != nil || !ok {
		return err
	}
	_, _, err = d.SnapshotCreated(s)
	return err
}

// snapshotBytes is the file of a snapshot, as a leader has it.
func snapshotBytes(t testing.TB, id storage.SnapshotID) []byte {
	t.Helper()
	fs := newFS(t)
	placeSnapshot(t, fs, id)
	return readFile(t, fs, folder+"/"+id.Name())
}

// placeSnapshot puts a complete snapshot into the folder.
func placeSnapshot(t testing.TB, fs storage.FS, id storage.SnapshotID) {
	t.Helper()
	w, err := storage.CreateSnapshot(fs, folder, id, header(), 1000)
	require.NoError(t, err)
	require.NoError(t, fill(w, id.EndOffset, id.Epoch))
	_, err = w.Freeze()
	require.NoError(t, err)
}

func readFile(t testing.TB, fs storage.FS, name string) []byte {
	t.Helper()
	f, err := fs.OpenRead(name)
	require.NoError(t, err)
	defer f.Close()
	size, err := f.Size()
	require.NoError(t, err)
	data := make([]byte, size)
	if _, err := f.ReadAt(data, 0); err != nil {
		require.ErrorIs(t, err, io.EOF)
	}
	return data
}

// requireSound checks that log and snapshots together hold every record, from the first to the log's end.
func requireSound(t testing.TB, fs storage.FS, d *disk.Disk) {
	t.Helper()
	names, err := fs.List(folder)
	require.NoError(t, err)
	for _, n := range names {
		require.False(t, strings.HasSuffix(n, ".part") || strings.HasSuffix(n, ".deleted"), "%s is left", n)
	}
	snapshots := d.Snapshots()
	for _, s := range snapshots {
		requireWhole(t, d, s.ID)
		require.GreaterOrEqual(t, s.ID.EndOffset, d.StartOffset())
	}
	if d.StartOffset() > 0 {
		require.NotEmpty(t, snapshots)
	}
	for at := d.StartOffset(); at < d.EndOffset(); {
		data, err := d.ReadCommitted(at, d.EndOffset(), 1)
		require.NoError(t, err)
		b, _, err := record.Split(data)
		require.NoError(t, err)
		require.NoError(t, b.Validate())
		if !b.IsControl() {
			for r, err := range b.Records(0) {
				require.NoError(t, err)
				require.Equal(t, string(value(r.Offset, b.Epoch())), string(r.Value))
			}
		}
		at = b.NextOffset()
	}
	state := d.LogState
	require.EqualValues(t, d.StartOffset(), state.StartOffset)
	require.EqualValues(t, d.EndOffset(), state.EndOffset)
	require.Len(t, state.Snapshots, len(snapshots))
	_, ahead := state.SnapshotAhead()
	require.False(t, ahead)
}

func requireWhole(t testing.TB, d *disk.Disk, id storage.SnapshotID) {
	t.Helper()
	s, err := d.OpenSnapshot(id)
	require.NoError(t, err)
	defer s.Close()
	require.Equal(t, header(), s.Header())
	n := int64(0)
	for b, err := range s.Batches() {
		require.NoError(t, err)
		for r, err := range b.Records(0) {
			require.NoError(t, err)
			require.Equal(t, string(value(n, id.Epoch)), string(r.Value))
			n++
		}
	}
	require.Equal(t, id.EndOffset, n)
}
