package loader

import (
	"context"
	"errors"
	"iter"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/kraft-dev/kraft-operator/internal/metadata"
	"github.com/kraft-dev/kraft-operator/internal/node/raft"
	"github.com/kraft-dev/kraft-operator/internal/uuid"
)

type hw struct {
	mu    sync.Mutex
	off   int64
	known bool
}

func (h *hw) get() (int64, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.off, h.known
}

func (h *hw) set(off int64) {
	h.mu.Lock()
	h.off, h.known = off, true
	h.mu.Unlock()
}

func topicBatch(offset int64, name string, id byte) raft.CommittedBatch {
	rec := &metadata.TopicRecord{Name: name, TopicID: uuid.UUID{id}}
	return raft.CommittedBatch{BaseOffset: offset, LastOffset: offset, Epoch: 1, Records: [][]byte{metadata.Encode(rec, 0)}}
}

type step struct {
	prev, next int64
	topics     int
}

type fixture struct {
	l      *Loader
	hw     *hw
	faults []error
	stop   func()
}

func start(t *testing.T) *fixture {
	f := &fixture{hw: &hw{}}
	f.l = New(Config{HighWatermark: f.hw.get, Logger: slog.New(slog.DiscardHandler), Fault: func(err error) { f.faults = append(f.faults, err) }})
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { _ = f.l.Run(ctx) })
	f.stop = func() { cancel(); wg.Wait() }
	return f
}

func (f *fixture) subscribe() *[]step {
	steps := &[]step{}
	f.l.Subscribe(func(prev, next *metadata.Image, d *metadata.Delta) {
		*steps = append(*steps, step{prev.Offset, next.Offset, len(d.Topics)})
	})
	return steps
}

func TestNothingIsPublishedBeforeTheLogWasCaughtUpWith(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t)
		defer f.stop()
		steps := f.subscribe()
		f.l.HandleCommit([]raft.CommittedBatch{topicBatch(5, "a", 1)})
		synctest.Wait()
		require.Empty(t, *steps, "the high watermark isn't known")
		f.hw.set(9)
		f.l.HandleCommit([]raft.CommittedBatch{topicBatch(6, "b", 2)})
		synctest.Wait()
		require.Empty(t, *steps, "offset 8 is committed and not here yet")
		require.EqualValues(t, -1, f.l.LastAppliedOffset())
		f.l.HandleCommit([]raft.CommittedBatch{topicBatch(7, "c", 3), {BaseOffset: 8, LastOffset: 8, Epoch: 2}})
		<-f.l.Ready()
		synctest.Wait()
		require.Equal(t, []step{{-1, 8, 3}}, *steps)
		require.EqualValues(t, 8, f.l.LastAppliedOffset())
		require.EqualValues(t, 8, f.l.Current().Offset)
	})
}

func TestALatePublisherGetsTheWholeImageFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t)
		defer f.stop()
		f.hw.set(1)
		early := f.subscribe()
		f.l.HandleCommit([]raft.CommittedBatch{topicBatch(0, "a", 1)})
		synctest.Wait()
		late := f.subscribe()
		synctest.Wait()
		f.l.HandleCommit([]raft.CommittedBatch{topicBatch(1, "b", 2)})
		synctest.Wait()
		require.Equal(t, []step{{-1, 0, 1}, {0, 1, 1}}, *early)
		require.Equal(t, []step{{-1, 0, 1}, {0, 1, 1}}, *late)
	})
}

func TestWhatArrivesWhileAPublisherWorksIsOneStep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t)
		defer f.stop()
		f.hw.set(1)
		gate, entered := make(chan struct{}), make(chan struct{}, 9)
		steps := []step{}
		f.l.Subscribe(func(prev, next *metadata.Image, d *metadata.Delta) {
			entered <- struct{}{}
			<-gate
			steps = append(steps, step{prev.Offset, next.Offset, len(d.Topics)})
		})
		f.l.HandleCommit([]raft.CommittedBatch{topicBatch(0, "a", 1)})
		<-entered
		require.EqualValues(t, 0, f.l.Current().Offset, "requests see it before publishers are done")
		require.EqualValues(t, -1, f.l.LastAppliedOffset())
		f.l.HandleCommit([]raft.CommittedBatch{topicBatch(1, "b", 2)})
		f.l.HandleCommit([]raft.CommittedBatch{topicBatch(2, "c", 3)})
		close(gate)
		synctest.Wait()
		require.Equal(t, []step{{-1, 0, 1}, {0, 2, 2}}, steps)
	})
}

func TestABadRecordKeepsTheLastImage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t)
		defer f.stop()
		f.hw.set(1)
		f.l.HandleCommit([]raft.CommittedBatch{topicBatch(0, "a", 1)})
		f.l.HandleCommit([]raft.CommittedBatch{{BaseOffset: 1, LastOffset: 1, Epoch: 1, Records: [][]byte{{9, 9, 9}}}})
		f.l.HandleCommit([]raft.CommittedBatch{topicBatch(2, "b", 2)})
		synctest.Wait()
		require.Len(t, f.faults, 1)
		require.ErrorIs(t, f.faults[0], metadata.ErrMalformed)
		require.EqualValues(t, 0, f.l.Current().Offset)
	})
}

