package storage_test

import (
	"bytes"
	"fmt"
	"math"
	"path"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kraft-dev/kraft-operator/internal/storage"
	"github.com/kraft-dev/kraft-operator/internal/storage/memfs"
	"github.com/kraft-dev/kraft-operator/internal/storage/record"
)

func idempotent(t testing.TB, id int64, epoch int16, seq int32, n int, ts int64) []byte {
	t.Helper()
	b := record.NewBuilder(record.BuilderConfig{Idempotent: true, ProducerID: id, ProducerEpoch: epoch, BaseSequence: seq})
	for range n {
		b.Append(ts, nil, []byte("v"))
	}
	out, err := b.Build()
	require.NoError(t, err)
	return bytes.Clone(out)
}

func TestIdempotentProducers(t *testing.T) {
	type send struct {
		id    int64
		epoch int16
		seq   int32
		n     int
		first int64
		dup   bool
		err   error
	}
	for _, tc := range []struct {
		name  string
		sends []send
	}{
		{"sequences go on", []send{{7, 0, 0, 3, 0, false, nil}, {7, 0, 3, 2, 3, false, nil}, {8, 0, 0, 1, 5, false, nil}}},
		{"a duplicate is answered with its first offsets", []send{{7, 0, 0, 3, 0, false, nil}, {7, 0, 3, 2, 3, false, nil}, {7, 0, 0, 3, 0, true, nil}, {7, 0, 3, 2, 3, true, nil}}},
		{"the sixth last is forgotten", []send{{7, 0, 0, 1, 0, false, nil}, {7, 0, 1, 1, 1, false, nil}, {7, 0, 2, 1, 2, false, nil}, {7, 0, 3, 1, 3, false, nil},
			{7, 0, 4, 1, 4, false, nil}, {7, 0, 0, 1, 0, true, nil}, {7, 0, 5, 1, 5, false, nil}, {7, 0, 0, 1, 0, false, storage.ErrOutOfOrderSequence}, {7, 0, 1, 1, 1, true, nil}}},
		{"a gap", []send{{7, 0, 0, 3, 0, false, nil}, {7, 0, 4, 1, 0, false, storage.ErrOutOfOrderSequence}, {7, 0, 3, 1, 3, false, nil}}},
		{"an unknown producer may begin anywhere", []send{{7, 3, 50, 1, 0, false, nil}, {7, 3, 51, 1, 1, false, nil}}},
		{"a new epoch begins with 0", []send{{7, 0, 0, 3, 0, false, nil}, {7, 1, 3, 1, 0, false, storage.ErrOutOfOrderSequence}, {7, 1, 0, 1, 3, false, nil}}},
		{"an old epoch is fenced", []send{{7, 1, 0, 3, 0, false, nil}, {7, 0, 3, 1, 0, false, storage.ErrInvalidProducerEpoch}}},
		{"sequences wrap", []send{{7, 0, math.MaxInt32 - 1, 2, 0, false, nil}, {7, 0, 0, 1, 2, false, nil}, {7, 0, math.MaxInt32 - 1, 2, 0, true, nil}}},
		{"sequences wrap inside a batch", []send{{7, 0, math.MaxInt32, 3, 0, false, nil}, {7, 0, 2, 1, 3, false, nil}, {7, 0, math.MaxInt32, 3, 0, true, nil}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			fsys := memfs.New()
			l := openLog(t, fsys, smallConfig(), storage.OpenOptions{})
			for i, s := range tc.sends {
				end := l.EndOffset()
				info, err := l.AppendLeader(idempotent(t, s.id, s.epoch, s.seq, s.n, 1000), 1, 1000, storage.AppendOptions{})
				require.ErrorIs(t, err, s.err, "send %d", i)
				if s.err != nil {
					require.Equal(t, end, l.EndOffset())
					continue
				}
				require.Equal(t, s.dup, info.Duplicate, "send %d", i)
				require.Equal(t, []int64{s.first, s.first + int64(s.n) - 1}, []int64{info.First, info.Last}, "send %d", i)
			}
			// The state is the same after a restart, clean or not, and on a follower.
			want := l.Producers()
			all, _, err := l.Read(0, l.EndOffset(), 1<<20, true)
			require.NoError(t, err)
			data, err := all.AppendTo(nil)
			require.NoError(t, err)
			f := openLog(t, memfs.New(), smallConfig(), storage.OpenOptions{})
			_, err = f.AppendFollower(data)
			require.NoError(t, err)
			require.Equal(t, want, f.Producers())
			require.Equal(t, want, openLog(t, fsys.KillClone(), smallConfig(), storage.OpenOptions{}).Producers())
			require.NoError(t, l.Close())
			require.Equal(t, want, openLog(t, fsys, smallConfig(), storage.OpenOptions{Clean: true}).Producers())
		})
	}
}

