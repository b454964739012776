package memfs_test

import (
	"io/fs"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kraft-dev/kraft-operator/internal/storage"
	"github.com/kraft-dev/kraft-operator/internal/storage/memfs"
)

func write(t *testing.T, fsys storage.FS, name, text string, at int64, sync bool) storage.File {
	t.Helper()
	f, err := fsys.Open(name)
	if err != nil {
		f, err = fsys.Create(name)
	}
	require.NoError(t, err)
	_, err = f.WriteAt([]byte(text), at)
	require.NoError(t, err)
	if sync {
		require.NoError(t, f.Sync())
	}
	return f
}

func read(t *testing.T, fsys storage.FS, name string) string {
	t.Helper()
	f, err := fsys.OpenRead(name)
	if err != nil {
		require.ErrorIs(t, err, fs.ErrNotExist)
		return "-"
	}
	n, err := f.Size()
	require.NoError(t, err)
	buf := make([]byte, n)
	if n > 0 {
		_, err = f.ReadAt(buf, 0)
		require.NoError(t, err)
	}
	return string(buf)
}

func TestCrashLosesWhatWasNotSynced(t *testing.T) {
	fsys := memfs.New()
	require.NoError(t, fsys.MkdirAll("/d"))
	require.NoError(t, fsys.SyncDir("/"))
	write(t, fsys, "/d/name not synced", "x", 0, true)
	require.Equal(t, "-", read(t, fsys.CrashClone(0), "/d/name not synced"))
	write(t, fsys, "/d/a", "synced", 0, true)
	require.NoError(t, fsys.SyncDir("/d"))
	write(t, fsys, "/d/a", " not", 6, false)
	require.Equal(t, "synced not", read(t, fsys, "/d/a"))
	require.Equal(t, "synced", read(t, fsys.CrashClone(0), "/d/a"))
	require.Equal(t, "synced not", read(t, fsys.CrashClone(1), "/d/a"))
	require.Equal(t, "synced not", read(t, fsys.KillClone(), "/d/a"))
	require.Equal(t, "synced", read(t, fsys.KillClone().CrashClone(0), "/d/a"), "a kill makes nothing durable")

	require.NoError(t, fsys.Rename("/d/a", "/d/b"))
	for seed := range uint64(20) { // one of the two names, never both, never none
		c := fsys.CrashClone(seed)
		require.NotEqual(t, read(t, c, "/d/a") == "-", read(t, c, "/d/b") == "-", "seed %d", seed)
	}
	require.NoError(t, fsys.SyncDir("/d"))
	require.Equal(t, "synced", read(t, fsys.CrashClone(0), "/d/b"))
}

func TestCrashTearsSectors(t *testing.T) {
	seen := map[string]bool{}
	for seed := range uint64(200) {
		fsys := memfs.New()
		require.NoError(t, fsys.SyncDir("/"))
		f := write(t, fsys, "/a", string(make([]byte, 4096)), 0, true)
		require.NoError(t, fsys.SyncDir("/"))
		ones := make([]byte, 2048)
		for i := range ones {
			ones[i] = 1
		}
		_, err := f.WriteAt(ones, 100)
		require.NoError(t, err)
		got := read(t, fsys.CrashClone(seed), "/a")
		require.Len(t, got, 4096)
		require.Equal(t, got, read(t, fsys.CrashClone(seed), "/a"), "equal seeds, equal disks")
		seen[got] = true
	}
	require.Greater(t, len(seen), 20)
}

func TestFailedSyncCleansPages(t *testing.T) {
	fsys := memfs.New()
	f := write(t, fsys, "/a", "one", 0, true)
	require.NoError(t, fsys.SyncDir("/"))
	_, err := f.WriteAt([]byte("two"), 0)
	require.NoError(t, err)
	fsys.SetHook(memfs.FailSync("/a"))
	require.ErrorIs(t, f.Sync(), syscall.EIO)
	fsys.SetHook(nil)
	require.NoError(t, f.Sync(), "the second fsync has nothing to do")
	require.Equal(t, "two", read(t, fsys, "/a"))
	require.Equal(t, "one", read(t, fsys.CrashClone(1), "/a"))
}

func TestFullDiskTakesWhatFits(t *testing.T) {
	fsys := memfs.New()
	fsys.SetCapacity(10)
	f := write(t, fsys, "/a", "12345678", 0, false)
	n, err := f.WriteAt([]byte("abcd"), 8)
	require.ErrorIs(t, err, syscall.ENOSPC)
	require.Equal(t, 2, n)
	_, err = f.WriteAt([]byte("overwriting"[:8]), 0)
	require.NoError(t, err, "no more room is needed")
	require.NoError(t, f.Truncate(4))
	_, err = f.WriteAt([]byte("abcd"), 4)
	require.NoError(t, err)
}

func TestStopAfter(t *testing.T) {
	fsys := memfs.New()
	fsys.StopAfter(2)
	f := write(t, fsys, "/a", "x", 0, false)
	_, err := f.WriteAt([]byte("y"), 0)
	require.ErrorIs(t, err, memfs.ErrStopped)
	require.Equal(t, "x", read(t, fsys, "/a"))
	require.EqualValues(t, 3, fsys.Ops())
}

func TestFolders(t *testing.T) {
	fsys := memfs.New()
	require.NoError(t, fsys.MkdirAll("/x/t-0"))
	write(t, fsys, "/x/t-0/f", "1", 0, true)
	require.NoError(t, fsys.SyncDir("/x/t-0"))
	require.NoError(t, fsys.SyncDir("/x"))
	require.NoError(t, fsys.SyncDir("/"))
	require.NoError(t, fsys.Rename("/x/t-0", "/x/gone"))
	require.NoError(t, fsys.SyncDir("/x"))
	c := fsys.CrashClone(0)
	require.Equal(t, "1", read(t, c, "/x/gone/f"))
	names, err := c.List("/x")
	require.NoError(t, err)
	require.Equal(t, []string{"gone"}, names)
	require.NoError(t, c.RemoveAll("/x/gone"))
	require.NoError(t, c.RemoveAll("/x/gone"))
	_, err = c.Stat("/x/gone/f")
	require.ErrorIs(t, err, fs.ErrNotExist)
	_, err = fsys.Create("/missing/f")
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.NoError(t, fsys.SetReadOnly("/x/gone/f"))
	_, err = fsys.Open("/x/gone/f")
	require.ErrorIs(t, err, fs.ErrPermission)
	l, err := fsys.Lock("/x/.lock")
	require.NoError(t, err)
	_, err = fsys.Lock("/x/.lock")
	require.ErrorIs(t, err, storage.ErrLocked)
	require.NoError(t, l.Close())
}
