package raft

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kraft-dev/kraft-operator/internal/storage/record"
)

// Records of one metadata batch have one timestamp, whenever the calls came that share it: a Java node that reads another delta than 0 exits.
func TestCallsThatShareABatchShareItsTimestamp(t *testing.T) {
	a := newAccumulator()
	a.start(3, 10)
	began := time.UnixMilli(1_700_000_000_000)
	for i := range 3 {
		last, err := a.prepare(3, [][]byte{{1}, {2}}, began.Add(time.Duration(i)*25*time.Millisecond))
		require.NoError(t, err)
		require.EqualValues(t, 11+2*i, last)
	}
	a.release()
	p, since, ok := a.drain()
	require.True(t, ok)
	require.Equal(t, began, since)
	b, rest, err := record.Split(p.Data)
	require.NoError(t, err)
	require.Empty(t, rest, "one batch")
	require.NoError(t, b.Validate())
	require.EqualValues(t, 6, b.Count())
	require.Equal(t, began.UnixMilli(), b.BaseTimestamp())
	require.Equal(t, began.UnixMilli(), b.MaxTimestamp())
	for r, err := range b.Records(0) {
		require.NoError(t, err)
		require.Equal(t, began.UnixMilli(), r.Timestamp, "offset %d", r.Offset)
	}
}
