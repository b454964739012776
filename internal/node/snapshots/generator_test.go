package snapshots

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kraft-dev/kraft-operator/internal/metadata"
	"github.com/kraft-dev/kraft-operator/internal/uuid"
)

// world is a log that takes snapshots, and its high watermark.
type world struct {
	mu     sync.Mutex
	hw     int64
	known  bool
	begun  []Point
	frozen map[int64][]metadata.Record // by end offset
	newest int64
	fail   error
	gate   chan struct{} // nil: writing takes no time
}

type writer struct {
	w    *world
	at   Point
	recs []metadata.Record
}

func (w *world) create(at Point) (Writer, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.begun = append(w.begun, at)
	if _, there := w.frozen[at.EndOffset]; there {
		return nil, nil
	}
	return &writer{w: w, at: at}, nil
}

func (w *writer) Append(values ...[]byte) error {
	if w.w.gate != nil {
		<-w.w.gate
	}
	for _, v := range values {
		rec, _, err := metadata.Decode(v)
		if err != nil {
			return err
		}
		w.recs = append(w.recs, rec)
	}
	return w.w.fail
}

func (w *writer) Freeze() (int64, error) {
	w.w.mu.Lock()
	defer w.w.mu.Unlock()
	w.w.frozen[w.at.EndOffset] = w.recs
	return int64(len(w.recs)), nil
}

func (w *writer) Abort() error { return nil }

func image(t *testing.T, topics int) *metadata.Image {
	t.Helper()
	recs := metadata.BootstrapRecords()
	for i := range topics {
		recs = append(recs, &metadata.TopicRecord{Name: fmt.Sprint("t-", i), TopicID: uuid.UUID{byte(i), byte(i >> 8), 1}})
	}
	img, err := metadata.Empty().Apply(recs, int64(len(recs))-1, 1)
	require.NoError(t, err)
	return img
}

func run(t *testing.T, w *world, test func(g *Generator)) {
	synctest.Test(t, func(t *testing.T) {
		w.frozen = map[int64][]metadata.Record{}
		g := New(Config{MaxBytes: 100, Interval: time.Hour, Create: w.create, Logger: slog.New(slog.DiscardHandler),
			HighWatermark: func() (int64, bool) { return w.hw, w.known }, Newest: func() int64 { return w.newest }})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- g.Run(ctx) }()
		test(g)
		cancel()
		require.NoError(t, <-done)
	})
}

func at(end int64) Point { return Point{EndOffset: end, Epoch: 1, Timestamp: end, Aligned: true} }

func TestNothingIsMadeBeforeTheLogWasCaughtUpWith(t *testing.T) {
	w := &world{}
	run(t, w, func(g *Generator) {
		img := image(t, 3)
		g.Committed(img, at(10), 1000)
		w.hw, w.known = 30, true
		g.Committed(img, at(20), 1000)
		g.Committed(img, at(30), 1000) // caught up: from here on it counts
		g.Committed(img, at(40), 99)
		synctest.Wait()
		require.Empty(t, w.begun)
		g.Committed(img, at(41), 1)
		synctest.Wait()
		require.Equal(t, []Point{at(41)}, w.begun)
		<-time.After(time.Hour)
		g.Committed(img, at(42), 1)
		synctest.Wait()
		require.Equal(t, []Point{at(41), at(42)}, w.begun, "an hour has passed")
		g.Committed(img, at(50), 60)
		g.Loaded()
		g.Committed(img, at(51), 60)
		synctest.Wait()
		require.Len(t, w.begun, 2, "a snapshot that was loaded counts as one made")
	})
}

