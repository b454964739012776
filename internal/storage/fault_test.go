package storage_test

import (
	"fmt"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kraft-dev/kraft-operator/internal/storage"
	"github.com/kraft-dev/kraft-operator/internal/storage/memfs"
	"github.com/kraft-dev/kraft-operator/internal/storage/record"
)

func TestFailedFsyncPoisonsForEver(t *testing.T) {
	fsys := memfs.New()
	l := openLog(t, fsys, smallConfig(), storage.OpenOptions{})
	appendN(t, l, 2, 3, 1)
	require.NoError(t, l.Flush())
	appendN(t, l, 1, 3, 1)
	fsys.SetHook(memfs.FailSync(".log"))
	require.ErrorIs(t, l.Flush(), storage.ErrPoisoned)
	require.ErrorIs(t, l.Err(), syscall.EIO)
	require.EqualValues(t, 6, l.FlushedOffset())

	fsys.SetHook(nil) // the disk works again: nobody believes it
	for name, call := range map[string]func() error{
		"flush":    l.Flush,
		"append":   func() error { _, err := l.AppendLeader(batch(t, 1, 1, 0), 1, 1, storage.AppendOptions{}); return err },
		"follower": func() error { _, err := l.AppendFollower(batch(t, 1, 1, 0)); return err },
		"truncate": func() error { _, err := l.TruncateTo(1); return err },
		"start":    func() error { return l.AdvanceStart(1) },
		"epoch":    func() error { return l.AssignEpoch(9, 9) },
		"delete":   func() error { _, err := l.DeleteOldSegments(1, 1); return err },
		"restart":  func() error { return l.TruncateFullyAndStartAt(4) },
		"close":    l.Close,
	} {
		if name != "close" {
			require.ErrorIs(t, call(), storage.ErrPoisoned, name)
		}
	}
	require.Len(t, readAll(t, l, 0, 100), 3, "reading goes on")
	require.ErrorIs(t, l.Close(), storage.ErrPoisoned)
}

// After a failed fsync the next process reads bytes that are in the page cache, clean, and not on the disk.
func TestBytesOfAFailedFsyncAreWrittenAgain(t *testing.T) {
	fsys := memfs.New()
	opt := storage.MetadataOpenOptions(0)
	l := openLog(t, fsys, smallConfig(), opt)
	appendN(t, l, 2, 3, 1)
	require.NoError(t, l.Flush())
	appendN(t, l, 2, 3, 1)
	fsys.SetHook(memfs.FailSync(".log"))
	require.Error(t, l.Flush())
	fsys.SetHook(nil)

	next := fsys.KillClone()
	opt.DurableOffset = 6
	l = openLog(t, next, smallConfig(), opt)
	require.EqualValues(t, 12, l.FlushedOffset())
	l = openLog(t, next.CrashClone(0), smallConfig(), opt)
	require.EqualValues(t, 12, l.EndOffset(), "what was called durable is lost")
}

func TestFailedFsyncOfTheFolderPoisons(t *testing.T) {
	fsys := memfs.New()
	l := openLog(t, fsys, smallConfig(), storage.OpenOptions{CutHoles: true})
	appendN(t, l, 30, 3, 1)
	require.Greater(t, l.SegmentCount(), 1)
	fsys.SetHook(func(op memfs.Op) error {
		if op.Kind == memfs.OpSyncDir {
			return syscall.EIO
		}
		return nil
	})
	require.ErrorIs(t, l.Flush(), storage.ErrPoisoned)
	require.Zero(t, l.FlushedOffset())
}

func TestFullDiskLosesNothing(t *testing.T) {
	fsys := memfs.New()
	l := openLog(t, fsys, smallConfig(), storage.OpenOptions{})
	appendN(t, l, 5, 3, 1)
	for room := int64(0); room < 2500; room += 37 {
		fsys.SetCapacity(l.Size() + 1500 + room) // the small files take some too
		_, err := l.AppendLeader(batch(t, 30, 1000, record.None), 1, 1000, storage.AppendOptions{})
		if err != nil {
			require.ErrorIs(t, err, syscall.ENOSPC)
			require.NoError(t, l.Err(), "a full disk is no reason to stop")
		}
		fsys.SetCapacity(0)
		at := l.EndOffset()
		appendN(t, l, 1, 2, 1)
		require.Equal(t, at+2, l.EndOffset())
	}
	n := len(readAll(t, l, 0, 1<<20))
	clone := fsys.KillClone()
	l2, report, err := storage.OpenLog(clone, dir, topicID, smallConfig(), storage.OpenOptions{})
	require.NoError(t, err)
	require.Zero(t, report.CutBytes)
	require.Len(t, readAll(t, l2, 0, 1<<20), n)
	require.NoError(t, l.Close())
}

