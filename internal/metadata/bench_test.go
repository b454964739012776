package metadata

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kraft-dev/kraft-operator/internal/uuid"
)

// largeImage has topics · partitions partitions on ten brokers.
func largeImage(b testing.TB, topics, partitions int) *Image {
	var recs []Record
	for t := range topics {
		topic := uuid.UUID{0: byte(t * 37), 1: byte(t >> 8), 2: byte(t >> 16), 3: byte(t), 15: 200}
		recs = append(recs, &TopicRecord{Name: fmt.Sprintf("topic-%d", t), TopicID: topic})
		for p := range partitions {
			n := int32(t + p)
			replicas := []int32{n % 10, (n + 1) % 10, (n + 2) % 10}
			recs = append(recs, &PartitionRecord{PartitionID: int32(p), TopicID: topic, Replicas: replicas, ISR: replicas,
				Leader: replicas[0], Directories: make([]uuid.UUID, 3)})
		}
	}
	img, err := Empty().Apply(recs, int64(len(recs)), 1)
	require.NoError(b, err)
	return img
}

// One partition of 100,000 changes its leader and ISR: microseconds, whatever the shape.
func BenchmarkApplyOneOf100kPartitions(b *testing.B) {
	for _, shape := range [][2]int{{1, 100_000}, {1_000, 100}, {100_000, 1}} {
		b.Run(fmt.Sprintf("topics=%d", shape[0]), func(b *testing.B) {
			img := largeImage(b, shape[0], shape[1])
			var refs []PartitionRef
			for ref := range allPartitions(img) {
				if refs = append(refs, ref); len(refs) == 1000 {
					break
				}
			}
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				ref := refs[i%len(refs)]
				i++
				p, _ := img.Partition(ref.TopicID, ref.Partition)
				rec := NewPartitionChangeRecord()
				rec.TopicID, rec.PartitionID = ref.TopicID, ref.Partition
				rec.Leader, rec.ISR = p.Replicas[i%3], p.Replicas[:1+i%3]
				next, err := img.Apply([]Record{rec}, img.Offset+1, 1)
				if err != nil {
					b.Fatal(err)
				}
				img = next
			}
		})
	}
}

func BenchmarkLoad100kPartitions(b *testing.B) {
	for b.Loop() {
		largeImage(b, 1_000, 100)
	}
}

func BenchmarkPartitionsOfOneBroker(b *testing.B) {
	img := largeImage(b, 1_000, 100)
	for b.Loop() {
		n := 0
		for range img.PartitionsOf(3, RoleISR) {
			n++
		}
		if n != 30_000 {
			b.Fatal(n)
		}
	}
}

func BenchmarkEncodePartitionChange(b *testing.B) {
	rec := NewPartitionChangeRecord()
	rec.ISR, rec.Leader = []int32{1, 2, 3}, 2
	b.ReportAllocs()
	for b.Loop() {
		Encode(rec, 2)
	}
}
