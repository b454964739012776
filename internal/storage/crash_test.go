package storage_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kraft-dev/kraft-operator/internal/storage"
	"github.com/kraft-dev/kraft-operator/internal/storage/memfs"
	"github.com/kraft-dev/kraft-operator/internal/storage/record"
)

// history is what a log was asked to do, and so what may and what must be found after a crash.
type history struct {
	start   int64            // durable log start: nothing below it must be found
	durable map[int64][]byte // by base offset: must be found
	seen    map[string]bool  // every batch ever written: nothing else may be found
	current map[int64][]byte // as the log is now
	end     int64            // of durable
}

func newHistory() *history {
	return &history{durable: map[int64][]byte{}, seen: map[string]bool{}, current: map[int64][]byte{}}
}

func (h *history) appended(data []byte) {
	for len(data) > 0 {
		b, rest, _ := record.Split(data)
		h.seen[string(b)] = true
		h.current[b.BaseOffset()] = bytes.Clone(b)
		data = rest
	}
}

func (h *history) flushed(upTo int64) {
	for base, b := range h.current {
		if record.Batch(b).NextOffset() <= upTo {
			h.durable[base] = b
		}
	}
	h.end = max(h.end, upTo)
}

// truncating is called before: from then on nothing past offset must be found, though it may.
func (h *history) truncating(offset int64) {
	for base, b := range h.current {
		if record.Batch(b).LastOffset() >= offset {
			delete(h.current, base)
			delete(h.durable, base)
			h.end = min(h.end, base)
		}
	}
	h.end = min(h.end, offset)
}

func (h *history) check(t *testing.T, l *storage.Log) {
	t.Helper()
	require.GreaterOrEqual(t, l.EndOffset(), h.end, "flushed bytes are gone")
	found := map[int64][]byte{}
	next := int64(-1)
	for start := l.StartOffset(); start < l.EndOffset(); {
		s, _, err := l.Read(start, l.EndOffset(), 1, true)
		require.NoError(t, err)
		data, err := s.AppendTo(nil)
		require.NoError(t, err)
		b, _, err := record.Split(data)
		require.NoError(t, err)
		require.NoError(t, b.Validate())
		require.True(t, h.seen[string(b)], "offset %d holds a batch that nobody wrote", b.BaseOffset())
		require.True(t, next < 0 || next == b.BaseOffset(), "gap before %d", b.BaseOffset())
		found[b.BaseOffset()] = bytes.Clone(b)
		next, start = b.NextOffset(), b.NextOffset()
	}
	for base, b := range h.durable {
		if record.Batch(b).LastOffset() >= max(h.start, l.StartOffset()) {
			require.Equal(t, b, found[base], "the flushed batch at %d", base)
		}
	}
	require.LessOrEqual(t, l.StartOffset(), h.start)
}

// scenario runs random steps on a log until the file system stops. It returns what happened.
func scenario(t *testing.T, fsys *memfs.FS, rng *rand.Rand, opt storage.OpenOptions, steps int) *history {
	h := newHistory()
	cfg := smallConfig()
	cfg.SegmentBytes, cfg.Preallocate = 900, !opt.CutHoles
	l, _, err := storage.OpenLog(fsys, dir, topicID, cfg, opt)
	if err != nil {
		require.ErrorIs(t, err, memfs.ErrStopped)
		return h
	}
	epoch := int32(1)
	for range steps {
		if err = step(l, rng, h, &epoch); err != nil {
			break
		}
	}
	if err != nil && !errors.Is(err, memfs.ErrStopped) {
		require.NoError(t, err)
	}
	_ = l.Abandon()
	return h
}

func step(l *storage.Log, rng *rand.Rand, h *history, epoch *int32) error {
	switch n := rng.IntN(20); {
	case n < 11:
		b := record.NewBuilder(record.BuilderConfig{})
		for i := range 1 + rng.IntN(3) {
			b.Append(1000+l.EndOffset(), nil, fmt.Appendf(nil, "%d %d %0*d", *epoch, rng.Uint64(), rng.IntN(150), i))
		}
		batch, _ := b.Build()
		if _, err := l.AppendLeader(batch, *epoch, 5, storage.AppendOptions{}); err != nil {
			// The bytes may have reached the disk; the offsets in them were set.
			h.seen[string(batch)] = true
			return err
		}
		h.appended(batch)
	case n < 16:
		if err := l.Flush(); err != nil {
			return err
		}
		h.flushed(l.FlushedOffset())
	case n < 17:
		*epoch++
		return l.AssignEpoch(*epoch, l.EndOffset())
	case n < 18 && l.EndOffset() > l.StartOffset():
		*epoch++ // as after an election: what was cut is written again by another leader
		to := l.StartOffset() + rng.Int64N(l.EndOffset()-l.StartOffset())
		h.truncating(to)
		_, err := l.TruncateTo(to)
		return err
	case n < 19:
		to := l.StartOffset() + rng.Int64N(l.EndOffset()-l.StartOffset()+1)/2
		h.start = max(h.start, to)
		if err := l.AdvanceStart(to); err != nil {
			return err
		}
		_, err := l.RemovePending(1 << 40)
		return err
	}
	return nil
}