type snapshot struct {
	batches []raft.CommittedBatch
	err     error
	closed  bool
}

func (s *snapshot) EndOffset() int64                 { return 10 }
func (s *snapshot) Epoch() int32                     { return 3 }
func (s *snapshot) LastContainedLogTimestamp() int64 { return 0 }
func (s *snapshot) Close() error                     { s.closed = true; return nil }
func (s *snapshot) Batches() iter.Seq2[raft.CommittedBatch, error] {
	return func(yield func(raft.CommittedBatch, error) bool) {
		for _, b := range s.batches {
			if !yield(b, nil) {
				return
			}
		}
		if s.err != nil {
			yield(raft.CommittedBatch{}, s.err)
		}
	}
}

func TestASnapshotReplacesTheState(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t)
		defer f.stop()
		steps := f.subscribe()
		f.hw.set(1)
		f.l.HandleCommit([]raft.CommittedBatch{topicBatch(0, "old", 1)})
		synctest.Wait()
		s := &snapshot{batches: []raft.CommittedBatch{topicBatch(0, "new", 2), topicBatch(1, "newer", 3)}}
		f.l.HandleLoadSnapshot(s)
		synctest.Wait()
		require.True(t, s.closed)
		require.Equal(t, []step{{-1, 0, 1}, {0, 9, 3}}, *steps, "one topic gone, two come")
		img := f.l.Current()
		require.EqualValues(t, 3, img.Epoch)
		_, ok := img.TopicByName("old")
		require.False(t, ok)
		broken := &snapshot{err: errors.New("crc")}
		f.l.HandleLoadSnapshot(broken)
		require.True(t, broken.closed)
		require.Len(t, f.faults, 1)
	})
}

func batch(offset int64, epoch int32, recs ...metadata.Record) raft.CommittedBatch {
	b := raft.CommittedBatch{BaseOffset: offset, LastOffset: offset + int64(max(len(recs), 1)) - 1, Epoch: epoch}
	for _, rec := range recs {
		b.Records = append(b.Records, metadata.Encode(rec, 0))
	}
	return b
}

// What comes in one call goes the same way as what comes batch by batch: around transactions and control batches, over a change of the epoch, and
// up to a batch that is wrong.
func TestBatchesTogetherAreAppliedAsOneByOne(t *testing.T) {
	topic := func(name string, id byte) metadata.Record {
		return &metadata.TopicRecord{Name: name, TopicID: uuid.UUID{id}}
	}
	batches := []raft.CommittedBatch{
		batch(0, 1, topic("a", 1), topic("b", 2)), batch(2, 1), batch(3, 1, topic("c", 3)),
		batch(4, 1, &metadata.BeginTransactionRecord{}, topic("d", 4)), batch(6, 2), batch(7, 2, topic("e", 5)),
		batch(8, 2, topic("f", 6), &metadata.EndTransactionRecord{}, topic("g", 7)), batch(11, 2, topic("h", 8)),
		batch(12, 2, &metadata.BeginTransactionRecord{}), batch(13, 2, topic("never", 9)),
		batch(14, 2, &metadata.AbortTransactionRecord{}), batch(15, 3, topic("i", 10)), batch(16, 3, topic("j", 11)),
		batch(17, 3, topic("a", 12)), batch(18, 3, topic("k", 13)),
	}
	for end := 1; end <= len(batches); end++ {
		synctest.Test(t, func(t *testing.T) {
			f, g := start(t), start(t)
			defer f.stop()
			defer g.stop()
			one := f.subscribe()
			all := g.subscribe()
			for _, b := range batches[:end] {
				f.l.HandleCommit([]raft.CommittedBatch{b})
			}
			g.l.HandleCommit(batches[:end])
			last := batches[end-1].LastOffset
			f.hw.set(last + 1)
			g.hw.set(last + 1)
			synctest.Wait()
			if bad := last >= 17; bad {
				require.Len(t, f.faults, 1)
				require.Len(t, g.faults, 1)
				require.ErrorContains(t, g.faults[0], `topic "a" exists`)
				f.hw.set(17)
				g.hw.set(17)
			}
			<-f.l.Ready()
			<-g.l.Ready()
			synctest.Wait()
			require.Equal(t, *one, *all)
			require.Equal(t, f.l.Current().Offset, g.l.Current().Offset)
			require.Equal(t, f.l.Current().Epoch, g.l.Current().Epoch)
			for _, name := range []string{"a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "never"} {
				_, want := f.l.Current().TopicByName(name)
				_, got := g.l.Current().TopicByName(name)
				require.Equal(t, want, got, name)
			}
		})
	}
}

// A log that was written a record at a time is replayed at each start.
func BenchmarkReplay(b *testing.B) {
	var batches []raft.CommittedBatch
	value := "1"
	for i := range 10_000 {
		batches = append(batches, batch(int64(i), 1, &metadata.ConfigRecord{ResourceType: metadata.ResourceTopic, ResourceName: "a", Name: "retention.ms", Value: &value}))
	}
	b.ReportAllocs()
	for b.Loop() {
		l := New(Config{HighWatermark: (&hw{}).get, Logger: slog.New(slog.DiscardHandler)})
		l.HandleCommit(batches)
	}
}
