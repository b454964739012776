package storage_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kraft-dev/kraft-operator/internal/storage"
	"github.com/kraft-dev/kraft-operator/internal/storage/memfs"
	"github.com/kraft-dev/kraft-operator/internal/storage/record"
	"github.com/kraft-dev/kraft-operator/internal/uuid"
)

// goldenTopic is the topic id in testdata/kafka-4.3.1, which Apache Kafka 4.3.1 wrote (Gen.java).
var goldenTopic = uuid.UUID{7: 1, 15: 2}

func copyDir(t testing.TB, fsys storage.FS, from string) {
	t.Helper()
	require.NoError(t, fsys.MkdirAll(dir))
	files, err := filepath.Glob(from + "/*")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, name := range files {
		data, err := os.ReadFile(name)
		require.NoError(t, err)
		putFile(t, fsys, dir+"/"+filepath.Base(name), data)
	}
}

func putFile(t testing.TB, fsys storage.FS, name string, data []byte) {
	t.Helper()
	f, err := fsys.Create(name)
	require.NoError(t, err)
	_, err = f.WriteAt(data, 0)
	require.NoError(t, err)
	require.NoError(t, f.Close())
}

func getFile(t testing.TB, fsys storage.FS, name string) []byte {
	t.Helper()
	f, err := fsys.OpenRead(name)
	require.NoError(t, err)
	defer f.Close()
	size, err := f.Size()
	require.NoError(t, err)
	data := make([]byte, size)
	if size > 0 {
		_, err = f.ReadAt(data, 0)
		require.NoError(t, err)
	}
	return data
}

func TestLogOfApacheKafka(t *testing.T) {
	for _, tc := range []struct {
		dir     string
		opt     storage.OpenOptions
		rebuilt int
	}{
		{"clean", storage.OpenOptions{Clean: true}, 0},
		{"clean", storage.OpenOptions{}, 4},
		{"killed", storage.OpenOptions{}, 4},
		{"killed", storage.OpenOptions{RecoveryPoint: 217}, 1},
		{"killed", storage.OpenOptions{Clean: true}, 1}, // a mark that lies: the preallocated index is found out
	} {
		t.Run(fmt.Sprintf("%s %+v", tc.dir, tc.opt), func(t *testing.T) {
			fsys := memfs.New()
			copyDir(t, fsys, "testdata/kafka-4.3.1/"+tc.dir)
			l, report, err := storage.OpenLog(fsys, dir, goldenTopic, smallConfig(), tc.opt)
			require.NoError(t, err)
			require.Equal(t, tc.rebuilt, report.RebuiltIndexes)
			require.False(t, report.RebuiltEpochs)
			checkGolden(t, l)
			require.NoError(t, l.Close())

			l = openGolden(t, fsys)
			checkGolden(t, l)
			require.NoError(t, l.Close())
		})
	}
}

func openGolden(t testing.TB, fsys storage.FS) *storage.Log {
	l, _, err := storage.OpenLog(fsys, dir, goldenTopic, smallConfig(), storage.OpenOptions{Clean: true})
	require.NoError(t, err)
	return l
}

// checkGolden compares with what Gen.java wrote.
func checkGolden(t testing.TB, l *storage.Log) {
	t.Helper()
	require.EqualValues(t, 234, l.EndOffset())
	require.Equal(t, []int64{0, 71, 143, 217}, l.SegmentBases())
	require.Equal(t, []storage.EpochEntry{{Epoch: 0}, {Epoch: 1, StartOffset: 77}, {Epoch: 2, StartOffset: 155}}, l.Epochs())
	p := l.Producers()
	require.Len(t, p, 1)
	require.EqualValues(t, 7, p[0].ProducerID)
	require.EqualValues(t, 1, p[0].Epoch)

	const now = 1700000000000
	off, i := int64(0), 0
	for start := int64(0); start < l.EndOffset(); i++ {
		s, _, err := l.Read(start, l.EndOffset(), 1, true)
		require.NoError(t, err)
		data, err := s.AppendTo(nil)
		require.NoError(t, err)
		b, _, err := record.Split(data)
		require.NoError(t, err)
		require.NoError(t, b.Validate())
		require.EqualValues(t, i%5, b.Compression())
		require.EqualValues(t, i/20, b.Epoch())
		j := 0
		for r, err := range b.Records(0) {
			require.NoError(t, err)
			require.Equal(t, off, r.Offset)
			require.EqualValues(t, now+i*10+j, r.Timestamp)
			if j == 3 {
				require.Nil(t, r.Key)
			} else {
				require.Equal(t, fmt.Sprintf("key-%d-%d", i, j), string(r.Key))
			}
			if j == 5 {
				require.Nil(t, r.Value)
			} else {
				require.True(t, strings.HasPrefix(string(r.Value), fmt.Sprintf("value %d %d some", i, j)))
			}
			require.Len(t, r.Headers, j%2)
			if j == 1 {
				require.Equal(t, []record.Header{{Key: "h1"}}, r.Headers)
			}
			found, ok, err := l.OffsetForTimestamp(r.Timestamp, l.EndOffset())
			require.NoError(t, err)
			require.True(t, ok)
			require.Equal(t, storage.TimestampOffset{Timestamp: r.Timestamp, Offset: off, Epoch: b.Epoch()}, found)
			off, j = off+1, j+1
		}
		start = b.NextOffset()
	}
	require.Equal(t, 60, i)
	best, ok, err := l.MaxTimestamp()
	require.NoError(t, err)
	require.True(t, ok)
	require.EqualValues(t, 233, best.Offset)
}

// What we rebuild from Kafka's segments, and what we close, is what Kafka wrote.
func TestFilesAreThoseOfApacheKafka(t *testing.T) {
	fsys := memfs.New()
	copyDir(t, fsys, "testdata/kafka-4.3.1/killed")
	cfg := smallConfig() // index.interval.bytes 200, as in Gen.java
	l, _, err := storage.OpenLog(fsys, dir, goldenTopic, cfg, storage.OpenOptions{})
	require.NoError(t, err)
	require.NoError(t, l.Close())
	files, err := filepath.Glob("testdata/kafka-4.3.1/clean/*")
	require.NoError(t, err)
	names, err := fsys.List(dir)
	require.NoError(t, err)
	require.Len(t, names, len(files))
	for _, name := range files {
		want, err := os.ReadFile(name)
		require.NoError(t, err)
		require.Equal(t, want, getFile(t, fsys, dir+"/"+filepath.Base(name)), filepath.Base(name))
	}
}