// TestBatchesInFlightAreRecognisedAfterARestart: a client that had five batches in flight when all brokers stopped sends each
// of them again. A snapshot of the producers has the newest alone.
func TestBatchesInFlightAreRecognisedAfterARestart(t *testing.T) {
	for _, batches := range []int32{1, 4, 5, 7, 60} {
		fsys := memfs.New()
		l := openLog(t, fsys, smallConfig(), storage.OpenOptions{})
		send := func(l *storage.Log, id int64, seq int32) (storage.AppendInfo, error) {
			return l.AppendLeader(idempotent(t, id, 0, seq*2, 2, 1000), 1, 1000, storage.AppendOptions{})
		}
		firsts := map[string]int64{}
		for seq := range batches {
			for id := range int64(3) {
				info, err := send(l, id, seq)
				require.NoError(t, err)
				firsts[fmt.Sprint(id, seq)] = info.First
			}
		}
		killed := openLog(t, fsys.KillClone(), smallConfig(), storage.OpenOptions{})
		require.NoError(t, l.Close())
		closed := openLog(t, fsys, smallConfig(), storage.OpenOptions{Clean: true})
		for name, l := range map[string]*storage.Log{"killed": killed, "closed": closed} {
			for seq := range batches {
				for id := range int64(3) {
					info, err := send(l, id, seq)
					if seq < batches-5 {
						require.ErrorIs(t, err, storage.ErrOutOfOrderSequence, "%s: batch %d of %d", name, seq, batches)
						continue
					}
					require.NoError(t, err, "%s: batch %d of %d", name, seq, batches)
					require.True(t, info.Duplicate, "%s: batch %d of %d", name, seq, batches)
					require.Equal(t, firsts[fmt.Sprint(id, seq)], info.First)
				}
			}
			_, err := send(l, 0, batches)
			require.NoError(t, err, "and the next is news")
		}
	}
}

func TestProducerStateSurvivesRollsTruncationAndDamage(t *testing.T) {
	fsys := memfs.New()
	l := openLog(t, fsys, smallConfig(), storage.OpenOptions{})
	for i := range int32(100) {
		_, err := l.AppendLeader(idempotent(t, int64(i%4), 0, i/4, 1, 1000+int64(i)), 1, 1000, storage.AppendOptions{})
		require.NoError(t, err)
	}
	require.Greater(t, l.SegmentCount(), 3)
	want := l.Producers()
	for _, base := range append(l.SegmentBases()[1:], -1) { // one damaged snapshot after the other, then none
		clone := fsys.KillClone()
		if base >= 0 {
			clone.Corrupt(fmt.Sprintf("%s/%020d.snapshot", dir, base), 9, 1)
		} else {
			for _, b := range l.SegmentBases()[1:] {
				require.NoError(t, clone.Remove(fmt.Sprintf("%s/%020d.snapshot", dir, b)))
			}
		}
		require.Equal(t, want, openLog(t, clone, smallConfig(), storage.OpenOptions{}).Producers())
	}
	_, err := l.TruncateTo(50)
	require.NoError(t, err)
	for i := range int32(100) { // 0 to 49 are duplicates or too old, 50 and on are news again
		info, err := l.AppendLeader(idempotent(t, int64(i%4), 0, i/4, 1, 1000+int64(i)), 2, 1000, storage.AppendOptions{})
		if i < 50 {
			require.True(t, err != nil || info.Duplicate)
			continue
		}
		require.NoError(t, err)
		require.EqualValues(t, i, info.First)
	}
}

