package storage_test

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kraft-dev/kraft-operator/internal/storage"
	"github.com/kraft-dev/kraft-operator/internal/storage/memfs"
	"github.com/kraft-dev/kraft-operator/internal/storage/record"
)

// A folder of hostile files: opening ends, refuses with ErrCorrupt or works, and what opened can be read and appended to.
func FuzzOpenLog(f *testing.F) {
	fsys := memfs.New()
	l := openLog(f, fsys, smallConfig(), storage.OpenOptions{})
	for i := range int32(5) {
		_, err := l.AppendLeader(idempotent(f, 1, 0, i*3, 3, 1000+int64(i)), i/2, 1, storage.AppendOptions{})
		require.NoError(f, err)
	}
	require.NoError(f, l.Close())
	const stem = dir + "/00000000000000000000"
	f.Add(getFile(f, fsys, stem+".log"), getFile(f, fsys, stem+".index"), getFile(f, fsys, stem+".timeindex"),
		getFile(f, fsys, dir+"/leader-epoch-checkpoint"), getFile(f, fsys, dir+"/00000000000000000015.snapshot"), byte(0))
	f.Fuzz(func(t *testing.T, log, index, times, epochs, producers []byte, mode byte) {
		fsys := memfs.New()
		require.NoError(t, fsys.MkdirAll(dir))
		mend(log)
		for name, data := range map[string][]byte{stem + ".log": log, stem + ".index": index, stem + ".timeindex": times,
			dir + "/leader-epoch-checkpoint": epochs, dir + "/00000000000000000015.snapshot": producers} {
			putFile(t, fsys, name, data)
		}
		opt := storage.OpenOptions{Clean: mode&1 > 0, CutHoles: mode&2 > 0, Contiguous: mode&4 > 0, DurableOffset: int64(mode >> 4)}
		l, _, err := storage.OpenLog(fsys, dir, topicID, smallConfig(), opt)
		if err != nil {
			require.ErrorIs(t, err, storage.ErrCorrupt)
			return
		}
		_, _ = l.EndOffsetFor(1)
		_, _, err = l.OffsetForTimestamp(1002, l.EndOffset())
		if err != nil {
			require.ErrorIs(t, err, storage.ErrCorrupt)
		}
		for start := l.StartOffset(); start < l.EndOffset(); {
			s, _, err := l.Read(start, l.EndOffset(), 100, true)
			if err != nil {
				require.ErrorIs(t, err, storage.ErrCorrupt)
				break
			}
			data, err := s.AppendTo(nil)
			require.NoError(t, err)
			if len(data) == 0 {
				break
			}
			for len(data) > 0 {
				b, rest, err := record.Split(data)
				require.NoError(t, err)
				require.GreaterOrEqual(t, b.LastOffset(), start)
				start, data = b.NextOffset(), rest
			}
		}
		if last, _ := l.LatestEpoch(); last.Epoch < 1<<30 && l.EndOffset() < 1<<40 {
			at := l.EndOffset()
			info, err := l.AppendLeader(batch(t, 2, 5, record.None), last.Epoch+1, 5, storage.AppendOptions{})
			require.NoError(t, err)
			require.Equal(t, at, info.First)
		}
	})
}

// mend makes CRCs match, so that hostile fields get past them.
func mend(log []byte) {
	for {
		b, rest, err := record.Split(log)
		if err != nil {
			return
		}
		seal(b)
		log = rest
	}
}

func seal(b record.Batch) {
	if !b.LogAppendTime() {
		b.SetCreateTime(b.MaxTimestamp())
	}
}

func FuzzSmallFiles(f *testing.F) {
	for i, text := range []string{
		"version=1\nnode.id=1\ncluster.id=c\ndirectory.id=oP1XsXvTSwuXO6xyBUTjlw\n",
		`{"leaderId":1,"leaderEpoch":2,"votedId":-1,"votedDirectoryId":"AAAAAAAAAAAAAAAAAAAAAA","data_version":1}`,
		`{"clusterId":"","leaderId":1,"leaderEpoch":1,"votedId":-1,"appliedOffset":0,"currentVoters":[{"voterId":1}],"data_version":0}`,
		"0\n2\na 0 1\nb 1 2\n", "version: 0\ntopic_id: oP1XsXvTSwuXO6xyBUTjlw", `{"version":0,"brokerEpoch":3}`,
	} {
		f.Add([]byte(text), byte(i))
	}
	f.Fuzz(func(t *testing.T, data []byte, _ byte) {
		fsys := dataDir(t)
		for _, name := range []string{storage.MetaPropertiesFile, storage.QuorumStateFile, storage.HighWatermarkFile, storage.PartitionFile, storage.CleanShutdownFile} {
			putFile(t, fsys, "/d/"+name, data)
		}
		if m, err := storage.ReadMetaProperties(fsys, "/d"); err == nil {
			require.NoError(t, storage.WriteMetaProperties(fsys, "/d", m))
			again, err := storage.ReadMetaProperties(fsys, "/d")
			require.NoError(t, err)
			require.Equal(t, m, again)
		}
		if s, err := storage.ReadQuorumState(fsys, "/d"); err == nil {
			require.NoError(t, storage.WriteQuorumState(fsys, "/d", s))
			again, err := storage.ReadQuorumState(fsys, "/d")
			require.NoError(t, err)
			require.Equal(t, s, again)
		}
		if m, err := storage.ReadOffsetCheckpoint(fsys, "/d", storage.HighWatermarkFile); err == nil {
			require.NoError(t, storage.WriteOffsetCheckpoint(fsys, "/d", storage.HighWatermarkFile, m))
			again, err := storage.ReadOffsetCheckpoint(fsys, "/d", storage.HighWatermarkFile)
			require.NoError(t, err)
			require.Equal(t, m, again)
		}
		if id, err := storage.ReadPartitionMetadata(fsys, "/d"); err == nil {
			require.NoError(t, storage.WritePartitionMetadata(fsys, "/d", id))
		}
		_, _ = storage.ReadCleanShutdown(fsys, "/d")
		if tp, kind, ok := storage.ParseDirName(string(data)); ok && kind == storage.DirLog {
			require.Equal(t, string(data), tp.DirName())
		}
		if id, ok := storage.ParseSnapshotName(string(data)); ok {
			require.Equal(t, string(data), id.Name())
		}
	})
}

func FuzzSnapshot(f *testing.F) {
	id := storage.SnapshotID{EndOffset: 10, Epoch: 1}
	src := dataDir(f)
	writeSnapshot(f, src, id, 3)
	f.Add(getFile(f, src, "/d/"+id.Name()))
	f.Fuzz(func(t *testing.T, data []byte) {
		fsys := dataDir(t)
		data = bytes.Clone(data)
		mend(data)
		putFile(t, fsys, "/d/"+id.Name(), data)
		s, err := storage.OpenSnapshot(fsys, "/d", id)
		if err != nil {
			require.ErrorIs(t, err, storage.ErrCorrupt)
			return
		}
		for _, err := range s.Batches() {
			if err != nil {
				require.ErrorIs(t, err, storage.ErrCorrupt)
			}
		}
	})
}
