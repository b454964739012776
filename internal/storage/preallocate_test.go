package storage_test

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kraft-dev/kraft-operator/internal/storage"
	"github.com/kraft-dev/kraft-operator/internal/storage/memfs"
)

func preallocated() storage.LogConfig {
	cfg := smallConfig()
	cfg.Preallocate = true
	return cfg
}

func sizeOf(t *testing.T, fsys storage.FS, name string) int64 {
	fi, err := fsys.Stat(name)
	require.NoError(t, err)
	return fi.Size
}

func TestPreallocatedSpaceIsCutOffByRollAndClose(t *testing.T) {
	plain, ahead := memfs.New(), memfs.New()
	open := map[*memfs.FS]*storage.Log{
		plain: openLog(t, plain, smallConfig(), storage.MetadataOpenOptions(0)),
		ahead: openLog(t, ahead, preallocated(), storage.MetadataOpenOptions(0)),
	}
	first := dir + "/00000000000000000000.log"
	for fsys, l := range open {
		appendN(t, l, 3, 3, 1)
		if fsys == ahead {
			require.Equal(t, smallConfig().SegmentBytes, sizeOf(t, ahead, first), "space ahead, but never more than a segment's")
			require.Greater(t, sizeOf(t, ahead, first), sizeOf(t, plain, first))
		}
		appendN(t, l, 20, 3, 1)
		require.Greater(t, len(l.Segments()), 1)
	}
	require.Equal(t, getFile(t, plain, first), getFile(t, ahead, first), "a full segment")
	for _, l := range open {
		require.NoError(t, l.Close())
	}
	require.Equal(t, snapshotOf(t, plain), snapshotOf(t, ahead), "a closed log has what Kafka's would")
}

func TestPreallocatedSpaceAfterACrashIsNoDamage(t *testing.T) {
	for name, tc := range map[string]struct {
		spoil   func(data []byte, end int64) // of the only segment, whose batches end at end
		cut     bool
		refused bool
	}{
		"as it was left":       {spoil: func([]byte, int64) {}},
		"a torn batch":         {spoil: func(d []byte, end int64) { d[end+20] = 7 }, cut: true},
		"garbage at the end":   {spoil: func(d []byte, _ int64) { d[len(d)-1] = 7 }, cut: true},
		"a sound batch behind": {spoil: func(d []byte, end int64) { copy(d[end+100:], d[:end/3]) }, refused: true},
	} {
		t.Run(name, func(t *testing.T) {
			fsys := memfs.New()
			l := openLog(t, fsys, preallocated(), storage.MetadataOpenOptions(0))
			appendN(t, l, 3, 3, 1)
			require.NoError(t, l.Flush())
			written := l.Size()
			crashed := fsys.CrashClone(0)
			file := dir + "/00000000000000000000.log"
			data := getFile(t, crashed, file)
			require.Greater(t, int64(len(data)), written)
			sound := bytes.Clone(data[:written])
			tc.spoil(data, written)
			if tc.refused { // it must not be below what is there, or it is no evidence
				data[written+100+7] = 200
			}
			putFile(t, crashed, file, data)
			again, report, err := storage.OpenLog(crashed, dir, topicID, preallocated(), storage.MetadataOpenOptions(0))
			if tc.refused {
				var corrupt *storage.CorruptError
				require.ErrorAs(t, err, &corrupt)
				require.Equal(t, data, getFile(t, crashed, file), "refusing changed the disk")
				return
			}
			require.NoError(t, err)
			require.Equal(t, tc.cut, report.CutBytes > 0, "%+v", report)
			require.Equal(t, int64(9), again.EndOffset())
			require.Equal(t, sound, getFile(t, crashed, file)[:written])
			if !tc.cut {
				require.Equal(t, data, getFile(t, crashed, file), "opening changes nothing, and the space is used")
			}
			appendN(t, again, 1, 3, 1)
			require.Equal(t, []int64{0, 3, 6, 9}, readAll(t, again, 0, 1))
			written = again.Size()
			require.NoError(t, again.Close())
			require.Equal(t, written, sizeOf(t, crashed, file))
		})
	}
}

// A file system that can't allocate, or a disk that is too full to, costs speed only.
func TestPreallocationThatFails(t *testing.T) {
	fsys := memfs.New()
	fsys.SetHook(func(op memfs.Op) error {
		if op.Kind == memfs.OpAllocate {
			return storage.ErrLocked // any
		}
		return nil
	})
	l := openLog(t, fsys, preallocated(), storage.MetadataOpenOptions(0))
	appendN(t, l, 3, 3, 1)
	require.Equal(t, l.Size(), sizeOf(t, fsys, dir+"/00000000000000000000.log"))
	require.NoError(t, l.Close())
}