func TestProducersExpire(t *testing.T) {
	l := openLog(t, memfs.New(), smallConfig(), storage.OpenOptions{})
	for id := range int64(3) {
		_, err := l.AppendLeader(idempotent(t, id, 0, 0, 1, id*1000), 1, 0, storage.AppendOptions{})
		require.NoError(t, err)
	}
	day := storage.DefaultLogConfig().ProducerExpirationMs
	require.Zero(t, l.ExpireProducers(day-1))
	require.Equal(t, 2, l.ExpireProducers(day+1000))
	require.Len(t, l.Producers(), 1)
}

// TestTruncateAtTheEndForgetsEpochsWithoutRecords: a leader assigns its epoch at the log's end and is replaced before it appends. Its
// log agrees with the next leader's only once that epoch is gone.
func TestTruncateAtTheEndForgetsEpochsWithoutRecords(t *testing.T) {
	fsys := memfs.New()
	l := openLog(t, fsys, smallConfig(), storage.OpenOptions{})
	appendN(t, l, 10, 3, 1)
	require.NoError(t, l.AssignEpoch(8, l.EndOffset()))
	last, _ := l.LatestEpoch()
	require.EqualValues(t, 8, last.Epoch)
	changed, err := l.TruncateTo(l.EndOffset())
	require.NoError(t, err)
	require.False(t, changed, "no record was removed")
	for _, l := range []*storage.Log{l, openLog(t, fsys.KillClone(), smallConfig(), storage.OpenOptions{})} {
		require.EqualValues(t, 30, l.EndOffset())
		last, _ = l.LatestEpoch()
		require.EqualValues(t, 1, last.Epoch)
	}
}

func TestTruncate(t *testing.T) {
	for _, tc := range []struct {
		to, end int64
		changed bool
	}{{300, 300, false}, {301, 300, false}, {299, 297, true}, {297, 297, true}, {150, 150, true}, {151, 150, true}, {1, 0, true}, {0, 0, true}} {
		t.Run(fmt.Sprint(tc.to), func(t *testing.T) {
			fsys := memfs.New()
			l := openLog(t, fsys, smallConfig(), storage.OpenOptions{})
			for e := range int32(10) {
				appendN(t, l, 10, 3, e)
			}
			require.NoError(t, l.Flush())
			changed, err := l.TruncateTo(tc.to)
			require.NoError(t, err)
			require.Equal(t, tc.changed, changed)
			check := func(l *storage.Log) {
				require.Equal(t, tc.end, l.EndOffset())
				require.Len(t, readAll(t, l, 0, 500), int(tc.end/3))
				last, ok := l.LatestEpoch()
				require.Equal(t, tc.end > 0, ok)
				if ok {
					require.EqualValues(t, (tc.end-1)/30, last.Epoch)
					best, _, err := l.MaxTimestamp()
					require.NoError(t, err)
					require.Equal(t, tc.end-1, best.Offset)
				}
			}
			check(l)
			check(openLog(t, fsys.CrashClone(0), smallConfig(), storage.OpenOptions{Contiguous: true}))
			appendN(t, l, 20, 3, 20)
			require.Len(t, readAll(t, l, 0, 500), int(tc.end/3)+20)
			_, err = l.RemovePending(1)
			require.NoError(t, err)
			left, err := l.RemovePending(1 + l.Config().DeleteDelayMs)
			require.NoError(t, err)
			require.Zero(t, left)
			require.NoError(t, l.Close())
			require.Len(t, readAll(t, l2(t, fsys), 0, 500), int(tc.end/3)+20)
		})
	}
}

func TestTruncateFullyAndStartAt(t *testing.T) {
	fsys := memfs.New()
	l := openLog(t, fsys, smallConfig(), storage.OpenOptions{})
	appendN(t, l, 100, 3, 1)
	require.NoError(t, l.TruncateFullyAndStartAt(1000))
	for range 2 {
		require.EqualValues(t, 1000, l.StartOffset())
		require.EqualValues(t, 1000, l.EndOffset())
		require.EqualValues(t, 1000, l.FlushedOffset())
		require.Empty(t, l.Epochs())
		_, _, err := l.Read(999, 1000, 10, true)
		require.ErrorIs(t, err, storage.ErrOffsetOutOfRange)
		require.NoError(t, l.Close())
		l = l2(t, fsys)
	}
	appendN(t, l, 2, 3, 5)
	require.Equal(t, []storage.EpochEntry{{Epoch: 5, StartOffset: 1000}}, l.Epochs())
}

