package disk_test

import (
	"maps"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kraft-dev/kraft-operator/internal/quorum/disk"
	"github.com/kraft-dev/kraft-operator/internal/storage"
	"github.com/kraft-dev/kraft-operator/internal/storage/memfs"
)

func sid(end int64, epoch int32) storage.SnapshotID {
	return storage.SnapshotID{EndOffset: end, Epoch: epoch}
}

// logOf writes a log: batches of two records, count of them in each epoch.
func logOf(t *testing.T, fs storage.FS, batches ...[2]int32) {
	t.Helper()
	d, err := openDisk(fs)
	require.NoError(t, err)
	for _, b := range batches {
		for range b[1] {
			require.NoError(t, appendBatch(d, b[0], 2))
		}
	}
	require.NoError(t, d.Close())
}

// dropSegments removes the first n segments, as dropping a prefix did.
func dropSegments(t *testing.T, fs storage.FS, n int) (start int64) {
	t.Helper()
	d, err := openDisk(fs)
	require.NoError(t, err)
	segments := d.Segments()
	require.Greater(t, len(segments), n)
	require.NoError(t, d.Close())
	for _, s := range segments[:n] {
		name := sid(s.Base, 0).Name()[:20]
		for _, suffix := range []string{".log", ".index", ".timeindex"} {
			require.NoError(t, fs.Remove(folder+"/"+name+suffix))
		}
	}
	return segments[n].Base
}

func rename(t *testing.T, fs storage.FS, from, to string) {
	t.Helper()
	require.NoError(t, fs.Rename(folder+"/"+from, folder+"/"+to))
}

