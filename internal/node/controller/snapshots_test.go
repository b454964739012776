package controller

import (
	"context"
	"log/slog"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/kraft-dev/kraft-operator/internal/metadata"
	"github.com/kraft-dev/kraft-operator/internal/node/snapshots"
)

// The active controller and a standby offer their committed image at the end of the last batch, never inside a transaction.
func TestTheCommittedImageIsOfferedForSnapshots(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQuorum(t, 1, 1, 2)
		made := map[int32]snapshots.Point{}
		ctx, cancel := context.WithCancel(t.Context())
		defer synctest.Wait()
		defer cancel()
		for id, n := range q.nodes {
			g := snapshots.New(snapshots.Config{HighWatermark: func() (int64, bool) { return 0, true }, Logger: slog.New(slog.DiscardHandler),
				Create: func(at snapshots.Point) (snapshots.Writer, error) { made[id] = at; return nil, nil }})
			n.core.cfg.Snapshots = g
			go func() { _ = g.Run(ctx) }()
		}
		q.elect(1, 0)
		begin := [][]byte{metadata.Encode(metadata.NewBeginTransactionRecord(), 0)}
		q.append(begin)
		q.commits = len(q.batches)
		q.nodes[2].deliver(10)
		synctest.Wait()
		require.NotContains(t, made, int32(2), "the first is where it caught up, and then a transaction is open")

		q.start(2)
		synctest.Wait()
		last := q.batches[len(q.batches)-1]
		for _, id := range []int32{1, 2} {
			require.Equal(t, last.LastOffset+1, made[id].EndOffset, "node %d", id)
			require.Equal(t, last.Epoch, made[id].Epoch)
			require.True(t, made[id].Aligned)
		}
	})
}
