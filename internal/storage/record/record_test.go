package record_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"strings"
	"testing"

	"github.com/klauspost/compress/s2"
	"github.com/stretchr/testify/require"

	"github.com/kraft-dev/kraft-operator/internal/storage/record"
)

var codecs = []record.Codec{record.None, record.Gzip, record.Snappy, record.LZ4, record.Zstd}

func build(t testing.TB, cfg record.BuilderConfig, n int) record.Batch {
	t.Helper()
	b := record.NewBuilder(cfg)
	for i := range n {
		b.Append(5000+int64(i), fmt.Appendf(nil, "key %d", i), bytes.Repeat([]byte("value "), i), record.Header{Key: "h", Value: []byte{byte(i)}}, record.Header{Key: "null"})
	}
	out, err := b.Build()
	require.NoError(t, err)
	return bytes.Clone(out)
}

// seal computes the CRC again after a test changed something under it.
func seal(b record.Batch) record.Batch {
	binary.BigEndian.PutUint32(b[17:], crc32.Checksum(b[21:], crc32.MakeTable(crc32.Castagnoli)))
	return b
}

func TestBuildAndRead(t *testing.T) {
	for _, codec := range codecs {
		t.Run(codec.String(), func(t *testing.T) {
			b := build(t, record.BuilderConfig{BaseOffset: 100, Epoch: 3, Compression: codec, Idempotent: true, ProducerID: 9, ProducerEpoch: 2, BaseSequence: math.MaxInt32 - 1}, 50)
			require.NoError(t, b.Validate())
			require.Equal(t, codec, b.Compression())
			require.EqualValues(t, 100, b.BaseOffset())
			require.EqualValues(t, 149, b.LastOffset())
			require.EqualValues(t, 3, b.Epoch())
			require.EqualValues(t, 5000, b.BaseTimestamp())
			require.EqualValues(t, 5049, b.MaxTimestamp())
			require.EqualValues(t, 47, b.LastSequence(), "sequences wrap")
			i := 0
			for r, err := range b.Records(0) {
				require.NoError(t, err)
				require.EqualValues(t, 100+i, r.Offset)
				require.EqualValues(t, 5000+i, r.Timestamp)
				require.Equal(t, fmt.Sprintf("key %d", i), string(r.Key))
				require.Equal(t, strings.Repeat("value ", i), string(r.Value))
				require.NotNil(t, r.Value)
				require.Equal(t, []record.Header{{Key: "h", Value: []byte{byte(i)}}, {Key: "null"}}, r.Headers)
				i++
			}
			require.Equal(t, 50, i)

			b.SetBaseOffset(7)
			b.SetEpoch(8)
			require.NoError(t, b.Validate(), "offset and epoch lie outside the CRC")
			b.SetLogAppendTime(99)
			require.NoError(t, b.Validate())
			for r, err := range b.Records(0) {
				require.NoError(t, err)
				require.EqualValues(t, 99, r.Timestamp)
			}
			for _, to := range codecs {
				c, err := record.Recompress(b, to, 0)
				require.NoError(t, err)
				require.NoError(t, c.Validate())
				require.Equal(t, to, c.Compression())
				require.True(t, c.LogAppendTime())
				n := 0
				for _, err := range c.Records(0) {
					require.NoError(t, err)
					n++
				}
				require.Equal(t, 50, n)
			}
		})
	}
}

// Clients that aren't Java's send snappy without its framing.
func TestRawSnappy(t *testing.T) {
	src := bytes.Repeat([]byte("abc"), 1000)
	out, err := record.Decompress(nil, record.Snappy, s2.EncodeSnappy(nil, src), 0)
	require.NoError(t, err)
	require.Equal(t, src, out)
}

func TestSplit(t *testing.T) {
	one := build(t, record.BuilderConfig{}, 3)
	two := append(bytes.Clone(one), one...)
	b, rest, err := record.Split(two)
	require.NoError(t, err)
	require.Equal(t, one, b)
	require.Equal(t, []byte(one), rest)
	require.Equal(t, len(b), cap(b), "appending to a batch must not write into the next")
	_, _, err = record.Split(nil)
	require.Equal(t, io.EOF, err)
	for n := 1; n < len(one); n++ {
		_, _, err = record.Split(one[:n])
		require.ErrorIs(t, err, io.ErrUnexpectedEOF, "%d bytes", n)
	}
	for _, length := range []uint32{0, 48, 1 << 31, 1<<32 - 1, math.MaxInt32} {
		bad := bytes.Clone(one)
		binary.BigEndian.PutUint32(bad[8:], length)
		_, _, err = record.Split(bad)
		require.ErrorIs(t, err, record.ErrCorrupt, "%d", length)
	}
	for _, magic := range []byte{0, 1, 3, 255} {
		bad := bytes.Clone(one)
		bad[16] = magic
		_, _, err = record.Split(bad)
		require.ErrorIs(t, err, record.ErrMagic)
	}
}