// TestOpen: recovery from combinations of log and snapshots.
func TestOpen(t *testing.T) {
	for name, tc := range map[string]struct {
		disk       func(t *testing.T, fs *memfs.FS)
		start, end int64
		snapshots  []storage.SnapshotID
		replaced   bool
		refuses    []string // what the error says
	}{
		"nothing at all": {disk: func(*testing.T, *memfs.FS) {}},
		"a log alone":    {disk: func(t *testing.T, fs *memfs.FS) { logOf(t, fs, [2]int32{1, 5}) }, end: 10},
		"a snapshot of what the log holds": {disk: func(t *testing.T, fs *memfs.FS) {
			logOf(t, fs, [2]int32{1, 5})
			placeSnapshot(t, fs, sid(6, 1))
		}, end: 10, snapshots: []storage.SnapshotID{sid(6, 1)}},
		"a snapshot at the log's end": {disk: func(t *testing.T, fs *memfs.FS) {
			logOf(t, fs, [2]int32{1, 5})
			placeSnapshot(t, fs, sid(10, 1))
		}, end: 10, snapshots: []storage.SnapshotID{sid(10, 1)}},
		"a snapshot and no log": {disk: func(t *testing.T, fs *memfs.FS) { placeSnapshot(t, fs, sid(8, 3)) },
			start: 8, end: 8, snapshots: []storage.SnapshotID{sid(8, 3)}, replaced: true},
		"a snapshot ahead of the log replaces it, and older ones go": {disk: func(t *testing.T, fs *memfs.FS) {
			logOf(t, fs, [2]int32{1, 5})
			placeSnapshot(t, fs, sid(4, 1))
			placeSnapshot(t, fs, sid(12, 2))
		}, start: 12, end: 12, snapshots: []storage.SnapshotID{sid(12, 2)}, replaced: true},
		"a snapshot of another history replaces a longer log": {disk: func(t *testing.T, fs *memfs.FS) {
			logOf(t, fs, [2]int32{1, 5})
			placeSnapshot(t, fs, sid(8, 2))
		}, start: 8, end: 8, snapshots: []storage.SnapshotID{sid(8, 2)}, replaced: true},
		"a log that begins at a snapshot": {disk: func(t *testing.T, fs *memfs.FS) {
			logOf(t, fs, [2]int32{1, 9})
			start := dropSegments(t, fs, 1)
			placeSnapshot(t, fs, sid(start, 1))
		}, start: 6, end: 18, snapshots: []storage.SnapshotID{sid(6, 1)}},
		"a log that begins below its snapshot, as after a restart": {disk: func(t *testing.T, fs *memfs.FS) {
			logOf(t, fs, [2]int32{1, 9})
			dropSegments(t, fs, 1)
			placeSnapshot(t, fs, sid(8, 1))
			placeSnapshot(t, fs, sid(2, 1)) // was to go with the segments
		}, start: 6, end: 18, snapshots: []storage.SnapshotID{sid(8, 1)}},
		"what was interrupted is removed": {disk: func(t *testing.T, fs *memfs.FS) {
			logOf(t, fs, [2]int32{1, 5})
			placeSnapshot(t, fs, sid(4, 1))
			placeSnapshot(t, fs, sid(6, 1))
			rename(t, fs, sid(4, 1).Name(), sid(4, 1).Name()+".deleted")
			rename(t, fs, sid(6, 1).Name(), sid(6, 1).String()+"-w.checkpoint.part")
		}, end: 10},
		"the 0-0 checkpoint stays": {disk: func(t *testing.T, fs *memfs.FS) {
			require.NoError(t, storage.WriteBootstrapSnapshot(fs, folder, 1, header().Voters, 1))
			placeSnapshot(t, fs, sid(8, 3))
		}, start: 8, end: 8, snapshots: []storage.SnapshotID{sid(8, 3)}, replaced: true},

		"a log without its beginning": {disk: func(t *testing.T, fs *memfs.FS) {
			logOf(t, fs, [2]int32{1, 9})
			dropSegments(t, fs, 1)
		}, refuses: []string{folder, "begins at offset 6 in 00000000000000000006.log", "there is no snapshot", "new directory id"}},
		"a log without its beginning, and a snapshot that ends before": {disk: func(t *testing.T, fs *memfs.FS) {
			logOf(t, fs, [2]int32{1, 9})
			dropSegments(t, fs, 1)
			placeSnapshot(t, fs, sid(4, 1))
		}, refuses: []string{"begins at offset 6", "there is no snapshot"}},
		"rot in the newest snapshot": {disk: func(t *testing.T, fs *memfs.FS) {
			logOf(t, fs, [2]int32{1, 5})
			placeSnapshot(t, fs, sid(6, 1))
			fs.Corrupt(folder+"/"+sid(6, 1).Name(), 300, 0x10)
		}, refuses: []string{folder + "/" + sid(6, 1).Name(), "byte", "nothing was changed", "remove the old voter, add the new one"}},
		"rot in an older snapshot's header": {disk: func(t *testing.T, fs *memfs.FS) {
			logOf(t, fs, [2]int32{1, 5})
			placeSnapshot(t, fs, sid(4, 1))
			placeSnapshot(t, fs, sid(6, 1))
			fs.Corrupt(folder+"/"+sid(4, 1).Name(), 70, 0x10)
		}, refuses: []string{sid(4, 1).Name(), "byte 0", "may be moved away"}},
		"rot in the log below a snapshot": {disk: func(t *testing.T, fs *memfs.FS) {
			logOf(t, fs, [2]int32{1, 5})
			placeSnapshot(t, fs, sid(10, 1))
			fs.Corrupt(folder+"/00000000000000000006.log", 70, 0x10)
		}, refuses: []string{folder + "/00000000000000000006.log", "offset 6", "new directory id"}},
	} {
		t.Run(name, func(t *testing.T) {
			fs := newFS(t)
			tc.disk(t, fs)
			before := contents(t, fs)
			d, err := openDisk(fs)
			if tc.refuses != nil {
				for _, want := range tc.refuses {
					require.ErrorContains(t, err, want)
				}
				require.True(t, maps.Equal(before, contents(t, fs)), "refusing changed the disk")
				return
			}
			require.NoError(t, err)
			requireSound(t, fs, d)
			require.Equal(t, []int64{tc.start, tc.end}, []int64{d.StartOffset(), d.EndOffset()})
			require.Equal(t, tc.snapshots, ids(d))
			require.Equal(t, tc.replaced, d.Replaced != nil)
			require.NoError(t, appendBatch(d, 9, 1), "it goes on")
			require.NoError(t, d.Flush())
			require.NoError(t, d.Close())

			again, err := openDisk(fs.CrashClone(0))
			require.NoError(t, err)
			require.Equal(t, tc.end+1, again.EndOffset())
			require.Nil(t, again.Replaced)
		})
	}
}

func ids(d *disk.Disk) (out []storage.SnapshotID) {
	for _, s := range d.Snapshots() {
		out = append(out, s.ID)
	}
	return out
}

func contents(t *testing.T, fs storage.FS) map[string]string {
	t.Helper()
	out := map[string]string{}
	names, err := fs.List(folder)
	require.NoError(t, err)
	for _, n := range names {
		out[n] = string(readFile(t, fs, folder+"/"+n))
	}
	return out
}