func TestAdvanceStart(t *testing.T) {
	fsys := memfs.New()
	l := openLog(t, fsys, smallConfig(), storage.OpenOptions{})
	appendN(t, l, 50, 3, 1)
	appendN(t, l, 50, 3, 2)
	require.ErrorIs(t, l.AdvanceStart(301), storage.ErrOffsetOutOfRange)
	require.NoError(t, l.AdvanceStart(200))
	require.NoError(t, l.AdvanceStart(100), "going back does nothing")
	require.EqualValues(t, 200, l.StartOffset())
	require.Equal(t, []storage.EpochEntry{{Epoch: 2, StartOffset: 200}}, l.Epochs())
	require.LessOrEqual(t, l.SegmentBases()[0], int64(200))
	require.Greater(t, l.SegmentBases()[1], int64(200))
	_, _, err := l.Read(199, 300, 100, true)
	require.ErrorIs(t, err, storage.ErrOffsetOutOfRange)
	require.Equal(t, int64(198), readAll(t, l, 200, 100)[0])
	base := l.SegmentBases()[0]
	require.NoError(t, l.Close())
	require.Equal(t, base, l2(t, fsys).StartOffset(), "not checkpointed here: the first segment's base")
	l = openLog(t, fsys, smallConfig(), storage.OpenOptions{Clean: true, StartOffset: 200})
	require.EqualValues(t, 200, l.StartOffset())
	require.NoError(t, l.Close())
	l = openLog(t, fsys, smallConfig(), storage.OpenOptions{Clean: true, StartOffset: 400})
	require.EqualValues(t, 400, l.StartOffset(), "a start past the end empties the log")
	require.EqualValues(t, 400, l.EndOffset())
}

func TestRetention(t *testing.T) {
	for _, tc := range []struct {
		name string
		set  func(*storage.LogConfig)
		now  int64
		hw   int64
		left int // of 7 segments
	}{
		{"nothing is due", func(c *storage.LogConfig) {}, 5000, 300, 7},
		{"by time", func(c *storage.LogConfig) { c.RetentionMs = 100 }, 1240, 300, 4},
		{"by time, all: an empty segment takes over", func(c *storage.LogConfig) { c.RetentionMs = 100 }, 99999, 300, 1},
		{"by time, only below the high watermark", func(c *storage.LogConfig) { c.RetentionMs = 100 }, 99999, 60, 6},
		{"by size", func(c *storage.LogConfig) { c.RetentionBytes = 4000 }, 0, 300, 3},
		{"by size, nothing may stay", func(c *storage.LogConfig) { c.RetentionBytes = 0 }, 0, 300, 1},
		{"a compacted topic loses nothing", func(c *storage.LogConfig) { c.RetentionMs, c.RetentionBytes, c.Delete, c.Compact = 0, 0, false, true }, 99999, 300, 7},
		{"compact and delete deletes", func(c *storage.LogConfig) { c.RetentionMs, c.Compact = 100, true }, 1240, 300, 4},
	} {
		t.Run(tc.name, func(t *testing.T) {
			fsys := memfs.New()
			l := openLog(t, fsys, smallConfig(), storage.OpenOptions{})
			appendN(t, l, 100, 3, 1)
			require.Equal(t, 7, l.SegmentCount())
			cfg := smallConfig()
			tc.set(&cfg)
			l.SetConfig(cfg)
			old, _, err := l.Read(0, 300, 100, true)
			require.NoError(t, err)
			n, err := l.DeleteOldSegments(tc.now, tc.hw)
			require.NoError(t, err)
			require.Equal(t, tc.left, l.SegmentCount())
			require.EqualValues(t, 300, l.EndOffset())
			require.Equal(t, l.SegmentBases()[0], l.StartOffset())
			if n == 0 {
				return
			}
			_, err = old.AppendTo(nil)
			require.NoError(t, err, "a reader goes on for file.delete.delay.ms")
			left, err := l.RemovePending(tc.now + cfg.DeleteDelayMs)
			require.NoError(t, err)
			require.Zero(t, left)
			_, err = old.AppendTo(nil)
			require.Error(t, err)
			appendN(t, l, 2, 3, 1)
			require.NoError(t, l.Close())
			require.EqualValues(t, 306, l2(t, fsys).EndOffset())
		})
	}
}