func TestValidateFindsEveryFlippedBit(t *testing.T) {
	b := build(t, record.BuilderConfig{}, 3)
	for at := range b {
		for bit := range 8 {
			bad := record.Batch(bytes.Clone(b))
			bad[at] ^= 1 << bit
			err := bad.Validate()
			if at < 8 || at >= 12 && at < 16 { // base offset, epoch
				continue
			}
			require.ErrorIs(t, err, record.ErrCorrupt, "byte %d bit %d", at, bit)
		}
	}
}

func TestBombsAreBounded(t *testing.T) {
	zeros := make([]byte, 8<<20)
	for _, codec := range codecs[1:] {
		packed, err := record.Compress(nil, codec, zeros)
		require.NoError(t, err)
		_, err = record.Decompress(nil, codec, packed, 1<<20)
		require.ErrorIs(t, err, record.ErrTooLarge, codec)
		_, err = record.Decompress(nil, codec, packed, len(zeros)-1)
		require.ErrorIs(t, err, record.ErrTooLarge, codec)
		out, err := record.Decompress([]byte("x"), codec, packed, len(zeros))
		require.NoError(t, err, codec)
		require.Len(t, out, len(zeros)+1)
	}
	// A snappy block of 5 bytes that claims 1 GiB.
	_, err := record.Decompress(nil, record.Snappy, []byte{0x80, 0x80, 0x80, 0x80, 0x04}, 1<<31-1)
	require.ErrorIs(t, err, record.ErrCorrupt)
}

func TestDecompressRefusesGarbage(t *testing.T) {
	for _, codec := range codecs[1:] {
		packed, err := record.Compress(nil, codec, []byte(strings.Repeat("hello, world; ", 500)))
		require.NoError(t, err)
		for cut := 1; cut < len(packed); cut++ {
			out, err := record.Decompress(nil, codec, packed[:cut], 0)
			if err == nil { // a cut on a frame or chunk boundary is a shorter, sound text
				require.Less(t, len(out), 7000, codec)
				continue
			}
			require.ErrorIs(t, err, record.ErrCorrupt, codec)
		}
	}
	_, err := record.Decompress(nil, 7, []byte{1}, 0)
	require.ErrorIs(t, err, record.ErrCorrupt)
}

func TestValidateProduce(t *testing.T) {
	ok := record.BuilderConfig{}
	with := func(change func(record.Batch)) record.Batch {
		b := build(t, ok, 3)
		change(b)
		return seal(b)
	}
	keyless := record.NewBuilder(ok)
	keyless.Append(1, nil, []byte("v"))
	noKey, err := keyless.Build()
	require.NoError(t, err)
	for _, tc := range []struct {
		name  string
		batch record.Batch
		opts  record.ProduceOptions
		err   error
	}{
		{"sound", build(t, ok, 3), record.ProduceOptions{RequireKeys: true, MaxBatchBytes: 1000}, nil},
		{"too large", build(t, ok, 3), record.ProduceOptions{MaxBatchBytes: 100}, record.ErrBatchTooLarge},
		{"not at offset 0", with(func(b record.Batch) { b.SetBaseOffset(1) }), record.ProduceOptions{}, record.ErrInvalid},
		{"no records", build(t, ok, 0), record.ProduceOptions{}, record.ErrInvalid},
		{"more records than it says", with(func(b record.Batch) { b[60], b[26] = 2, 1 }), record.ProduceOptions{}, record.ErrInvalid},
		{"fewer records than it says", with(func(b record.Batch) { b[60], b[26] = 4, 3 }), record.ProduceOptions{}, record.ErrCorrupt},
		{"count and last offset disagree", with(func(b record.Batch) { b[26] = 5 }), record.ProduceOptions{}, record.ErrInvalid},
		{"control", build(t, record.BuilderConfig{Control: true}, 1), record.ProduceOptions{}, record.ErrInvalid},
		{"control of a coordinator", build(t, record.BuilderConfig{Control: true}, 1), record.ProduceOptions{AllowControl: true}, nil},
		{"transactional without producer", build(t, record.BuilderConfig{Transactional: true}, 1), record.ProduceOptions{}, record.ErrInvalid},
		{"producer without sequence", build(t, record.BuilderConfig{Idempotent: true, ProducerID: 1, BaseSequence: -1}, 1), record.ProduceOptions{}, record.ErrInvalid},
		{"producer without epoch", build(t, record.BuilderConfig{Idempotent: true, ProducerID: 1, ProducerEpoch: -1}, 1), record.ProduceOptions{}, record.ErrInvalid},
		{"codec 5", with(func(b record.Batch) { b[22] = 5 }), record.ProduceOptions{}, record.ErrCorrupt},
		{"says gzip, isn't", with(func(b record.Batch) { b[22] = 1 }), record.ProduceOptions{}, record.ErrCorrupt},
		{"no key", noKey, record.ProduceOptions{RequireKeys: true}, record.ErrInvalid},
		{"offset deltas with a gap", with(func(b record.Batch) { b[61+3] = 2 }), record.ProduceOptions{}, record.ErrInvalid},
		{"too old", build(t, ok, 3), record.ProduceOptions{NowMs: 10000, TimestampBeforeMaxMs: 4999}, record.ErrTimestamp},
		{"old enough", build(t, ok, 3), record.ProduceOptions{NowMs: 10000, TimestampBeforeMaxMs: 5000}, nil},
		{"too new", build(t, ok, 3), record.ProduceOptions{NowMs: 1000, TimestampAfterMaxMs: 4001}, record.ErrTimestamp},
		{"new enough", build(t, ok, 3), record.ProduceOptions{NowMs: 1000, TimestampAfterMaxMs: 4002}, nil},
	} {
		t.Run(tc.name, func(t *testing.T) { require.ErrorIs(t, record.ValidateProduce(tc.batch, tc.opts), tc.err) })
	}
}

