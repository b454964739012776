package disk_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kraft-dev/kraft-operator/internal/quorum"
	"github.com/kraft-dev/kraft-operator/internal/quorum/disk"
	"github.com/kraft-dev/kraft-operator/internal/storage/record"
	"github.com/kraft-dev/kraft-operator/internal/storage/record/control"
)

// FuzzDescribeBatches: whatever a leader sends, its description is of whole batches with good checksums, as long as they say, and
// the same when it is made again.
func FuzzDescribeBatches(f *testing.F) {
	level, set := int16(1), voterSet()
	change := &quorum.LeaderChange{LeaderID: 1, Voters: []quorum.NodeID{1}, GrantingVoters: []quorum.NodeID{1}}
	data := control.AppendBatch(nil, 0, 1, 1000, disk.ControlRecords([]quorum.ControlRecord{{LeaderChange: change}, {KRaftVersion: &level}, {Voters: &set}})...)
	f.Add(data, true)
	f.Add(append(data[:len(data):len(data)], data[:20]...), false)
	f.Fuzz(func(t *testing.T, data []byte, mend bool) {
		for rest := data; mend; { // hostile fields get past the checksum
			b, next, err := record.Split(rest)
			if err != nil {
				break
			}
			b.SetCreateTime(b.MaxTimestamp())
			rest = next
		}
		batches, whole, err := disk.DescribeBatches(data)
		if err != nil {
			require.Empty(t, batches)
			return
		}
		size := 0
		for _, b := range batches {
			size += b.Size
			require.LessOrEqual(t, b.Base, b.Last)
		}
		require.Equal(t, len(whole), size)
		again, same, err := disk.DescribeBatches(whole)
		require.NoError(t, err)
		require.Equal(t, whole, same)
		require.Equal(t, batches, again)
	})
}