func TestRollByTime(t *testing.T) {
	cfg := smallConfig()
	cfg.SegmentMs = 1000
	l := openLog(t, memfs.New(), cfg, storage.OpenOptions{})
	for _, ts := range []int64{0, 500, 1000, 1002, 1500, 2500} {
		_, err := l.AppendLeader(batch(t, 1, ts, record.None), 1, ts, storage.AppendOptions{})
		require.NoError(t, err)
	}
	require.Equal(t, []int64{0, 3, 5}, l.SegmentBases())
}

func TestFullIndexRolls(t *testing.T) {
	cfg := smallConfig()
	cfg.SegmentBytes, cfg.IndexMaxBytes = 1<<20, 10*12
	l := openLog(t, memfs.New(), cfg, storage.OpenOptions{})
	appendN(t, l, 100, 3, 1)
	require.Greater(t, l.SegmentCount(), 3)
	require.Len(t, readAll(t, l, 0, 1<<20), 100)
}

// TestANewEpochWaitsForNoDisk: the first append of a new leader must not be held up by the disk. Flush writes the checkpoint before
// the batches are taken for durable, so that a batch's epoch has a second witness.
func TestANewEpochWaitsForNoDisk(t *testing.T) {
	for name, opt := range map[string]func(recovery int64) storage.OpenOptions{
		"metadata log": storage.MetadataOpenOptions,
		"partition log": func(recovery int64) storage.OpenOptions {
			return storage.OpenOptions{RecoveryPoint: recovery, CutHoles: true}
		},
	} {
		t.Run(name, func(t *testing.T) {
			fsys := memfs.New()
			l := openLog(t, fsys, smallConfig(), opt(0))
			appendN(t, l, 1, 5, 1)
			require.NoError(t, l.Flush())
			var ops []string
			fsys.SetHook(func(op memfs.Op) error {
				switch op.Kind {
				case memfs.OpSync, memfs.OpSyncDir, memfs.OpRename, memfs.OpCreate:
					ops = append(ops, string(op.Kind)+" "+path.Base(op.Name))
				}
				return nil
			})
			require.NoError(t, l.AssignEpoch(2, 5))
			appendN(t, l, 1, 5, 2)
			require.Empty(t, ops)
			require.EqualValues(t, 2, l.EpochAt(7))
			require.NoError(t, l.Flush())
			require.Equal(t, []string{
				"create leader-epoch-checkpoint.tmp", "sync leader-epoch-checkpoint.tmp", "rename leader-epoch-checkpoint",
				"syncdir " + path.Base(dir), "sync 00000000000000000000.log",
			}, ops)
			require.NoError(t, l.Flush())
			require.Len(t, ops, 5, "nothing is left to do")
			fsys.SetHook(nil)
			again := openLog(t, fsys.CrashClone(1), smallConfig(), opt(10))
			require.Equal(t, l.Epochs(), again.Epochs())
			appendN(t, l, 1, 5, 3)
			killed := openLog(t, fsys.KillClone(), smallConfig(), opt(10))
			require.Equal(t, l.Epochs(), killed.Epochs(), "what wasn't flushed is in the batches")
		})
	}
}

