package disk

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kraft-dev/kraft-operator/internal/quorum"
	"github.com/kraft-dev/kraft-operator/internal/storage"
	"github.com/kraft-dev/kraft-operator/internal/storage/memfs"
	"github.com/kraft-dev/kraft-operator/internal/storage/record"
)

// TestTailReadsAsTheFileDoes appends, cuts and reads at random, and compares each read with one that goes to the file.
func TestTailReadsAsTheFileDoes(t *testing.T) {
	for seed := range uint64(20) {
		rng := rand.New(rand.NewPCG(seed, 1))
		d, err := Open(memfs.New(), "/data", storage.MetadataLogConfig(1<<30, 1<<40), 0)
		require.NoError(t, err)
		fromMemory := 0
		for range 300 {
			end := d.EndOffset()
			switch {
			case rng.IntN(20) == 0 && end > 0:
				require.NoError(t, d.Truncate(quorum.Truncate{To: quorum.Offset(batchStart(t, d, rng.Int64N(end)))}))
			case rng.IntN(2) == 0:
				require.NoError(t, d.Append(someBatches(rng, end), 0))
			default:
				from, limit, size := max(0, end-rng.Int64N(200)), end-rng.Int64N(5), rng.IntN(300<<10)
				got, ok := d.tail.read(from, limit, size)
				if !ok {
					continue
				}
				fromMemory++
				s, _, err := d.log.Read(from, limit, size, true)
				require.NoError(t, err)
				want, err := s.AppendTo(nil)
				require.NoError(t, err)
				require.True(t, bytes.Equal(want, got), "seed %d: from %d below %d, %d bytes: %d and %d", seed, from, limit, size, len(want), len(got))
			}
		}
		require.NotZero(t, fromMemory)
		require.LessOrEqual(t, d.tail.bytes, tailBytes)
	}
}

// batchStart is where the batch begins that holds an offset.
func batchStart(t *testing.T, d *Disk, offset int64) int64 {
	s, _, err := d.log.Read(offset, d.EndOffset(), 1, true)
	require.NoError(t, err)
	data, err := s.AppendTo(nil)
	require.NoError(t, err)
	b, _, err := record.Split(data)
	require.NoError(t, err)
	return b.BaseOffset()
}

func someBatches(rng *rand.Rand, base int64) quorum.Append {
	e := quorum.Append{Base: quorum.Offset(base), Epoch: 1}
	for range 1 + rng.IntN(4) {
		b := record.NewBuilder(record.BuilderConfig{BaseOffset: base, Epoch: 1})
		for range 1 + rng.IntN(5) {
			b.Append(0, nil, make([]byte, rng.IntN(1<<rng.IntN(15))))
			base++
		}
		batch, _ := b.Build()
		e.Data = append(e.Data, batch...)
	}
	e.End = quorum.Offset(base)
	return e
}
