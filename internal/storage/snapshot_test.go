package storage_test

import (
	"bytes"
	"fmt"
	"io/fs"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kraft-dev/kraft-operator/internal/storage"
	"github.com/kraft-dev/kraft-operator/internal/storage/memfs"
	"github.com/kraft-dev/kraft-operator/internal/storage/record/control"
)

func someVoters(t testing.TB) []control.Voter {
	return []control.Voter{{ID: 1, DirectoryID: parseUUID(t, "oP1XsXvTSwuXO6xyBUTjlw"),
		Endpoints: []control.Endpoint{{Name: "CONTROLLER", Host: "c-1", Port: 9093}}, MaxVersion: 1}}
}

func writeSnapshot(t testing.TB, fsys storage.FS, id storage.SnapshotID, n int) storage.SnapshotHeader {
	t.Helper()
	h := storage.SnapshotHeader{LastContainedLogTimestamp: 123, KRaftVersion: 1, Voters: someVoters(t)}
	w, err := storage.CreateSnapshot(fsys, "/d", id, h, 1000)
	require.NoError(t, err)
	for i := range n {
		require.NoError(t, w.Append(value(i)))
	}
	size, err := w.Freeze()
	require.NoError(t, err)
	fi, err := fsys.Stat("/d/" + id.Name())
	require.NoError(t, err)
	require.Equal(t, fi.Size, size)
	return h
}

func value(i int) []byte { return fmt.Appendf(nil, "%0*d", 1+i%2000, i) }

func readSnapshot(t testing.TB, s *storage.Snapshot) (values [][]byte, err error) {
	t.Helper()
	for b, err := range s.Batches() {
		if err != nil {
			return nil, err
		}
		for r, err := range b.Records(0) {
			if err != nil {
				return nil, err
			}
			values = append(values, bytes.Clone(r.Value))
		}
	}
	return values, nil
}

func TestSnapshotRoundTrip(t *testing.T) {
	for _, n := range []int{0, 1, 5000} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			fsys := dataDir(t)
			require.NoError(t, fsys.SyncDir("/"))
			id := storage.SnapshotID{EndOffset: 9999, Epoch: 7}
			require.Equal(t, "00000000000000009999-0000000007.checkpoint", id.Name())
			h := writeSnapshot(t, fsys, id, n)
			w, err := storage.CreateSnapshot(fsys, "/d", id, h, 1)
			require.NoError(t, err)
			require.Nil(t, w, "a snapshot that is there stays")

			fsys = fsys.CrashClone(0)
			s, err := storage.OpenSnapshot(fsys, "/d", id)
			require.NoError(t, err)
			require.Equal(t, h, s.Header())
			values, err := readSnapshot(t, s)
			require.NoError(t, err)
			require.Len(t, values, n)
			for i, v := range values {
				require.Equal(t, value(i), v)
			}

			// Another node downloads it in pieces.
			other := dataDir(t)
			d, err := storage.CreateSnapshotDownload(other, "/d", id)
			require.NoError(t, err)
			for d.Size() < s.Size() {
				piece, err := s.Slice(d.Size(), 100_003)
				require.NoError(t, err)
				data, err := piece.AppendTo(nil)
				require.NoError(t, err)
				require.Error(t, d.WriteAt(data, d.Size()+1))
				require.NoError(t, d.WriteAt(data, d.Size()))
				ids, err := storage.ListSnapshots(readOnly{other}, "/d")
				require.NoError(t, err)
				require.Empty(t, ids)
			}
			require.NoError(t, d.Freeze())
			require.Equal(t, getFile(t, fsys, "/d/"+id.Name()), getFile(t, other, "/d/"+id.Name()))
			_, err = s.Slice(s.Size(), 1)
			require.ErrorIs(t, err, storage.ErrOffsetOutOfRange)
			_, err = other.Open("/d/" + id.Name())
			require.ErrorIs(t, err, fs.ErrPermission)
			require.NoError(t, s.Close())
		})
	}
}

// readOnly keeps what ListSnapshots would clear away.
type readOnly struct{ storage.FS }

func (readOnly) Remove(string) error { return nil }

func TestDamagedSnapshots(t *testing.T) {
	id := storage.SnapshotID{EndOffset: 10, Epoch: 1}
	src := dataDir(t)
	writeSnapshot(t, src, id, 10)
	whole := getFile(t, src, "/d/"+id.Name())
	try := func(data []byte) error {
		fsys := dataDir(t)
		d, err := storage.CreateSnapshotDownload(fsys, "/d", id)
		require.NoError(t, err)
		require.NoError(t, d.WriteAt(data, 0))
		if err := d.Freeze(); err != nil {
			ids, lerr := storage.ListSnapshots(fsys, "/d")
			require.NoError(t, lerr)
			require.Empty(t, ids, "a bad download is never installed")
			return err
		}
		return nil
	}
	require.NoError(t, try(whole))
	for cut := range whole {
		require.ErrorIs(t, try(whole[:cut]), storage.ErrCorrupt, "cut at %d", cut)
	}
	for at := range whole {
		if p := at; p < 16 || p >= 12 && p < 16 { // base offset and epoch of the first batch lie outside the CRC
			continue
		}
		bad := bytes.Clone(whole)
		bad[at] ^= 0x10
		if err := try(bad); err != nil {
			require.ErrorIs(t, err, storage.ErrCorrupt, "flipped %d", at)
		}
	}
	require.ErrorIs(t, try(append(bytes.Clone(whole), whole...)), storage.ErrCorrupt)
}

