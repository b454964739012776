package disk_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kraft-dev/kraft-operator/internal/quorum"
	"github.com/kraft-dev/kraft-operator/internal/quorum/disk"
	"github.com/kraft-dev/kraft-operator/internal/storage"
	"github.com/kraft-dev/kraft-operator/internal/storage/memfs"
	"github.com/kraft-dev/kraft-operator/internal/storage/record"
)

// TestRotIsNotServed: offsets and epochs, which no CRC covers, are looked at before they leave.
func TestRotIsNotServed(t *testing.T) {
	for name, tc := range map[string]struct {
		at    int64 // in the second batch
		error bool
	}{
		"base offset":  {7, true},
		"leader epoch": {15, true},
		"length":       {11, true},
		"magic":        {16, true},
		"a record":     {70, false}, // the receiver's to check
	} {
		t.Run(name, func(t *testing.T) {
			fsys := memfs.New()
			require.NoError(t, fsys.MkdirAll("/data"))
			d, err := disk.Open(fsys, "/data", storage.MetadataLogConfig(1<<20, -1), 0)
			require.NoError(t, err)
			size := 0
			for base := int64(0); base < 9; base += 3 {
				b := record.NewBuilder(record.BuilderConfig{BaseOffset: base, Epoch: 3})
				for range 3 {
					b.Append(1, nil, []byte("value"))
				}
				batch, err := b.Build()
				require.NoError(t, err)
				size = len(batch)
				require.NoError(t, d.Append(quorum.Append{Base: quorum.Offset(base), End: quorum.Offset(base + 3), Epoch: 3, Data: batch}, 1))
			}
			large := record.NewBuilder(record.BuilderConfig{BaseOffset: 9, Epoch: 3})
			large.Append(1, nil, make([]byte, 200<<10)) // so that what lies before it is no longer in memory
			batch, err := large.Build()
			require.NoError(t, err)
			require.NoError(t, d.Append(quorum.Append{Base: 9, End: 10, Epoch: 3, Data: batch}, 1))
			read := quorum.Read{Token: 1, From: 0, MaxBytes: int32(3 * size)}
			done, err := d.Read(read)
			require.NoError(t, err)
			require.Len(t, done.Data, 3*size)
			fsys.Corrupt("/data/"+storage.MetadataPartitionDir+"/00000000000000000000.log", int64(size)+tc.at, 1)
			_, err = d.Read(read)
			if tc.error {
				require.ErrorIs(t, err, storage.ErrCorrupt)
			} else {
				require.NoError(t, err)
			}
			require.NoError(t, d.Close())
		})
	}
}
