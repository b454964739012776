package storage_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kraft-dev/kraft-operator/internal/storage"
	"github.com/kraft-dev/kraft-operator/internal/storage/memfs"
)

// TestRottenEpochRefuses: no CRC covers a batch's leader epoch; the batches before it and the checkpoint tell.
func TestRottenEpochRefuses(t *testing.T) {
	opt := storage.MetadataOpenOptions(0)
	const batches, epochByte = 12, 15
	for name, tc := range map[string]struct {
		batch int  // 0 to 3 of epoch 1, 4 to 7 of epoch 4, 8 to 11 of epoch 6
		xor   byte // of the epoch's last byte
		error string
	}{
		"lower than before":               {5, 4, "leader epoch 0 at offset 10 after epoch 4"},
		"of no epoch that was":            {5, 4 ^ 5, "leader-epoch-checkpoint has 4 there"},
		"of the next epoch":               {7, 4 ^ 6, "leader-epoch-checkpoint has 4 there"},
		"first of an epoch, of the last":  {4, 4 ^ 1, "leader-epoch-checkpoint has 4 there"},
		"higher than all, in the middle":  {6, 4 ^ 7, "leader epoch 4 at offset 14 after epoch 7"},
		"higher than all, then the end":   {10, 6 ^ 7, "leader epoch 6 at offset 22 after epoch 7"},
		"untouched":                       {0, 0, ""},
		"higher than all, the last batch": {11, 6 ^ 7, ""}, // as a new epoch of Apache Kafka's would look after a crash
	} {
		t.Run(name, func(t *testing.T) {
			fsys := memfs.New()
			cfg := smallConfig()
			cfg.SegmentBytes = 1 << 20
			l := openLog(t, fsys, cfg, opt)
			for _, epoch := range []int32{1, 4, 6} {
				appendN(t, l, batches/3, 2, epoch)
			}
			require.NoError(t, l.Close())
			name := dir + "/00000000000000000000.log"
			size, err := fsys.Stat(name)
			require.NoError(t, err)
			require.Zero(t, size.Size%batches, "batches of equal size")
			fsys.Corrupt(name, size.Size/batches*int64(tc.batch)+epochByte, tc.xor)
			l, _, err = storage.OpenLog(fsys, dir, topicID, cfg, opt)
			if tc.error != "" {
				require.ErrorIs(t, err, storage.ErrCorrupt)
				require.ErrorContains(t, err, tc.error)
				return
			}
			require.NoError(t, err)
			require.EqualValues(t, 2*batches, l.EndOffset())
			require.NoError(t, l.Close())
		})
	}
}
