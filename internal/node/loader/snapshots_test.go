package loader

import (
	"context"
	"log/slog"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/kraft-dev/kraft-operator/internal/metadata"
	"github.com/kraft-dev/kraft-operator/internal/node/raft"
	"github.com/kraft-dev/kraft-operator/internal/node/snapshots"
)

// A snapshot stands at the end of the last committed batch, control batches included, and never inside a metadata transaction.
func TestSnapshotsAreOfferedAtBatchEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fixture{hw: &hw{}}
		f.hw.set(1)
		var made []snapshots.Point
		g := snapshots.New(snapshots.Config{MaxBytes: 1, HighWatermark: f.hw.get, Logger: slog.New(slog.DiscardHandler),
			Create: func(at snapshots.Point) (snapshots.Writer, error) { made = append(made, at); return nil, nil }})
		f.l = New(Config{HighWatermark: f.hw.get, Logger: slog.New(slog.DiscardHandler), Fault: func(err error) { t.Error(err) }, Snapshots: g})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 2)
		go func() { done <- f.l.Run(ctx) }()
		go func() { done <- g.Run(ctx) }()
		commit := func(b raft.CommittedBatch) {
			b.Epoch, b.SizeBytes, b.AppendTimestamp = 2, 100, 1000+b.LastOffset
			f.l.HandleCommit([]raft.CommittedBatch{b})
			synctest.Wait()
		}
		point := func(end int64) snapshots.Point {
			return snapshots.Point{EndOffset: end, Epoch: 2, Timestamp: 999 + end, Aligned: true}
		}
		value := func(rec metadata.Record) []byte { return metadata.Encode(rec, 0) }

		commit(topicBatch(0, "a", 1))
		require.Empty(t, made, "caught up just now")
		commit(topicBatch(1, "b", 2))
		require.Equal(t, []snapshots.Point{point(2)}, made)
		commit(raft.CommittedBatch{BaseOffset: 2, LastOffset: 4})
		require.Equal(t, point(5), made[1], "a control batch counts")

		commit(raft.CommittedBatch{BaseOffset: 5, LastOffset: 6, Records: [][]byte{topicBatch(5, "c", 3).Records[0], value(metadata.NewBeginTransactionRecord())}})
		commit(topicBatch(7, "d", 4))
		require.Len(t, made, 2, "a transaction is open")
		commit(raft.CommittedBatch{BaseOffset: 8, LastOffset: 8, Records: [][]byte{value(metadata.NewEndTransactionRecord())}})
		require.Equal(t, point(9), made[2])
		require.Len(t, made, 3)

		f.l.HandleLoadSnapshot(&snapshot{batches: []raft.CommittedBatch{topicBatch(0, "z", 9)}})
		synctest.Wait()
		require.Len(t, made, 3, "what was loaded is no reason for another")
		cancel()
		require.NoError(t, <-done)
		require.NoError(t, <-done)
	})
}
