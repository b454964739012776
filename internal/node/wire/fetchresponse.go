package wire

import (
	"encoding/binary"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// FetchRecords supplies the records of partition p of topic t of a FetchResponse, as segments
// that concatenate to whole batches; none is an empty list of records, as Kafka answers it.
type FetchRecords func(t, p int) []Segment

// copyBelow is where a copy is cheaper than a piece of its own in writev.
const copyBelow = 512

// FetchSegments encodes a FetchResponse body (no header) without copying records (but small ones).
//
// Shape: the bytes of resp.AppendTo, with each partition's RecordBatches replaced by what
// records gives. With records nil, RecordBatches themselves are sent, uncopied; nil ones are null.
// Versions 4 to 18 (resp.Version must be set to the request's).
func FetchSegments(resp *kmsg.FetchResponse, records FetchRecords) []Segment {
	e := fetchEncoder{
		version:  resp.Version,
		flexible: resp.Version >= 12,
		head:     make([]byte, 0, fetchHeadSize(resp)),
		pieces:   make([]fetchPiece, 0, 2),
		value:    make([]byte, 0, 64),
	}
	e.int32(resp.ThrottleMillis)
	if e.version >= 7 {
		e.int16(resp.ErrorCode)
		e.int32(resp.SessionID)
	}
	e.count(len(resp.Topics))
	for t := range resp.Topics {
		topic := &resp.Topics[t]
		if e.version <= 12 {
			e.string(topic.Topic)
		} else {
			e.head = append(e.head, topic.TopicID[:]...)
		}
		e.count(len(topic.Partitions))
		for p := range topic.Partitions {
			part := &topic.Partitions[p]
			e.partition(part)
			switch {
			case records != nil:
				e.records(records(t, p))
			case part.RecordBatches != nil:
				e.records([]Segment{{Bytes: part.RecordBatches}})
			default:
				e.null()
			}
			e.partitionTags(part)
		}
		e.tags(&topic.UnknownTags)
	}
	e.brokers(resp)
	e.cut(len(e.head))
	return e.segments()
}

// fetchHeadSize is about what all but large records takes, so that head seldom grows.
func fetchHeadSize(resp *kmsg.FetchResponse) int {
	n := 64 + copyBelow
	for i := range resp.Topics {
		n += 32 + len(resp.Topics[i].Topic) + 64*len(resp.Topics[i].Partitions)
	}
	return n
}

// fetchEncoder collects everything but records in head, and where the records come between.
type fetchEncoder struct {
	version  int16
	flexible bool
	head     []byte
	from     int // head up to here is in pieces
	pieces   []fetchPiece
	value    []byte // of the latest tag
}

// fetchPiece is head[from:to], then a segment of records if it has a size.
type fetchPiece struct {
	from, to int
	records  Segment
}

func (e *fetchEncoder) cut(to int) {
	if to > e.from {
		e.pieces = append(e.pieces, fetchPiece{from: e.from, to: to})
		e.from = to
	}
}

func (e *fetchEncoder) segments() []Segment {
	n := 0
	for i := range e.pieces {
		if e.pieces[i].to > e.pieces[i].from {
			n++
		}
		if e.pieces[i].records.Size() > 0 {
			n++
		}
	}
	out := make([]Segment, 0, n)
	for _, p := range e.pieces {
		if p.to > p.from {
			out = append(out, Segment{Bytes: e.head[p.from:p.to:p.to]})
		}
		if p.records.Size() > 0 {
			out = append(out, p.records)
		}
	}
	return out
}

func (e *fetchEncoder) records(segs []Segment) {
	var size int64
	for i := range segs {
		size += segs[i].Size()
	}
	if e.flexible {
		e.uvarint(uint32(size) + 1)
	} else {
		e.int32(int32(size))
	}
	for _, s := range segs {
		switch {
		case s.Size() == 0:
		case s.File == nil && len(s.Bytes) < copyBelow:
			e.head = append(e.head, s.Bytes...)
		default:
			e.pieces = append(e.pieces, fetchPiece{from: e.from, to: len(e.head), records: s})
			e.from = len(e.head)
		}
	}
}

func (e *fetchEncoder) partition(p *kmsg.FetchResponseTopicPartition) {
	e.int32(p.Partition)
	e.int16(p.ErrorCode)
	e.int64(p.HighWatermark)
	e.int64(p.LastStableOffset)
	if e.version >= 5 {
		e.int64(p.LogStartOffset)
	}
	if p.AbortedTransactions == nil {
		e.null()
	} else {
		e.count(len(p.AbortedTransactions))
		for i := range p.AbortedTransactions {
			e.int64(p.AbortedTransactions[i].ProducerID)
			e.int64(p.AbortedTransactions[i].FirstOffset)
			e.tags(&p.AbortedTransactions[i].UnknownTags)
		}
	}
	if e.version >= 11 {
		e.int32(p.PreferredReadReplica)
	}
}

// partitionTags writes DivergingEpoch (0), CurrentLeader (1) and SnapshotID (2) where they
// differ from their defaults of -1 (KIP-595, KIP-630, KIP-951).
func (e *fetchEncoder) partitionTags(p *kmsg.FetchResponseTopicPartition) {
	if !e.flexible {
		return
	}
	diverging := p.DivergingEpoch.Epoch != -1 || p.DivergingEpoch.EndOffset != -1 || p.DivergingEpoch.UnknownTags.Len() > 0
	leader := p.CurrentLeader.LeaderID != -1 || p.CurrentLeader.LeaderEpoch != -1 || p.CurrentLeader.UnknownTags.Len() > 0
	snapshot := p.SnapshotID.EndOffset != -1 || p.SnapshotID.Epoch != -1 || p.SnapshotID.UnknownTags.Len() > 0
	known := 0
	for _, set := range []bool{diverging, leader, snapshot} {
		if set {
			known++
		}
	}
	e.uvarint(uint32(known + p.UnknownTags.Len()))
	if diverging {
		e.tag(0, func(b []byte) []byte {
			b = binary.BigEndian.AppendUint32(b, uint32(p.DivergingEpoch.Epoch))
			b = binary.BigEndian.AppendUint64(b, uint64(p.DivergingEpoch.EndOffset))
			return appendTags(b, &p.DivergingEpoch.UnknownTags)
		})
	}
	if leader {
		e.tag(1, func(b []byte) []byte {
			b = binary.BigEndian.AppendUint32(b, uint32(p.CurrentLeader.LeaderID))
			b = binary.BigEndian.AppendUint32(b, uint32(p.CurrentLeader.LeaderEpoch))
			return appendTags(b, &p.CurrentLeader.UnknownTags)
		})
	}
	if snapshot {
		e.tag(2, func(b []byte) []byte {
			b = binary.BigEndian.AppendUint64(b, uint64(p.SnapshotID.EndOffset))
			b = binary.BigEndian.AppendUint32(b, uint32(p.SnapshotID.Epoch))
			return appendTags(b, &p.SnapshotID.UnknownTags)
		})
	}
	e.head = p.UnknownTags.AppendEach(e.head)
}

// brokers writes the tags of the response: the endpoints of new leaders (0, KIP-951).
func (e *fetchEncoder) brokers(resp *kmsg.FetchResponse) {
	if !e.flexible {
		return
	}
	if len(resp.Brokers) == 0 {
		e.tags(&resp.UnknownTags)
		return
	}
	e.uvarint(uint32(1 + resp.UnknownTags.Len()))
	e.tag(0, func(b []byte) []byte {
		b = binary.AppendUvarint(b, uint64(len(resp.Brokers))+1)
		for i := range resp.Brokers {
			n := &resp.Brokers[i]
			b = binary.BigEndian.AppendUint32(b, uint32(n.NodeID))
			b = appendCompactString(b, n.Host)
			b = binary.BigEndian.AppendUint32(b, uint32(n.Port))
			if n.Rack == nil {
				b = append(b, 0)
			} else {
				b = appendCompactString(b, *n.Rack)
			}
			b = appendTags(b, &n.UnknownTags)
		}
		return b
	})
	e.head = resp.UnknownTags.AppendEach(e.head)
}

// tag writes one tag with its size before it.
func (e *fetchEncoder) tag(number uint32, body func([]byte) []byte) {
	e.value = body(e.value[:0])
	e.uvarint(number)
	e.uvarint(uint32(len(e.value)))
	e.head = append(e.head, e.value...)
}

func (e *fetchEncoder) tags(unknown *kmsg.Tags) {
	if e.flexible {
		e.uvarint(uint32(unknown.Len()))
		e.head = unknown.AppendEach(e.head)
	}
}

func appendTags(b []byte, unknown *kmsg.Tags) []byte {
	b = binary.AppendUvarint(b, uint64(unknown.Len()))
	return unknown.AppendEach(b)
}

func appendCompactString(b []byte, s string) []byte {
	b = binary.AppendUvarint(b, uint64(len(s))+1)
	return append(b, s...)
}

func (e *fetchEncoder) int16(v int16)    { e.head = binary.BigEndian.AppendUint16(e.head, uint16(v)) }
func (e *fetchEncoder) int32(v int32)    { e.head = binary.BigEndian.AppendUint32(e.head, uint32(v)) }
func (e *fetchEncoder) int64(v int64)    { e.head = binary.BigEndian.AppendUint64(e.head, uint64(v)) }
func (e *fetchEncoder) uvarint(v uint32) { e.head = binary.AppendUvarint(e.head, uint64(v)) }

func (e *fetchEncoder) count(n int) {
	if e.flexible {
		e.uvarint(uint32(n) + 1)
	} else {
		e.int32(int32(n))
	}
}

func (e *fetchEncoder) null() {
	if e.flexible {
		e.uvarint(0)
	} else {
		e.int32(-1)
	}
}

func (e *fetchEncoder) string(s string) {
	if e.flexible {
		e.head = appendCompactString(e.head, s)
		return
	}
	e.int16(int16(len(s)))
	e.head = append(e.head, s...)
}