func TestWriteThatCanNotBeUndonePoisons(t *testing.T) {
	fsys := memfs.New()
	l := openLog(t, fsys, smallConfig(), storage.OpenOptions{})
	fsys.SetHook(func(op memfs.Op) error {
		if op.Kind == memfs.OpWrite || op.Kind == memfs.OpTruncate {
			return syscall.EIO
		}
		return nil
	})
	_, err := l.AppendLeader(batch(t, 1, 1, 0), -1, 1, storage.AppendOptions{})
	require.ErrorIs(t, err, storage.ErrPoisoned)
	require.ErrorIs(t, err, syscall.EIO)
}

// Rot is not a torn tail.
func TestDamageIsCutOrRefused(t *testing.T) {
	size := int64(len(batch(t, 3, 1000, record.None)))
	const first = "/00000000000000000000.log"
	for _, tc := range []struct {
		name    string
		batches int // of three records; the segment holds 18
		at      int64
		durable int64
		holes   bool
		cut     bool  // or refused
		end     int64 // or the offset refused at
		after   int64
	}{
		{"last batch torn, nothing known durable", 4, 3*size + 80, 0, false, true, 9, 0},
		{"last batch torn, all before it durable", 4, 3*size + 80, 9, false, true, 9, 0},
		{"last batch was durable", 4, 3*size + 80, 12, false, false, 9, -1},
		{"part of the last batch was durable", 4, 3*size + 80, 10, false, false, 9, -1},
		{"sound batches follow", 4, 1*size + 80, 0, false, false, 3, 6},
		{"sound batches follow, a log that may have holes", 4, 1*size + 80, 0, true, true, 3, 0},
		{"sound batches follow, was durable, a log that may have holes", 4, 1*size + 80, 4, true, false, 3, -1},
		{"length rotten, sound batches follow", 4, 1*size + 8, 0, false, false, 3, 6},
		{"magic rotten, sound batches follow", 4, 1*size + 16, 0, false, false, 3, 6},
		{"base offset rotten, sound batches follow", 4, 1*size + 3, 0, false, false, 3, 6},
		{"length of the last batch rotten", 4, 3*size + 8, 0, false, true, 9, 0},
		{"first batch, alone", 1, 70, 0, false, true, 0, 0},
		{"a later segment is sound", 40, 5*size + 80, 0, false, false, 15, 18},
		{"a later segment is sound, a log that may have holes", 40, 5*size + 80, 0, true, true, 15, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			fsys := memfs.New()
			l := openLog(t, fsys, smallConfig(), storage.OpenOptions{})
			appendN(t, l, tc.batches, 3, 1)
			require.NoError(t, l.Flush())
			fsys = fsys.KillClone()
			fsys.Corrupt(dir+first, tc.at, 0x40)
			before := snapshotOf(t, fsys)
			opt := storage.OpenOptions{DurableOffset: tc.durable, CutHoles: tc.holes, Contiguous: true}
			l, report, err := storage.OpenLog(fsys, dir, topicID, smallConfig(), opt)
			if tc.cut {
				require.NoError(t, err)
				require.Equal(t, tc.end, l.EndOffset())
				require.Equal(t, tc.end, report.CutOffset)
				require.Positive(t, report.CutBytes)
				appendN(t, l, 3, 3, 1)
				require.Len(t, readAll(t, l, 0, 1000), int(tc.end/3)+3)
				require.NoError(t, l.Close())
				return
			}
			var corrupt *storage.CorruptError
			require.ErrorAs(t, err, &corrupt)
			require.ErrorIs(t, err, storage.ErrCorrupt)
			require.Equal(t, tc.end, corrupt.Offset)
			require.Equal(t, tc.end/3*size, corrupt.Position)
			require.Equal(t, tc.after, corrupt.ValidAfter)
			require.Contains(t, err.Error(), dir+first)
			require.Contains(t, err.Error(), fmt.Sprintf("offset %d", tc.end))
			require.Contains(t, err.Error(), "under a new directory id")
			require.Equal(t, before, snapshotOf(t, fsys))
		})
	}
}