func TestListSnapshotsClearsLeftovers(t *testing.T) {
	fsys := dataDir(t)
	none, err := storage.ListSnapshots(fsys, "/missing")
	require.NoError(t, err)
	require.Empty(t, none)
	require.NoError(t, storage.WriteBootstrapSnapshot(fsys, "/d", 1, someVoters(t), 5))
	require.NoError(t, storage.WriteBootstrapSnapshot(fsys, "/d", 1, someVoters(t), 6), "formatting twice")
	for _, id := range []storage.SnapshotID{{EndOffset: 300, Epoch: 2}, {EndOffset: 20, Epoch: 2}, {EndOffset: 20, Epoch: 1}} {
		writeSnapshot(t, fsys, id, 3)
	}
	for _, name := range []string{"00000000000000000020-0000000009.checkpoint.deleted", "00000000000000000400-0000000002-w.checkpoint.part", "x.checkpoint", "00000000000000000001-000000000x.checkpoint"} {
		putFile(t, fsys, "/d/"+name, []byte("x"))
	}
	ids, err := storage.ListSnapshots(fsys, "/d")
	require.NoError(t, err)
	require.Equal(t, []storage.SnapshotID{{}, {EndOffset: 20, Epoch: 1}, {EndOffset: 20, Epoch: 2}, {EndOffset: 300, Epoch: 2}}, ids)
	names, err := fsys.List("/d")
	require.NoError(t, err)
	require.Len(t, names, 6)
	require.NoError(t, storage.DeleteSnapshot(fsys, "/d", ids[1]))
	require.NoError(t, storage.DeleteSnapshot(fsys, "/d", ids[1]))
	_, err = storage.OpenSnapshot(fsys, "/d", ids[1])
	require.ErrorIs(t, err, fs.ErrNotExist)
	_, err = fsys.Stat("/d/" + ids[1].Name() + ".deleted")
	require.NoError(t, err, "the bytes stay for whoever reads them")
	require.NoError(t, storage.RemoveDeletedSnapshot(fsys, "/d", ids[1]))
	require.NoError(t, storage.RemoveDeletedSnapshot(fsys, "/d", ids[1]))
	names, err = fsys.List("/d")
	require.NoError(t, err)
	require.Len(t, names, 5)
}

// Kafka puts up to 1024 records into a batch of a snapshot.
func TestSnapshotBatchesAreBounded(t *testing.T) {
	fsys := dataDir(t)
	id := storage.SnapshotID{EndOffset: 9, Epoch: 1}
	w, err := storage.CreateSnapshot(fsys, "/d", id, storage.SnapshotHeader{}, 1)
	require.NoError(t, err)
	for range 2500 {
		require.NoError(t, w.Append([]byte("x")))
	}
	_, err = w.Freeze()
	require.NoError(t, err)
	s, err := storage.OpenSnapshot(fsys, "/d", id)
	require.NoError(t, err)
	var counts []int
	for b, err := range s.Batches() {
		require.NoError(t, err)
		counts = append(counts, int(b.Count()))
	}
	require.Equal(t, []int{1024, 1024, 452}, counts)
}

func TestBootstrapCheckpoint(t *testing.T) {
	fsys := dataDir(t)
	_, err := storage.ReadBootstrapCheckpoint(fsys, "/d")
	require.ErrorIs(t, err, fs.ErrNotExist)
	want := [][]byte{[]byte("one"), []byte("two")}
	require.NoError(t, storage.WriteBootstrapCheckpoint(fsys, "/d", want))
	got, err := storage.ReadBootstrapCheckpoint(fsys, "/d")
	require.NoError(t, err)
	require.Equal(t, want, got)
	_, err = storage.CreateSnapshot(fsys, "/d", storage.SnapshotID{EndOffset: 1}, storage.SnapshotHeader{Voters: someVoters(t)}, 1)
	require.ErrorContains(t, err, "kraft.version 0")
}

// A snapshot that Freeze called done is there after every crash; before, there is none or a whole one.
func TestSnapshotIsFrozenWhole(t *testing.T) {
	id := storage.SnapshotID{EndOffset: 10, Epoch: 1}
	for stop := int64(0); ; stop++ {
		fsys := dataDir(t)
		require.NoError(t, fsys.SyncDir("/"))
		fsys.StopAfter(stop)
		done := tryFreeze(fsys, id)
		for seed := range uint64(8) {
			clone := fsys.CrashClone(seed)
			ids, err := storage.ListSnapshots(clone, "/d")
			require.NoError(t, err)
			if done {
				require.Equal(t, []storage.SnapshotID{id}, ids)
			}
			for range ids {
				s, err := storage.OpenSnapshot(clone, "/d", id)
				require.NoError(t, err)
				values, err := readSnapshot(t, s)
				require.NoError(t, err)
				require.Len(t, values, 2)
			}
		}
		if done {
			return
		}
	}
}

func tryFreeze(fsys *memfs.FS, id storage.SnapshotID) bool {
	w, err := storage.CreateSnapshot(fsys, "/d", id, storage.SnapshotHeader{}, 1)
	if err != nil || w.Append([]byte("a"), []byte("b")) != nil {
		return false
	}
	_, err = w.Freeze()
	return err == nil
}