func snapshotOf(t *testing.T, fsys *memfs.FS) map[string]string {
	out := map[string]string{}
	names, err := fsys.List(dir)
	if err != nil {
		return out
	}
	for _, n := range names {
		out[n] = string(getFile(t, fsys, dir+"/"+n))
	}
	return out
}

// After a crash at every operation of seeded scenarios: nothing flushed is lost, nothing unwritten is found, and the log
// opens, or refuses because sound batches follow the damage and then changes nothing.
func TestCrashAtEveryOperation(t *testing.T) {
	for name, opt := range map[string]storage.OpenOptions{
		"metadata log":  storage.MetadataOpenOptions(0),
		"partition log": {CutHoles: true},
	} {
		t.Run(name, func(t *testing.T) {
			opened, refused := 0, 0
			for seed := uint64(0); seed < 4; seed++ {
				total := memfs.New()
				scenario(t, total, rand.New(rand.NewPCG(seed, 1)), opt, 60)
				for stop := int64(0); stop < total.Ops(); stop++ {
					fsys := memfs.New()
					fsys.StopAfter(stop)
					h := scenario(t, fsys, rand.New(rand.NewPCG(seed, 1)), opt, 60)
					for crash := range uint64(5) {
						if t.Failed() {
							return
						}
						ok := t.Run(fmt.Sprintf("seed %d stop %d crash %d", seed, stop, crash), func(t *testing.T) {
							if reopen(t, fsys.CrashClone(crash), h, opt, crash%4 < 2) {
								opened++
							} else {
								refused++
							}
						})
						require.True(t, ok)
					}
				}
			}
			t.Logf("opened %d, refused %d", opened, refused)
			require.Greater(t, opened, 20*refused)
			require.True(t, refused == 0 || !opt.CutHoles)
		})
	}
}

func reopen(t *testing.T, fsys *memfs.FS, h *history, opt storage.OpenOptions, mustOpen bool) bool {
	opt.DurableOffset = h.end
	before := snapshotOf(t, fsys)
	cfg := smallConfig()
	cfg.Preallocate = !opt.CutHoles
	l, report, err := storage.OpenLog(fsys, dir, topicID, cfg, opt)
	if err != nil {
		var corrupt *storage.CorruptError
		require.ErrorAs(t, err, &corrupt)
		require.False(t, mustOpen, "%v", err)
		require.GreaterOrEqual(t, corrupt.Offset, h.end, "flushed bytes are gone: %v", err)
		require.GreaterOrEqual(t, corrupt.ValidAfter, corrupt.Offset)
		require.Equal(t, before, snapshotOf(t, fsys), "refusing changed the disk")
		return false
	}
	if report.Created {
		require.Zero(t, h.end)
	}
	h.check(t, l)
	end := l.EndOffset()
	// It goes on: what is appended and flushed now survives the next crash, which loses all that isn't synced.
	last, _ := l.LatestEpoch()
	b := batch(t, 2, 77, record.None)
	info, err := l.AppendLeader(b, last.Epoch+1, 5, storage.AppendOptions{})
	require.NoError(t, err)
	require.Equal(t, end, info.First)
	require.NoError(t, l.Flush())
	again := fsys.CrashClone(0)
	opt.DurableOffset = l.FlushedOffset()
	l2, _, err := storage.OpenLog(again, dir, topicID, cfg, opt)
	require.NoError(t, err)
	require.Equal(t, end+2, l2.EndOffset())
	got, ok := l2.LatestEpoch()
	require.True(t, ok)
	require.Equal(t, storage.EpochEntry{Epoch: last.Epoch + 1, StartOffset: end}, got)
	require.NoError(t, l2.Close())
	return true
}