func TestDamageInACleanLogRefuses(t *testing.T) {
	fsys := memfs.New()
	l := openLog(t, fsys, smallConfig(), storage.OpenOptions{})
	appendN(t, l, 6, 3, 1)
	require.NoError(t, l.Close())
	size := int64(len(batch(t, 3, 1000, record.None)))
	fsys.Corrupt(dir+"/00000000000000000000.log", 5*size+75, 1)
	_, _, err := storage.OpenLog(fsys, dir, topicID, smallConfig(), storage.OpenOptions{Clean: true, DurableOffset: 18})
	require.ErrorIs(t, err, storage.ErrCorrupt)
}

func TestDamagedIndexesAreMadeAgain(t *testing.T) {
	for _, suffix := range []string{".index", ".timeindex"} {
		for name, harm := range map[string]func(*memfs.FS, string){
			"missing":    func(f *memfs.FS, n string) { require.NoError(t, f.Remove(n)) },
			"odd length": func(f *memfs.FS, n string) { putFile(t, f, n, make([]byte, 13)) },
			"zeros":      func(f *memfs.FS, n string) { putFile(t, f, n, make([]byte, 240)) },
			"empty":      func(f *memfs.FS, n string) { putFile(t, f, n, nil) },
			"garbage": func(f *memfs.FS, n string) {
				d := getFile(t, f, n)
				for i := range d {
					d[i] = byte(i * 37)
				}
				putFile(t, f, n, d)
			},
			"rotten mid":  func(f *memfs.FS, n string) { f.Corrupt(n, int64(len(getFile(t, f, n))/24*12+7), 0x55) },
			"overshoots":  func(f *memfs.FS, n string) { f.Corrupt(n, 7, 0x04) },
			"huge offset": func(f *memfs.FS, n string) { f.Corrupt(n, 0, 0x7f) },
		} {
			for nth := range 2 {
				t.Run(fmt.Sprintf("%s %s segment %d", suffix, name, nth), func(t *testing.T) {
					fsys := memfs.New()
					l := openLog(t, fsys, smallConfig(), storage.OpenOptions{})
					appendN(t, l, 60, 3, 1)
					require.NoError(t, l.Close())
					want := readAll(t, l2(t, fsys), 0, 300)
					harm(fsys, fmt.Sprintf("%s/%020d%s", dir, l.SegmentBases()[nth], suffix))
					l = l2(t, fsys)
					for start := int64(0); start < 180; start += 7 {
						require.Equal(t, want[start/3:], readAll(t, l, start, 300), "from %d", start)
						found, ok, err := l.OffsetForTimestamp(1000+start, 180)
						require.NoError(t, err)
						require.True(t, ok)
						require.Equal(t, start, found.Offset)
					}
				})
			}
		}
	}
}

func l2(t testing.TB, fsys storage.FS) *storage.Log {
	return openLog(t, fsys, smallConfig(), storage.OpenOptions{Clean: true})
}

func TestLeftoversAreClearedAndASwapIsRefused(t *testing.T) {
	fsys := memfs.New()
	l := openLog(t, fsys, smallConfig(), storage.OpenOptions{})
	appendN(t, l, 2, 3, 1)
	require.NoError(t, l.Close())
	for _, name := range []string{"00000000000000000099.index", "00000000000000000003.log.deleted", "x.cleaned", "leader-epoch-checkpoint.tmp"} {
		putFile(t, fsys, dir+"/"+name, []byte("x"))
	}
	require.EqualValues(t, 6, l2(t, fsys).EndOffset())
	names, err := fsys.List(dir)
	require.NoError(t, err)
	require.Equal(t, []string{"00000000000000000000.index", "00000000000000000000.log", "00000000000000000000.timeindex",
		"00000000000000000006.snapshot", "leader-epoch-checkpoint", "partition.metadata"}, names)

	putFile(t, fsys, dir+"/00000000000000000000.log.swap", []byte("x"))
	_, _, err = storage.OpenLog(fsys, dir, topicID, smallConfig(), storage.OpenOptions{})
	require.ErrorIs(t, err, storage.ErrCorrupt)
	require.ErrorContains(t, err, "compaction")
}

func TestAFolderOfAnotherTopicIsRefused(t *testing.T) {
	fsys := memfs.New()
	require.NoError(t, openLog(t, fsys, smallConfig(), storage.OpenOptions{}).Close())
	other := topicID
	other[15]++
	_, _, err := storage.OpenLog(fsys, dir, other, smallConfig(), storage.OpenOptions{})
	require.ErrorIs(t, err, storage.ErrCorrupt)
	require.ErrorContains(t, err, "another topic")
}
