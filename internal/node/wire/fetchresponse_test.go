package wire

import (
	"bytes"
	"io"
	"math/rand/v2"
	"reflect"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// join is what a list of segments puts on the wire.
func join(t testing.TB, segs []Segment) []byte {
	var b bytes.Buffer
	for _, s := range segs {
		if s.File == nil {
			b.Write(s.Bytes)
			continue
		}
		_, err := io.Copy(&b, io.NewSectionReader(s.File, s.Off, s.Len))
		require.NoError(t, err)
	}
	return b.Bytes()
}

func randomFetchResponse(r *rand.Rand, version int16) *kmsg.FetchResponse {
	resp := kmsg.NewPtrFetchResponse()
	fill(r, reflect.ValueOf(resp).Elem())
	for t := range resp.Topics {
		for p := range resp.Topics[t].Partitions {
			part := &resp.Topics[t].Partitions[p]
			if r.IntN(2) == 0 {
				part.DivergingEpoch.Default()
			}
			if r.IntN(2) == 0 {
				part.CurrentLeader.Default()
			}
			if r.IntN(2) == 0 {
				part.SnapshotID.Default()
			}
			if r.IntN(3) == 0 {
				part.AbortedTransactions = nil
			}
			if r.IntN(3) == 0 {
				part.UnknownTags.Set(77, []byte("later"))
			}
			part.RecordBatches = make([]byte, r.IntN(400))
			if r.IntN(5) == 0 {
				part.RecordBatches = nil
			}
			for i := range part.RecordBatches {
				part.RecordBatches[i] = byte(r.Uint32())
			}
		}
	}
	if r.IntN(2) == 0 {
		resp.Brokers = nil
	}
	resp.SetVersion(version)
	return resp
}

func TestFetchSegmentsMatchKmsg(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 10))
	compared := 0
	for v := int16(4); v <= 18; v++ {
		for range 300 {
			resp := randomFetchResponse(r, v)
			require.Equal(t, resp.AppendTo(nil), join(t, FetchSegments(resp, nil)), "v%d", v)

			// The same with records that lie in files, in one to three pieces.
			want := *resp
			all := map[[2]int][]byte{}
			for i := range want.Topics {
				for p := range want.Topics[i].Partitions {
					part := &want.Topics[i].Partitions[p]
					if part.RecordBatches == nil {
						part.RecordBatches = []byte{}
					}
					all[[2]int{i, p}] = part.RecordBatches
				}
			}
			bytesWant := want.AppendTo(nil)
			for i := range want.Topics {
				for p := range want.Topics[i].Partitions {
					want.Topics[i].Partitions[p].RecordBatches = nil
				}
			}
			got := FetchSegments(&want, func(i, p int) []Segment {
				rec := all[[2]int{i, p}]
				file := bytes.NewReader(append([]byte("before"), rec...))
				n := len(rec) / 2
				return []Segment{BytesSegment(rec[:n]), FileSegment(file, int64(6+n), int64(len(rec)-n)), BytesSegment(nil)}
			})
			require.Equal(t, bytesWant, join(t, got), "v%d", v)
			require.NoError(t, CheckResponse(1, v, join(t, got)))
			compared += 2
		}
	}
	t.Logf("compared=%d", compared)
}

func TestFetchSegmentsDoNotCopyRecords(t *testing.T) {
	resp := kmsg.NewPtrFetchResponse()
	resp.Version = 17
	rec := make([]byte, 1<<20)
	resp.Topics = []kmsg.FetchResponseTopic{{Partitions: []kmsg.FetchResponseTopicPartition{kmsg.NewFetchResponseTopicPartition()}}}
	resp.Topics[0].Partitions[0].RecordBatches = rec
	segs := FetchSegments(resp, nil)
	require.Len(t, segs, 3)
	require.Same(t, &rec[0], &segs[1].Bytes[0])
	_, n := cost(func() { FetchSegments(resp, nil) })
	require.Less(t, n, uint64(64<<10))
}

func BenchmarkFetchSegments1000Partitions(b *testing.B) {
	resp := kmsg.NewPtrFetchResponse()
	resp.Version = 17
	resp.Topics = make([]kmsg.FetchResponseTopic, 1)
	for range 1000 {
		p := kmsg.NewFetchResponseTopicPartition()
		p.RecordBatches = make([]byte, 100)
		resp.Topics[0].Partitions = append(resp.Topics[0].Partitions, p)
	}
	b.Run("segments", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			FetchSegments(resp, nil)
		}
	})
	b.Run("kmsg", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			resp.AppendTo(nil)
		}
	})
}
