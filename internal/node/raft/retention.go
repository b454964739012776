package raft

import (
	"github.com/kraft-dev/kraft-operator/internal/quorum/disk"
	"github.com/kraft-dev/kraft-operator/internal/storage"
)

// Retention bounds the metadata log and its snapshots together. A negative bound is none.
type Retention struct {
	MaxBytes int64 // metadata.max.retention.bytes
	MaxMs    int64 // metadata.max.retention.ms, from a snapshot's last contained record
}

// Start returns the snapshot at which the log should begin, false if all may stay.
//
// As Kafka does, it goes from the oldest snapshot to the newest: while segments and snapshots together are larger than
// MaxBytes, and then while the oldest is older than MaxMs, the log begins at the next one, and older snapshots and the
// segments wholly below go. The newest snapshot and the active segment are never given up, so one snapshot alone changes nothing.
//
// No snapshot past limit is chosen: someone still reads below it. snapshots and segments are ascending.
func (r Retention) Start(snapshots []disk.Snapshot, segments []storage.SegmentSize, limit, nowMs int64) (start storage.SnapshotID, ok bool) {
	total := int64(0)
	for _, s := range snapshots {
		total += s.Size
	}
	for _, s := range segments {
		total += s.Bytes
	}
	for i := 0; i+1 < len(snapshots); i++ {
		oldest, next := snapshots[i], snapshots[i+1].ID
		tooMuch := r.MaxBytes >= 0 && total > r.MaxBytes
		tooOld := r.MaxMs >= 0 && nowMs-oldest.LastContainedTimestamp > r.MaxMs
		if !tooMuch && !tooOld || next.EndOffset > limit {
			break
		}
		start, ok = next, true
		total -= oldest.Size
		for len(segments) > 1 && segments[1].Base <= next.EndOffset {
			total -= segments[0].Bytes
			segments = segments[1:]
		}
	}
	return start, ok
}
