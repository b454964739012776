package storage_test

import (
	"io/fs"
	"reflect"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kraft-dev/kraft-operator/internal/storage"
	"github.com/kraft-dev/kraft-operator/internal/storage/memfs"
	"github.com/kraft-dev/kraft-operator/internal/uuid"
)

func parseUUID(t testing.TB, s string) uuid.UUID {
	t.Helper()
	u, err := uuid.Parse(s)
	require.NoError(t, err)
	return u
}

func dataDir(t testing.TB) *memfs.FS {
	fsys := memfs.New()
	require.NoError(t, fsys.MkdirAll("/d"))
	return fsys
}

func TestMetaProperties(t *testing.T) {
	id := parseUUID(t, "oP1XsXvTSwuXO6xyBUTjlw")
	full := storage.MetaProperties{ClusterID: "MkU3OEVBNTcwNTJENDM2Qk", NodeID: 7, DirectoryID: id}
	for _, tc := range []struct {
		name, text string
		want       storage.MetaProperties
		err        string
	}{
		{"as Kafka writes it", "#\n#Sun Nov 22 02:55:03 UTC 2026\ncluster.id=MkU3OEVBNTcwNTJENDM2Qk\ndirectory.id=oP1XsXvTSwuXO6xyBUTjlw\nnode.id=7\nversion=1\n", full, ""},
		{"windows lines and blanks", "version = 1\r\n\r\nnode.id = 7\r\ncluster.id = MkU3OEVBNTcwNTJENDM2Qk\r\n  directory.id=oP1XsXvTSwuXO6xyBUTjlw", full, ""},
		{"no directory id", "version=1\nnode.id=7\ncluster.id=c", storage.MetaProperties{ClusterID: "c", NodeID: 7}, ""},
		{"version 0", "version=0\nbroker.id=7\ncluster.id=c", storage.MetaProperties{ClusterID: "c", NodeID: 7}, ""},
		{"empty", "", storage.MetaProperties{}, "no version"},
		{"later version", "version=2\nnode.id=7\ncluster.id=c", storage.MetaProperties{}, "version=2"},
		{"no cluster id", "version=1\nnode.id=7", storage.MetaProperties{}, "cluster.id"},
		{"no node id", "version=1\ncluster.id=c", storage.MetaProperties{}, "node.id"},
		{"negative node id", "version=1\ncluster.id=c\nnode.id=-1", storage.MetaProperties{}, "node.id"},
		{"directory id cut", "version=1\ncluster.id=c\nnode.id=1\ndirectory.id=oP1XsX", storage.MetaProperties{}, "directory.id"},
		{"directory id reserved", "version=1\ncluster.id=c\nnode.id=1\ndirectory.id=AAAAAAAAAAAAAAAAAAAAAQ", storage.MetaProperties{}, "reserved"},
		{"zeros after a power loss", strings.Repeat("\x00", 80), storage.MetaProperties{}, "key=value"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			fsys := dataDir(t)
			putFile(t, fsys, "/d/meta.properties", []byte(tc.text))
			got, err := storage.ReadMetaProperties(fsys, "/d")
			if tc.err != "" {
				require.ErrorIs(t, err, storage.ErrCorrupt)
				require.ErrorContains(t, err, tc.err)
				require.ErrorContains(t, err, "/d/meta.properties")
				require.ErrorContains(t, err, "new directory id")
				return
			}
			require.NoError(t, err)
			require.Equal(t, tc.want, got)
			require.NoError(t, storage.WriteMetaProperties(fsys, "/d", got))
			again, err := storage.ReadMetaProperties(fsys.CrashClone(0), "/d")
			if err == nil { // the folder itself was not made durable here
				require.Equal(t, got, again)
			}
		})
	}
	fsys := dataDir(t)
	_, err := storage.ReadMetaProperties(fsys, "/d")
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.Error(t, storage.WriteMetaProperties(fsys, "/d", storage.MetaProperties{ClusterID: "a\nb", NodeID: 1}))
	require.Error(t, storage.WriteMetaProperties(fsys, "/d", storage.MetaProperties{NodeID: 1}))
}

