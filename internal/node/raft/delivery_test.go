package raft

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/kraft-dev/kraft-operator/internal/quorum"
	"github.com/kraft-dev/kraft-operator/internal/quorum/disk"
	"github.com/kraft-dev/kraft-operator/internal/storage"
	"github.com/kraft-dev/kraft-operator/internal/storage/memfs"
	"github.com/kraft-dev/kraft-operator/internal/storage/record"
)

// story is a listener that remembers what it was given, and can be held up inside a call.
type story struct {
	mu   sync.Mutex
	told []string
	gate chan struct{} // nil: open
}

func (s *story) tell(format string, args ...any) {
	s.mu.Lock()
	s.told = append(s.told, fmt.Sprintf(format, args...))
	gate := s.gate
	s.mu.Unlock()
	if gate != nil {
		<-gate
	}
}

func (s *story) HandleCommit(batches []CommittedBatch) {
	s.tell("batches %d to %d", batches[0].BaseOffset, batches[len(batches)-1].LastOffset)
}

func (s *story) HandleLoadSnapshot(r SnapshotReader) {
	n := 0
	for b, err := range r.Batches() {
		if err != nil {
			s.tell("bad snapshot: %v", err)
			return
		}
		n += len(b.Records)
	}
	s.tell("snapshot %d-%d of %d records", r.EndOffset(), r.Epoch(), n)
	_ = r.Close()
}

func (s *story) HandleLeaderChange(l LeaderAndEpoch) {
	if l.LeaderID >= 0 {
		s.tell("leader %d", l.LeaderID)
	}
}

// take returns what was told since the last call.
func (s *story) take() []string {
	synctest.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	out := s.told
	s.told = nil
	return out
}

// deliveryWorld is a delivery over a real disk in memory.
type deliveryWorld struct {
	t *testing.T
	d *delivery
	k *disk.Disk
}

func inDelivery(t *testing.T, test func(w *deliveryWorld)) {
	synctest.Test(t, func(t *testing.T) {
		fs := memfs.New()
		require.NoError(t, fs.MkdirAll("/m/"+storage.MetadataPartitionDir))
		k, err := disk.Open(fs, "/m", storage.MetadataLogConfig(200, 1<<40), 1)
		require.NoError(t, err)
		d := newDelivery(k, func(err error) { t.Errorf("delivery failed: %v", err) })
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { d.run(ctx) })
		test(&deliveryWorld{t, d, k})
		cancel()
		wg.Wait()
	})
}

// log appends n records, one a batch.
func (w *deliveryWorld) log(n int) {
	for range n {
		base := w.k.EndOffset()
		b := record.NewBuilder(record.BuilderConfig{BaseOffset: base, Epoch: 1})
		b.Append(1, nil, []byte{1, 2, 3})
		data, err := b.Build()
		require.NoError(w.t, err)
		require.NoError(w.t, w.k.Append(quorum.Append{Base: quorum.Offset(base), Data: data}, 1))
	}
}

// snapshot makes one at the log's end, of three records.
func (w *deliveryWorld) snapshot() disk.Snapshot {
	sw, err := w.k.CreateSnapshot(storage.SnapshotID{EndOffset: w.k.EndOffset(), Epoch: 1}, storage.SnapshotHeader{}, 1)
	require.NoError(w.t, err)
	require.NoError(w.t, sw.Append([]byte{1}, []byte{2}, []byte{3}))
	s, _, err := sw.Freeze()
	require.NoError(w.t, err)
	_, _, err = w.k.SnapshotCreated(s)
	require.NoError(w.t, err)
	w.d.newestSnapshot(w.k.Snapshots())
	return s
}

func (w *deliveryWorld) drop(s disk.Snapshot) {
	require.NoError(w.t, w.k.DropPrefix(quorum.DropPrefix{Start: s.Info().ID}))
	require.NoError(w.t, w.k.RemovePending(0))
	require.NoError(w.t, w.k.RemovePending(1<<40))
}

func TestAListenerThatHasNothingGetsTheNewestSnapshotThenBatches(t *testing.T) {
	inDelivery(t, func(w *deliveryWorld) {
		w.log(5)
		w.snapshot()
		w.log(3)
		w.snapshot()
		w.log(2)
		l := &story{}
		w.d.register(l)
		require.Empty(t, l.take(), "the high watermark isn't known")
		w.d.committed(6)
		require.Empty(t, l.take(), "what the snapshot holds isn't known to be committed")
		w.d.committed(9)
		require.Equal(t, []string{"snapshot 8-1 of 3 records", "batches 8 to 8"}, l.take())
		w.d.committed(10)
		require.Equal(t, []string{"batches 9 to 9"}, l.take())
		w.snapshot()
		require.Empty(t, l.take(), "who keeps up needs no snapshot")
	})
}

func TestAListenerBelowTheLogsStartGetsASnapshot(t *testing.T) {
	inDelivery(t, func(w *deliveryWorld) {
		l := &story{gate: make(chan struct{})}
		w.log(4)
		w.d.register(l)
		w.d.committed(4)
		require.Equal(t, []string{"batches 0 to 1"}, l.take(), "one segment at a time, and it is held up")
		require.EqualValues(t, 0, w.d.lowest(), "it still needs the log from its beginning")
		w.log(20)
		s := w.snapshot()
		w.drop(s)
		w.log(2)
		w.d.committed(26)
		close(l.gate)
		require.Equal(t, []string{"snapshot 24-1 of 3 records", "batches 24 to 25"}, l.take())
		require.EqualValues(t, 26, w.d.lowest())
	})
}

func TestAfterAnInstallationTheSnapshotIsLoaded(t *testing.T) {
	data, size := downloadable(t)
	inDelivery(t, func(w *deliveryWorld) {
		l := &story{}
		w.log(4)
		w.d.register(l)
		w.d.committed(3)
		require.Equal(t, []string{"batches 0 to 1", "batches 2 to 2"}, l.take())
		id := quorum.OffsetAndEpoch{Offset: 50, Epoch: 7}
		require.NoError(t, w.k.WriteSnapshot(quorum.WriteSnapshot{ID: id, Data: data}))
		_, err := w.k.InstallSnapshot(quorum.InstallSnapshot{ID: id, Size: size})
		require.NoError(t, err)
		w.d.signal()
		require.Empty(t, l.take(), "the log is empty and the snapshot not told of yet")
		w.d.newestSnapshot(w.k.Snapshots())
		w.d.leaderChanged(leaderChange{LeaderAndEpoch: LeaderAndEpoch{LeaderID: 3, Epoch: 7}, after: 50})
		require.Empty(t, l.take())
		w.d.committed(50)
		require.Equal(t, []string{"snapshot 50-7 of 1 records", "leader 3"}, l.take())
	})
}

// downloadable is the file of snapshot 50-7.
func downloadable(t *testing.T) ([]byte, int64) {
	t.Helper()
	fs := memfs.New()
	require.NoError(t, fs.MkdirAll("/m"))
	w, err := storage.CreateSnapshot(fs, "/m", storage.SnapshotID{EndOffset: 50, Epoch: 7}, storage.SnapshotHeader{}, 1)
	require.NoError(t, err)
	require.NoError(t, w.Append([]byte{9}))
	size, err := w.Freeze()
	require.NoError(t, err)
	f, err := fs.OpenRead("/m/" + storage.SnapshotID{EndOffset: 50, Epoch: 7}.Name())
	require.NoError(t, err)
	data := make([]byte, size)
	_, err = f.ReadAt(data, 0)
	require.NoError(t, err)
	return data, size
}