func TestEpochs(t *testing.T) {
	fsys := memfs.New()
	l := openLog(t, fsys, smallConfig(), storage.OpenOptions{})
	require.NoError(t, l.AssignEpoch(2, 0))
	appendN(t, l, 2, 5, 2)
	require.NoError(t, l.AssignEpoch(4, 10)) // a leader that never wrote
	require.NoError(t, l.AssignEpoch(5, 10))
	appendN(t, l, 1, 5, 5)
	appendN(t, l, 1, 5, 9)
	require.NoError(t, l.AssignEpoch(3, 20), "an old epoch does nothing")
	for _, tc := range []struct {
		asked, epoch int32
		end          int64
	}{{-1, -1, -1}, {0, 0, 0}, {2, 2, 10}, {3, 2, 10}, {4, 2, 10}, {5, 5, 15}, {8, 5, 15}, {9, 9, 20}, {10, -1, -1}} {
		e, end := l.EndOffsetFor(tc.asked)
		require.Equal(t, tc.epoch, e, "asked for %d", tc.asked)
		require.Equal(t, tc.end, end, "asked for %d", tc.asked)
	}
	require.EqualValues(t, 2, l.EpochAt(9))
	require.EqualValues(t, 5, l.EpochAt(10))
	_, err := l.AppendLeader(batch(t, 1, 1, 0), 8, 1, storage.AppendOptions{})
	require.ErrorIs(t, err, storage.ErrEpochDecreases)
	want := l.Epochs()
	require.NoError(t, l.Flush())
	for name, harm := range map[string][]byte{"missing": nil, "empty": {}, "garbage": []byte("0\n9\n1 1\n"), "stale": []byte("0\n1\n2 0\n")} {
		clone := fsys.KillClone()
		if harm == nil {
			require.NoError(t, clone.Remove(dir+"/leader-epoch-checkpoint"))
		} else {
			putFile(t, clone, dir+"/leader-epoch-checkpoint", harm)
		}
		require.Equal(t, want, openLog(t, clone, smallConfig(), storage.OpenOptions{}).Epochs(), name)
	}
}

func TestAppendFollower(t *testing.T) {
	leader := openLog(t, memfs.New(), smallConfig(), storage.OpenOptions{})
	appendN(t, leader, 5, 3, 1)
	appendN(t, leader, 5, 3, 4)
	s, _, err := leader.Read(0, 30, 1<<20, true)
	require.NoError(t, err)
	data, err := s.AppendTo(nil)
	require.NoError(t, err)
	size := len(data) / 10

	l := openLog(t, memfs.New(), smallConfig(), storage.OpenOptions{Contiguous: true})
	info, err := l.AppendFollower(data[:3*size+size/2])
	require.NoError(t, err)
	require.Equal(t, storage.AppendInfo{First: 0, Last: 8, MaxTimestamp: 1008, LogAppendTime: -1, Bytes: 3 * size}, info)
	for name, bad := range map[string][]byte{"again": data[:size], "gap": data[4*size:], "old epoch": withEpoch(data[3*size:5*size], size, 0), "rotten": flip(data[3*size:], 90)} {
		_, err = l.AppendFollower(bad)
		require.Error(t, err, name)
		require.EqualValues(t, 9, l.EndOffset(), name)
	}
	_, err = l.AppendFollower(data[3*size:])
	require.NoError(t, err)
	require.Equal(t, leader.Epochs(), l.Epochs())
	require.Equal(t, readAll(t, leader, 0, 500), readAll(t, l, 0, 500))

	// The leader's start lies inside a batch.
	l = openLog(t, memfs.New(), smallConfig(), storage.OpenOptions{})
	require.NoError(t, l.TruncateFullyAndStartAt(13))
	_, err = l.AppendFollower(data[4*size:])
	require.NoError(t, err)
	require.EqualValues(t, 12, l.StartOffset())
	require.EqualValues(t, 30, l.EndOffset())
}

func withEpoch(data []byte, size int, epoch int32) []byte {
	data = bytes.Clone(data)
	record.Batch(data[size:]).SetEpoch(epoch)
	return data
}

func flip(data []byte, at int) []byte {
	data = bytes.Clone(data)
	data[at] ^= 1
	return data
}

