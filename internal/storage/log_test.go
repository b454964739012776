package storage_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kraft-dev/kraft-operator/internal/storage"
	"github.com/kraft-dev/kraft-operator/internal/storage/memfs"
	"github.com/kraft-dev/kraft-operator/internal/storage/record"
	"github.com/kraft-dev/kraft-operator/internal/uuid"
)

var topicID = uuid.UUID{1, 2, 3}

const dir = "/data/t-0"

func smallConfig() storage.LogConfig {
	cfg := storage.DefaultLogConfig()
	cfg.SegmentBytes, cfg.IndexIntervalBytes, cfg.TimestampAfterMaxMs = 2000, 200, -1
	return cfg
}

// batch has n records of about 30 bytes.
func batch(t testing.TB, n int, ts int64, codec record.Codec) []byte {
	t.Helper()
	b := record.NewBuilder(record.BuilderConfig{Compression: codec})
	for i := range n {
		b.Append(ts+int64(i), fmt.Appendf(nil, "key-%d", i), fmt.Appendf(nil, "value-%d-%d", ts, i))
	}
	out, err := b.Build()
	require.NoError(t, err)
	return bytes.Clone(out)
}

func openLog(t testing.TB, fsys storage.FS, cfg storage.LogConfig, opt storage.OpenOptions) *storage.Log {
	t.Helper()
	l, _, err := storage.OpenLog(fsys, dir, topicID, cfg, opt)
	require.NoError(t, err)
	return l
}

func appendN(t testing.TB, l *storage.Log, batches, records int, epoch int32) {
	t.Helper()
	for range batches {
		at := l.EndOffset()
		info, err := l.AppendLeader(batch(t, records, 1000+at, record.None), epoch, 1000+at, storage.AppendOptions{})
		require.NoError(t, err)
		require.Equal(t, at, info.First)
		require.Equal(t, at+int64(records)-1, info.Last)
	}
}

// readAll reads from start in steps of maxBytes and returns the offsets of all batches.
func readAll(t testing.TB, l *storage.Log, start int64, maxBytes int) (offsets []int64) {
	t.Helper()
	for start < l.EndOffset() {
		s, _, err := l.Read(start, l.EndOffset(), maxBytes, true)
		require.NoError(t, err)
		data, err := s.AppendTo(nil)
		require.NoError(t, err)
		require.NotEmpty(t, data, "offset %d of %d", start, l.EndOffset())
		for len(data) > 0 {
			b, rest, err := record.Split(data)
			require.NoError(t, err)
			require.NoError(t, b.Validate())
			require.GreaterOrEqual(t, b.LastOffset(), start)
			offsets = append(offsets, b.BaseOffset())
			start, data = b.NextOffset(), rest
		}
	}
	return offsets
}

func TestLogReadsBackWhatItAppended(t *testing.T) {
	for name, fsys := range map[string]storage.FS{"memory": memfs.New(), "disk": rooted{storage.OS(), t.TempDir()}} {
		t.Run(name, func(t *testing.T) {
			l := openLog(t, fsys, smallConfig(), storage.OpenOptions{})
			appendN(t, l, 100, 3, 1)
			require.Greater(t, l.SegmentCount(), 3)
			var want []int64
			for off := int64(0); off < 300; off += 3 {
				want = append(want, off)
			}
			for _, maxBytes := range []int{1, 150, 500, 1 << 20} {
				require.Equal(t, want, readAll(t, l, 0, maxBytes), "maxBytes %d", maxBytes)
			}
			require.Equal(t, want[67:], readAll(t, l, 203, 1000), "from inside a batch")
			require.NoError(t, l.Close())

			for _, opt := range []storage.OpenOptions{{Clean: true}, {}, {RecoveryPoint: 150}} {
				l = openLog(t, fsys, smallConfig(), opt)
				require.EqualValues(t, 300, l.EndOffset())
				require.EqualValues(t, 300, l.FlushedOffset())
				require.Equal(t, want, readAll(t, l, 0, 700), "%+v", opt)
				require.Equal(t, []storage.EpochEntry{{Epoch: 1}}, l.Epochs())
				require.NoError(t, l.Close())
			}
		})
	}
}