func TestQuorumState(t *testing.T) {
	id := parseUUID(t, "oP1XsXvTSwuXO6xyBUTjlw")
	for _, tc := range []struct {
		name, text string
		want       storage.ElectionState
		err        string
	}{
		{"version 0 of Kafka", `{"clusterId":"","leaderId":1,"leaderEpoch":1,"votedId":-1,"appliedOffset":0,"currentVoters":[{"voterId":1}],"data_version":0}`,
			storage.ElectionState{LeaderID: 1, LeaderEpoch: 1, VotedID: -1, CurrentVoters: []int32{1}}, ""},
		{"version 1 of Kafka", `{"leaderId":1,"leaderEpoch":2,"votedId":-1,"votedDirectoryId":"AAAAAAAAAAAAAAAAAAAAAA","data_version":1}`,
			storage.ElectionState{LeaderID: 1, LeaderEpoch: 2, VotedID: -1, KRaftVersion: 1}, ""},
		{"voted", `{"leaderId":-1,"leaderEpoch":3,"votedId":2,"votedDirectoryId":"oP1XsXvTSwuXO6xyBUTjlw","data_version":1}`,
			storage.ElectionState{LeaderID: -1, LeaderEpoch: 3, VotedID: 2, VotedDirectoryID: id, KRaftVersion: 1}, ""},
		{"more keys and lines", "{\"new\":[1],\"leaderId\":-1,\"leaderEpoch\":3,\"votedId\":-1,\"votedDirectoryId\":\"AAAAAAAAAAAAAAAAAAAAAA\",\"data_version\":1}\nrest",
			storage.ElectionState{LeaderID: -1, LeaderEpoch: 3, VotedID: -1, KRaftVersion: 1}, ""},
		{"empty", "", storage.ElectionState{}, "line 1"},
		{"zeros", strings.Repeat("\x00", 100), storage.ElectionState{}, "line 1"},
		{"torn", `{"leaderId":1,"leaderEp`, storage.ElectionState{}, "line 1"},
		{"no epoch", `{"leaderId":1,"votedId":-1,"votedDirectoryId":"AAAAAAAAAAAAAAAAAAAAAA","data_version":1}`, storage.ElectionState{}, "leaderEpoch"},
		{"negative epoch", `{"leaderId":1,"leaderEpoch":-4,"votedId":-1,"votedDirectoryId":"AAAAAAAAAAAAAAAAAAAAAA","data_version":1}`, storage.ElectionState{}, "range"},
		{"no version", `{"leaderId":1,"leaderEpoch":2,"votedId":-1}`, storage.ElectionState{}, "data_version"},
		{"version 2", `{"leaderId":1,"leaderEpoch":2,"votedId":-1,"data_version":2}`, storage.ElectionState{}, "data_version 2"},
		{"version 1 without directory", `{"leaderId":1,"leaderEpoch":2,"votedId":-1,"data_version":1}`, storage.ElectionState{}, "votedDirectoryId"},
		{"directory without vote", `{"leaderId":1,"leaderEpoch":2,"votedId":-1,"votedDirectoryId":"oP1XsXvTSwuXO6xyBUTjlw","data_version":1}`, storage.ElectionState{}, "without votedId"},
		{"an epoch past 32 bits", `{"leaderId":1,"leaderEpoch":4294967296,"votedId":-1,"data_version":0,"currentVoters":[]}`, storage.ElectionState{}, "line 1"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			fsys := dataDir(t)
			require.NoError(t, fsys.SyncDir("/"))
			putFile(t, fsys, "/d/quorum-state", []byte(tc.text))
			got, err := storage.ReadQuorumState(fsys, "/d")
			if tc.err != "" {
				require.ErrorIs(t, err, storage.ErrCorrupt)
				require.ErrorContains(t, err, tc.err)
				require.ErrorContains(t, err, "/d/quorum-state")
				return
			}
			require.NoError(t, err)
			require.Equal(t, tc.want, got)
			require.NoError(t, storage.WriteQuorumState(fsys, "/d", got))
			fsys = fsys.CrashClone(0)
			again, err := storage.ReadQuorumState(fsys, "/d")
			require.NoError(t, err)
			require.Equal(t, got, again)
			if strings.HasSuffix(tc.name, "of Kafka") {
				require.Equal(t, tc.text, string(getFile(t, fsys, "/d/quorum-state")))
			}
		})
	}
}

// Whatever the moment of the crash, one of the two states is there, whole; the new one if the write returned.
func TestQuorumStateIsReplacedWhole(t *testing.T) {
	a := storage.ElectionState{LeaderID: -1, LeaderEpoch: 1, VotedID: 2, KRaftVersion: 1}
	b := storage.ElectionState{LeaderID: 3, LeaderEpoch: 9, VotedID: -1, KRaftVersion: 1}
	for stop := int64(0); ; stop++ {
		fsys := dataDir(t)
		require.NoError(t, fsys.SyncDir("/"))
		require.NoError(t, storage.WriteQuorumState(fsys, "/d", a))
		fsys.StopAfter(stop)
		werr := storage.WriteQuorumState(fsys, "/d", b)
		for seed := range uint64(8) {
			got, err := storage.ReadQuorumState(fsys.CrashClone(seed), "/d")
			require.NoError(t, err)
			if werr == nil {
				require.Equal(t, b, got)
			} else if !reflect.DeepEqual(a, got) {
				require.Equal(t, b, got)
			}
		}
		if werr == nil {
			require.Greater(t, stop, int64(3))
			return
		}
	}
}

