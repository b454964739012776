package storage_test

import (
	"context"
	"errors"
	"io/fs"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/kraft-dev/kraft-operator/internal/storage"
	"github.com/kraft-dev/kraft-operator/internal/storage/memfs"
	"github.com/kraft-dev/kraft-operator/internal/storage/record"
)

// One writer appends, truncates and deletes while readers read below a mark that is never truncated, and others flush.
func TestReadersBesideAWriter(t *testing.T) {
	cfg := smallConfig()
	l := openLog(t, memfs.New(), cfg, storage.OpenOptions{})
	appendN(t, l, 10, 3, 1)
	ctx, stop := context.WithCancel(t.Context())
	g, ctx := errgroup.WithContext(ctx)
	for seed := range uint64(3) {
		g.Go(func() error { return readLoop(ctx, l, rand.New(rand.NewPCG(seed, 0))) })
	}
	g.Go(func() error {
		for ctx.Err() == nil {
			if err := l.Flush(); err != nil {
				return err
			}
			if l.FlushedOffset() > l.EndOffset()+1000 {
				return errors.New("flushed past the end")
			}
			l.ExpireProducers(0)
			l.SetConfig(cfg)
		}
		return nil
	})
	rng := rand.New(rand.NewPCG(9, 9))
	epoch := int32(1)
	for range 600 {
		switch rng.IntN(10) {
		case 0:
			epoch++
			_, err := l.TruncateTo(max(l.EndOffset()-rng.Int64N(20), l.StartOffset()))
			require.NoError(t, err)
		case 1:
			require.NoError(t, l.AdvanceStart(min(l.EndOffset(), l.StartOffset()+rng.Int64N(20))))
			_, err := l.RemovePending(rng.Int64N(1 << 40))
			require.NoError(t, err)
		default:
			appendN(t, l, 1, 3, epoch)
		}
	}
	stop()
	require.NoError(t, g.Wait())
	require.NoError(t, l.Close())
	require.ErrorIs(t, l.Flush(), storage.ErrClosed)
}

func readLoop(ctx context.Context, l *storage.Log, rng *rand.Rand) error {
	for ctx.Err() == nil {
		start, end := l.StartOffset(), l.EndOffset()
		at := start + rng.Int64N(max(end-start, 1))
		s, _, err := l.Read(at, end, 1+rng.IntN(2000), true)
		if errors.Is(err, storage.ErrOffsetOutOfRange) {
			continue
		} else if err != nil {
			return err
		}
		data, err := s.AppendTo(nil)
		if err != nil { // truncated or removed after the read: what a slice allows
			continue
		}
		if len(data) > 0 {
			if _, _, err := record.Split(data); errors.Is(err, record.ErrCorrupt) {
				return err
			}
		}
		if _, _, err := l.OffsetForTimestamp(1000+at, end); err != nil && !errors.Is(err, fs.ErrClosed) {
			return err
		}
		l.EndOffsetFor(1)
		l.Epochs()
		l.Producers()
		l.Size()
	}
	return nil
}

func benchLog(b *testing.B, cfg storage.LogConfig) *storage.Log {
	l, _, err := storage.OpenLog(storage.OS(), b.TempDir()+"/t-0", topicID, cfg, storage.OpenOptions{CutHoles: true})
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, l.Abandon()) })
	return l
}

func BenchmarkAppendLeader(b *testing.B) {
	for name, size := range map[string]int{"1KiB": 30, "16KiB": 500} {
		for _, origin := range []storage.Origin{storage.OriginClient, storage.OriginCoordinator} {
			b.Run(name+map[storage.Origin]string{storage.OriginClient: "/client", storage.OriginCoordinator: "/trusted"}[origin], func(b *testing.B) {
				cfg := storage.DefaultLogConfig()
				cfg.TimestampAfterMaxMs = -1
				l := benchLog(b, cfg)
				data := batch(b, size, 1000, record.None)
				b.SetBytes(int64(len(data)))
				b.ReportAllocs()
				for b.Loop() {
					record.Batch(data).SetBaseOffset(0)
					if _, err := l.AppendLeader(data, 1, 1000, storage.AppendOptions{Origin: origin}); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

func BenchmarkAppendAndFlush(b *testing.B) {
	l := benchLog(b, storage.DefaultLogConfig())
	data := batch(b, 30, 1000, record.None)
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		record.Batch(data).SetBaseOffset(0)
		if _, err := l.AppendLeader(data, 1, 1000, storage.AppendOptions{}); err != nil {
			b.Fatal(err)
		}
		if err := l.Flush(); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkRead(b *testing.B) {
	l := benchLog(b, storage.DefaultLogConfig())
	for range 20000 {
		_, err := l.AppendLeader(batch(b, 30, 1000, record.None), 1, 1000, storage.AppendOptions{})
		require.NoError(b, err)
	}
	end := l.EndOffset()
	for _, bc := range []struct {
		name     string
		from     func(*rand.Rand) int64
		maxBytes int
	}{
		{"tail", func(*rand.Rand) int64 { return end - 30 }, 1 << 20},
		{"random 1MiB", func(r *rand.Rand) int64 { return r.Int64N(end) }, 1 << 20},
		{"random 4KiB", func(r *rand.Rand) int64 { return r.Int64N(end) }, 4 << 10},
	} {
		b.Run(bc.name, func(b *testing.B) {
			rng := rand.New(rand.NewPCG(1, 1))
			b.ReportAllocs()
			for b.Loop() {
				if _, _, err := l.Read(bc.from(rng), end, bc.maxBytes, true); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkOpenUnclean(b *testing.B) {
	cfg := storage.DefaultLogConfig()
	dir := b.TempDir() + "/t-0"
	l, _, err := storage.OpenLog(storage.OS(), dir, topicID, cfg, storage.OpenOptions{CutHoles: true})
	require.NoError(b, err)
	for range 20000 {
		_, err := l.AppendLeader(batch(b, 30, 1000, record.None), 1, 1000, storage.AppendOptions{})
		require.NoError(b, err)
	}
	require.NoError(b, l.Abandon())
	b.SetBytes(l.Size())
	for b.Loop() {
		l, _, err := storage.OpenLog(storage.OS(), dir, topicID, cfg, storage.OpenOptions{CutHoles: true})
		require.NoError(b, err)
		require.NoError(b, l.Abandon())
	}
}