func TestCodecNames(t *testing.T) {
	for _, c := range codecs {
		got, err := record.ParseCodec(c.String())
		require.NoError(t, err)
		require.Equal(t, c, got)
	}
	_, err := record.ParseCodec("brotli")
	require.Error(t, err)
}

func TestRecordSize(t *testing.T) {
	for _, n := range []int{0, 1, 63, 64, 200, 8191, 8192, 100000} {
		h := []record.Header{{Key: "k", Value: make([]byte, n/2)}, {Key: "n"}}
		got := record.AppendRecord(nil, int32(n), int64(-n), make([]byte, n), nil, h)
		require.Len(t, got, record.RecordSize(int32(n), int64(-n), make([]byte, n), nil, h))
	}
}

func FuzzBatch(f *testing.F) {
	for _, c := range codecs {
		f.Add([]byte(build(f, record.BuilderConfig{Compression: c}, 3)))
	}
	f.Add([]byte(build(f, record.BuilderConfig{Control: true}, 1)))
	f.Fuzz(func(t *testing.T, data []byte) {
		for len(data) > 0 {
			b, rest, err := record.Split(data)
			if err != nil {
				return
			}
			require.Len(t, data, len(b)+len(rest))
			valid := b.Validate()
			if valid == nil {
				require.GreaterOrEqual(t, b.LastOffset(), b.BaseOffset())
			}
			// With its CRC mended a hostile batch gets as far as one can.
			mended := seal(bytes.Clone(b))
			perr := record.ValidateProduce(mended, record.ProduceOptions{MaxDecompressedBytes: 1 << 20})
			n, total := int32(0), 0
			var rerr error
			for r, err := range mended.Records(1 << 20) {
				if rerr = err; err != nil {
					break
				}
				n++
				total += len(r.Key) + len(r.Value)
			}
			require.LessOrEqual(t, total, 1<<20+len(b))
			if perr == nil {
				require.NoError(t, rerr, "what produce takes can be read")
				require.Equal(t, mended.Count(), n)
			}
			data = rest
		}
	})
}

func FuzzDecompress(f *testing.F) {
	for _, c := range codecs {
		packed, err := record.Compress(nil, c, []byte(strings.Repeat("seed ", 50)))
		require.NoError(f, err)
		f.Add(byte(c), packed)
	}
	f.Add(byte(record.Snappy), s2.EncodeSnappy(nil, []byte("raw raw raw raw")))
	f.Fuzz(func(t *testing.T, codec byte, data []byte) {
		out, err := record.Decompress(nil, record.Codec(codec%5), data, 1<<16)
		if err == nil {
			require.LessOrEqual(t, len(out), 1<<16)
		}
	})
}

func BenchmarkValidateProduce(b *testing.B) {
	for _, c := range codecs {
		b.Run(c.String(), func(b *testing.B) {
			batch := build(b, record.BuilderConfig{Compression: c}, 100)
			b.SetBytes(int64(len(batch)))
			b.ReportAllocs()
			for b.Loop() {
				if err := record.ValidateProduce(batch, record.ProduceOptions{}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