func TestAppendLeaderRules(t *testing.T) {
	gzip := record.Gzip
	for _, tc := range []struct {
		name  string
		set   func(*storage.LogConfig)
		batch []byte
		opt   storage.AppendOptions
		err   error
	}{
		{"one batch", nil, batch(t, 3, 1, 0), storage.AppendOptions{}, nil},
		{"two batches from a client", nil, append(batch(t, 3, 1, 0), batch(t, 3, 1, 0)...), storage.AppendOptions{}, record.ErrInvalid},
		{"two batches from a coordinator", nil, append(batch(t, 3, 1, 0), batch(t, 3, 1, 0)...), storage.AppendOptions{Origin: storage.OriginCoordinator}, nil},
		{"nothing", nil, nil, storage.AppendOptions{}, record.ErrInvalid},
		{"cut", nil, batch(t, 3, 1, 0)[:90], storage.AppendOptions{}, record.ErrCorrupt},
		{"rotten", nil, flip(batch(t, 3, 1, 0), 90), storage.AppendOptions{}, record.ErrCRC},
		{"too large", func(c *storage.LogConfig) { c.MaxMessageBytes = 100 }, batch(t, 3, 1, 0), storage.AppendOptions{}, storage.ErrMessageTooLarge},
		{"larger than a segment", func(c *storage.LogConfig) { c.SegmentBytes = 100 }, batch(t, 3, 1, 0), storage.AppendOptions{}, storage.ErrMessageTooLarge},
		{"no key in a compacted topic", func(c *storage.LogConfig) { c.Compact = true }, idempotent(t, 1, 0, 0, 1, 1), storage.AppendOptions{}, record.ErrInvalid},
		{"from the future", func(c *storage.LogConfig) { c.TimestampAfterMaxMs = 1000 }, batch(t, 1, 1<<40, 0), storage.AppendOptions{}, record.ErrTimestamp},
		{"from the future, the time is ours", func(c *storage.LogConfig) { c.TimestampAfterMaxMs, c.LogAppendTime = 1000, true }, batch(t, 1, 1<<40, 0), storage.AppendOptions{}, nil},
		{"from the past", func(c *storage.LogConfig) { c.TimestampBeforeMaxMs = 10 }, batch(t, 1, 1, 0), storage.AppendOptions{}, record.ErrTimestamp},
		{"a bomb", nil, bomb(t), storage.AppendOptions{MaxDecompressedBytes: 1 << 16}, record.ErrTooLarge},
		{"another codec", func(c *storage.LogConfig) { c.Compression = &gzip }, batch(t, 50, 1, record.Zstd), storage.AppendOptions{}, nil},
		{"raft at another offset", nil, withEpoch(append(make([]byte, 0), batch(t, 1, 1, 0)...), 0, 1)[:], storage.AppendOptions{Origin: storage.OriginRaft}, nil},
		{"raft in another epoch", nil, batch(t, 1, 1, 0), storage.AppendOptions{Origin: storage.OriginRaft}, storage.ErrNotContiguous},
	} {
		t.Run(tc.name, func(t *testing.T) {
			cfg := smallConfig()
			if tc.set != nil {
				tc.set(&cfg)
			}
			l := openLog(t, memfs.New(), cfg, storage.OpenOptions{})
			info, err := l.AppendLeader(tc.batch, 1, 777, tc.opt)
			require.ErrorIs(t, err, tc.err)
			if err != nil {
				require.Zero(t, l.EndOffset())
				require.Zero(t, l.Size())
				return
			}
			s, _, err := l.Read(0, l.EndOffset(), 1<<20, true)
			require.NoError(t, err)
			data, err := s.AppendTo(nil)
			require.NoError(t, err)
			b, _, err := record.Split(data)
			require.NoError(t, err)
			require.NoError(t, b.Validate())
			require.EqualValues(t, 1, b.Epoch())
			require.Equal(t, cfg.LogAppendTime, b.LogAppendTime())
			if cfg.LogAppendTime {
				require.EqualValues(t, 777, b.MaxTimestamp())
				require.EqualValues(t, 777, info.LogAppendTime)
			}
			if cfg.Compression != nil {
				require.Equal(t, *cfg.Compression, b.Compression())
				n := 0
				for _, err := range b.Records(0) {
					require.NoError(t, err)
					n++
				}
				require.Equal(t, 50, n)
			}
		})
	}
}

func bomb(t testing.TB) []byte {
	b := record.NewBuilder(record.BuilderConfig{Compression: record.Zstd})
	b.Append(1, nil, make([]byte, 1<<20))
	out, err := b.Build()
	require.NoError(t, err)
	return bytes.Clone(out)
}

// A header's largest timestamp is only a claim.
func TestWrongMaxTimestampIsMended(t *testing.T) {
	b := record.Batch(batch(t, 3, 1000, record.None))
	b.SetCreateTime(5)
	l := openLog(t, memfs.New(), smallConfig(), storage.OpenOptions{})
	info, err := l.AppendLeader(b, 1, 1, storage.AppendOptions{})
	require.NoError(t, err)
	require.EqualValues(t, 1002, info.MaxTimestamp)
	require.EqualValues(t, 1002, b.MaxTimestamp())
	require.NoError(t, b.Validate())
}