func TestOffsetCheckpoints(t *testing.T) {
	fsys := dataDir(t)
	require.NoError(t, fsys.SyncDir("/"))
	got, err := storage.ReadOffsetCheckpoint(fsys, "/d", storage.HighWatermarkFile)
	require.NoError(t, err)
	require.Empty(t, got)
	want := map[storage.TopicPartition]int64{{Topic: "b", Partition: 2}: 7, {Topic: "b", Partition: 10}: 1 << 60, {Topic: "a-1", Partition: 0}: 0}
	require.NoError(t, storage.WriteOffsetCheckpoint(fsys, "/d", storage.HighWatermarkFile, want))
	fsys = fsys.CrashClone(0)
	require.Equal(t, "0\n3\na-1 0 0\nb 2 7\nb 10 1152921504606846976\n", string(getFile(t, fsys, "/d/replication-offset-checkpoint")))
	got, err = storage.ReadOffsetCheckpoint(fsys, "/d", storage.HighWatermarkFile)
	require.NoError(t, err)
	require.Equal(t, want, got)
	for _, bad := range []string{"", "0", "1\n0\n", "0\n2\na 0 1\n", "0\n1\na 0\n", "0\n1\na x 1\n", "0\n1\na 0 -1\n", "0\n1\n../x 0 1\n", "0\n-1\n", "0\n1\na 0 1\n\n"} {
		putFile(t, fsys, "/d/replication-offset-checkpoint", []byte(bad))
		_, err = storage.ReadOffsetCheckpoint(fsys, "/d", storage.HighWatermarkFile)
		require.ErrorIs(t, err, storage.ErrCorrupt, "%q", bad)
	}
}

func TestCleanShutdownAndLock(t *testing.T) {
	fsys := dataDir(t)
	_, err := storage.ReadCleanShutdown(fsys, "/d")
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.NoError(t, storage.WriteCleanShutdown(fsys, "/d", 42))
	require.Equal(t, `{"version":0,"brokerEpoch":42}`, string(getFile(t, fsys, "/d/.kafka_cleanshutdown")))
	epoch, err := storage.ReadCleanShutdown(fsys, "/d")
	require.NoError(t, err)
	require.EqualValues(t, 42, epoch)
	require.NoError(t, storage.RemoveCleanShutdown(fsys, "/d"))
	require.NoError(t, storage.RemoveCleanShutdown(fsys, "/d"))
	putFile(t, fsys, "/d/.kafka_cleanshutdown", nil)
	_, err = storage.ReadCleanShutdown(fsys, "/d")
	require.ErrorIs(t, err, storage.ErrCorrupt)

	for _, d := range []struct {
		fs  storage.FS
		dir string
	}{{fsys, "/d"}, {storage.OS(), t.TempDir()}} {
		l, err := storage.LockDir(d.fs, d.dir)
		require.NoError(t, err)
		_, err = storage.LockDir(d.fs, d.dir)
		require.ErrorIs(t, err, storage.ErrLocked)
		require.NoError(t, l.Close())
		l, err = storage.LockDir(d.fs, d.dir)
		require.NoError(t, err)
		require.NoError(t, l.Close())
	}
}

func TestDirNames(t *testing.T) {
	id := parseUUID(t, "oP1XsXvTSwuXO6xyBUTjlw")
	tp := storage.TopicPartition{Topic: "a-b.c_D", Partition: 12}
	long := storage.TopicPartition{Topic: strings.Repeat("x", 249), Partition: 12}
	require.Equal(t, "a-b.c_D-12.a0fd57b17bd34b0b973bac720544e397-delete", storage.DeletedDirName(tp, id))
	require.Len(t, storage.DeletedDirName(long, id), 255)
	for name, want := range map[string]struct {
		tp   storage.TopicPartition
		kind storage.DirKind
		ok   bool
	}{
		"a-b.c_D-12":                                  {tp, storage.DirLog, true},
		storage.DeletedDirName(tp, id):                {tp, storage.DirDeleted, true},
		"t-0.a0fd57b17bd34b0b973bac720544e397-future": {storage.TopicPartition{Topic: "t"}, storage.DirFuture, true},
		"t-0.a0fd57b17bd34b0b973bac720544e397-stray":  {storage.TopicPartition{Topic: "t"}, storage.DirStray, true},
		"__cluster_metadata-0":                        {storage.TopicPartition{Topic: "__cluster_metadata"}, storage.DirLog, true},
		"lost+found":                                  {},
		"t":                                           {},
		"-0":                                          {},
		"t-":                                          {},
		"t--1":                                        {storage.TopicPartition{Topic: "t-", Partition: 1}, storage.DirLog, true},
		"t-+1":                                        {},
		"t-01":                                        {},
		"t-99999999999":                               {},
		"..-0":                                        {},
	} {
		got, kind, ok := storage.ParseDirName(name)
		require.Equal(t, want.ok, ok, name)
		require.Equal(t, want.tp, got, name)
		require.Equal(t, want.kind, kind, name)
	}
}