func TestReadBounds(t *testing.T) {
	l := openLog(t, memfs.New(), smallConfig(), storage.OpenOptions{})
	appendN(t, l, 10, 3, 1)
	size := len(batch(t, 3, 1000, record.None))
	for _, tc := range []struct {
		name          string
		start, max    int64
		bytes         int
		one           bool
		first, length int64 // in batches
		err           error
	}{
		{"everything that fits", 0, 30, 1 << 20, false, 0, 10, nil},
		{"whole batches only", 0, 30, 2*size + 5, false, 0, 2, nil},
		{"nothing fits", 0, 30, size - 1, false, 0, 0, nil},
		{"nothing fits but one is wanted", 0, 30, 1, true, 0, 1, nil},
		{"from inside a batch", 4, 30, 1 << 20, false, 1, 9, nil},
		{"below the high watermark only", 0, 9, 1 << 20, false, 0, 3, nil},
		{"a batch across the high watermark stays hidden", 0, 10, 1 << 20, true, 0, 3, nil},
		{"at the high watermark", 9, 9, 1 << 20, true, 3, 0, nil},
		{"at the end", 30, 30, 1 << 20, true, 10, 0, nil},
		{"past the end", 31, 31, 1 << 20, true, 0, 0, storage.ErrOffsetOutOfRange},
		{"negative", -1, 30, 1 << 20, true, 0, 0, storage.ErrOffsetOutOfRange},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s, m, err := l.Read(tc.start, tc.max, tc.bytes, tc.one)
			require.ErrorIs(t, err, tc.err)
			if err != nil {
				return
			}
			require.EqualValues(t, tc.length*int64(size), s.Len())
			require.Equal(t, storage.OffsetMetadata{Offset: tc.start, Position: tc.first * int64(size)}, m)
			if s.Len() > 0 {
				require.Equal(t, m.Position, s.Position())
			}
		})
	}
}

func TestRandomReadsAgreeWithAModel(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	l := openLog(t, memfs.New(), smallConfig(), storage.OpenOptions{})
	type b struct{ base, last, size int64 }
	var model []b
	for range 300 {
		at := l.EndOffset()
		data := batch(t, 1+rng.IntN(9), at, record.None)
		info, err := l.AppendLeader(data, 1, at, storage.AppendOptions{})
		require.NoError(t, err)
		model = append(model, b{info.First, info.Last, int64(len(data))})
	}
	for range 3000 {
		start := rng.Int64N(l.EndOffset())
		maxOffset := start + rng.Int64N(l.EndOffset()-start+1)
		maxBytes := rng.IntN(3000)
		s, m, err := l.Read(start, maxOffset, maxBytes, true)
		require.NoError(t, err)
		data, err := s.AppendTo(nil)
		require.NoError(t, err)
		i := 0
		for model[i].last < start {
			i++
		}
		got := int64(0)
		for len(data) > 0 {
			rb, rest, err := record.Split(data)
			require.NoError(t, err)
			require.Equal(t, model[i].base, rb.BaseOffset())
			require.Less(t, rb.LastOffset(), maxOffset)
			got += int64(len(rb))
			i, data = i+1, rest
		}
		require.True(t, got <= int64(maxBytes) || got == model[i-1].size)
		// It stopped for a reason: the next batch passes a bound, or begins another segment.
		if i < len(model) && model[i].last < maxOffset && got+model[i].size <= int64(maxBytes) {
			next, err := l.Metadata(model[i].base)
			require.NoError(t, err)
			require.Greater(t, next.SegmentBase, m.SegmentBase)
		}
	}
}

// rooted puts a file system under a folder.
type rooted struct {
	storage.FS
	root string
}
