package raft

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kraft-dev/kraft-operator/internal/quorum/disk"
	"github.com/kraft-dev/kraft-operator/internal/storage"
)

// Snapshots of 10 bytes end at 100, 200 and 300; the log has segments of 50 bytes at 0, 150 and 250. Time is 1000.
func TestRetention(t *testing.T) {
	snapshot := func(end, timestamp int64) disk.Snapshot {
		return disk.Snapshot{ID: storage.SnapshotID{EndOffset: end, Epoch: 1}, Size: 10, LastContainedTimestamp: timestamp}
	}
	segments := []storage.SegmentSize{{Base: 0, Bytes: 50}, {Base: 150, Bytes: 50}, {Base: 250, Bytes: 50}}
	three := []disk.Snapshot{snapshot(100, 100), snapshot(200, 500), snapshot(300, 900)}
	for name, tc := range map[string]struct {
		r         Retention
		snapshots []disk.Snapshot
		limit     int64
		want      int64 // 0: nothing
	}{
		"no bounds":                         {Retention{-1, -1}, three, math.MaxInt64, 0},
		"exactly as large as allowed":       {Retention{180, -1}, three, math.MaxInt64, 0},
		"a byte too much costs a snapshot":  {Retention{179, -1}, three, math.MaxInt64, 200},
		"which took a segment along":        {Retention{120, -1}, three, math.MaxInt64, 200},
		"a byte less costs the next":        {Retention{119, -1}, three, math.MaxInt64, 300},
		"the newest always stays":           {Retention{0, 0}, three, math.MaxInt64, 300},
		"one snapshot alone":                {Retention{0, 0}, three[:1], math.MaxInt64, 0},
		"none":                              {Retention{0, 0}, nil, math.MaxInt64, 0},
		"exactly as old as allowed":         {Retention{-1, 900}, three, math.MaxInt64, 0},
		"the oldest is a millisecond older": {Retention{-1, 899}, three, math.MaxInt64, 200},
		"the next is too old as well":       {Retention{-1, 400}, three, math.MaxInt64, 300},
		"too much, then too old":            {Retention{179, 499}, three, math.MaxInt64, 300},
		"a leader's clock in the future":    {Retention{-1, 0}, []disk.Snapshot{snapshot(100, 2000), snapshot(200, 10)}, math.MaxInt64, 0},
		"someone still reads below":         {Retention{0, 0}, three, 250, 200},
		"someone reads from the very start": {Retention{0, 0}, three, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			got, ok := tc.r.Start(tc.snapshots, segments, tc.limit, 1000)
			require.Equal(t, tc.want > 0, ok)
			require.Equal(t, tc.want, got.EndOffset)
		})
	}
}