// A snapshot holds the image as it was, however far the state machine has gone on; meanwhile no other is begun.
func TestOneAtATimeFromAnImmutableImage(t *testing.T) {
	w := &world{known: true}
	run(t, w, func(g *Generator) {
		w.gate = make(chan struct{})
		img := image(t, 3000)
		g.Committed(img, at(1), 0)
		g.Committed(img, at(3003), 100)
		synctest.Wait()
		next, err := img.Apply([]metadata.Record{&metadata.RemoveTopicRecord{TopicID: uuid.UUID{0, 0, 1}}}, 3003, 1)
		require.NoError(t, err)
		g.Committed(next, at(3004), 100)
		g.Committed(next, at(3005), 100)
		synctest.Wait()
		require.Equal(t, []Point{at(3003)}, w.begun)
		close(w.gate)
		synctest.Wait()
		var want []metadata.Record
		for rec := range img.Records() {
			want = append(want, rec)
		}
		require.Equal(t, len(want), len(w.frozen[3003]))
		rebuilt, err := metadata.Empty().Apply(w.frozen[3003], img.Offset, img.Epoch)
		require.NoError(t, err)
		require.True(t, metadata.Changes(img, rebuilt).IsEmpty())
		first, ok := w.frozen[3003][0].(*metadata.FeatureLevelRecord)
		require.True(t, ok)
		require.Equal(t, metadata.FeatureMetadataVersion, first.Name)

		g.Committed(next, at(3006), 0)
		synctest.Wait()
		require.Equal(t, []Point{at(3003), at(3006)}, w.begun, "what was put off is due now")
		g.Committed(next, at(3006), 100)
		synctest.Wait()
		require.Len(t, w.begun, 3, "one that exists is no error")
	})
}

func TestAFailureIsTriedAgainWhenDue(t *testing.T) {
	w := &world{known: true, fail: errors.New("no space left on device")}
	run(t, w, func(g *Generator) {
		img := image(t, 1)
		g.Committed(img, at(1), 0)
		g.Committed(img, at(2), 100)
		synctest.Wait()
		require.Empty(t, w.frozen)
		w.fail = nil
		g.Committed(img, at(3), 99)
		synctest.Wait()
		require.Empty(t, w.frozen)
		g.Committed(img, at(4), 1)
		synctest.Wait()
		require.Contains(t, w.frozen, int64(4))
	})
}

func TestALeavingNodeSparesItsNextStartTheLog(t *testing.T) {
	open := at(30_000)
	open.Aligned = false
	for _, tc := range []struct {
		name   string
		topics int
		newest int64
		known  bool
		offers []Point
		want   []int64 // end offsets of what is frozen
	}{
		{name: "much log, small image", topics: 3, known: true, offers: []Point{at(20_000)}, want: []int64{20_000}},
		{name: "the newest image", topics: 3, known: true, offers: []Point{at(20_000), at(20_001)}, want: []int64{20_001}},
		{name: "the newest that can be one", topics: 3, known: true, offers: []Point{at(20_000), open}, want: []int64{20_000}},
		{name: "little log", topics: 3, newest: 20_000, known: true, offers: []Point{at(29_999)}},
		{name: "log behind a snapshot", topics: 3, newest: 20_000, known: true, offers: []Point{at(30_000)}, want: []int64{30_000}},
		{name: "an image of more than half of the log", topics: 5_001, known: true, offers: []Point{at(10_000)}},
		{name: "an image that has not caught up", topics: 3, offers: []Point{at(20_000)}},
		{name: "no image", known: true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := &world{known: tc.known, newest: tc.newest}
			run(t, w, func(g *Generator) {
				img := image(t, tc.topics)
				for _, p := range tc.offers {
					g.Committed(img, p, 0)
				}
				g.Leave(context.Background())
				require.ElementsMatch(t, tc.want, slices.Collect(maps.Keys(w.frozen)))
				if len(tc.offers) > 0 && len(tc.want) > 0 {
					g.Committed(img, at(40_000), 1000)
					synctest.Wait()
					require.Len(t, w.frozen, 1, "none is begun after the last")
				}
			})
		})
	}
}

func TestALeavingNodeWaitsNoLongerThanItsTime(t *testing.T) {
	w := &world{known: true}
	run(t, w, func(g *Generator) {
		img := image(t, 3000)
		g.Committed(img, at(20_000), 0)
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		g.Leave(ctx)
		require.Empty(t, w.frozen)
	})
}

func TestALeavingNodeWaitsForTheSnapshotUnderWay(t *testing.T) {
	w := &world{known: true}
	run(t, w, func(g *Generator) {
		w.gate = make(chan struct{})
		img := image(t, 3)
		g.Committed(img, at(20_000), 0)
		g.Committed(img, at(20_001), 100)
		left := make(chan struct{})
		go func() {
			g.Leave(context.Background())
			close(left)
		}()
		synctest.Wait()
		select {
		case <-left:
			t.Fatal("it didn't wait")
		default:
		}
		close(w.gate)
		<-left
		require.Contains(t, w.frozen, int64(20_001))
	})
}
