package server

import (
	"bytes"
	"errors"
	"io"
	"net"
	runtimemetrics "runtime/metrics"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kraft-dev/kraft-operator/internal/node/wire"
)

// stream is a connection that gives its bytes a few at a time, then ends.
type stream struct {
	net.Conn
	data []byte
	step int
}

func (s *stream) Read(b []byte) (int, error) {
	if len(s.data) == 0 {
		return 0, io.EOF
	}
	n := copy(b[:min(len(b), s.step)], s.data)
	s.data = s.data[n:]
	return n, nil
}

func (s *stream) SetReadDeadline(time.Time) error { return nil }

func TestFramesOfAllSizesArriveWhole(t *testing.T) {
	for _, step := range []int{1, 7, 511, 4096, 1 << 20} {
		var all []byte
		var want [][]byte
		for _, size := range []int{10, 11, 500, 504, 505, 4 << 10, trustedFrame, trustedFrame + 1, 5*trustedFrame + 3, 3 << 20} {
			if size/step > 100_000 {
				continue
			}
			frame := bytes.Repeat([]byte{byte(size)}, size)
			want = append(want, frame)
			all = append(all, sized(frame...)...)
		}
		in := newFrameReader(&stream{data: all, step: step}, time.Second)
		for i, frame := range want {
			size, key, version, err := in.prefix(100 << 20)
			require.NoError(t, err)
			require.Equal(t, len(frame), size)
			require.Equal(t, int16(frame[0])<<8|int16(frame[0]), key)
			require.Equal(t, key, version)
			got, err := in.body(size, i%2 == 0)
			require.NoError(t, err)
			require.True(t, bytes.Equal(frame, got))
		}
		_, _, _, err := in.prefix(100 << 20)
		require.ErrorIs(t, err, io.EOF)
	}
}

// FuzzFrameReader: whatever the stream and however it is cut, reading it ends with the stream,
// never panics, and allocates in proportion to what arrived, not to what was announced.
func FuzzFrameReader(f *testing.F) {
	f.Add(sized(0, 18, 0, 4, 0, 0, 0, 1, 0xff, 0xff), uint16(3))
	f.Add([]byte{6, 0x40, 0, 0, 0, 0, 0, 9, 1, 2, 3}, uint16(1))
	f.Add([]byte{0xff, 0xff, 0xff, 0xff}, uint16(9))
	f.Add(append(sized(make([]byte, 600)...), sized(make([]byte, 10)...)...), uint16(599))
	f.Fuzz(func(t *testing.T, data []byte, step uint16) {
		in := newFrameReader(&stream{data: data, step: int(step) + 1}, time.Second)
		sample := []runtimemetrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
		runtimemetrics.Read(sample)
		before, began := sample[0].Value.Uint64(), time.Now()
		left := len(data)
		for {
			size, _, _, err := in.prefix(100 << 20)
			if err == nil {
				var frame []byte
				frame, err = in.body(size, false)
				if err == nil {
					require.Len(t, frame, size)
					left -= 4 + size
					require.GreaterOrEqual(t, left, 0)
					continue
				}
			}
			require.True(t, errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
				errors.Is(err, wire.ErrMalformed) || errors.Is(err, wire.ErrTooLarge), "%v", err)
			break
		}
		runtimemetrics.Read(sample)
		require.Less(t, sample[0].Value.Uint64()-before, uint64(2<<20+8*len(data)))
		require.Less(t, time.Since(began), 2*time.Second)
	})
}
