package group

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kraft-dev/kraft-operator/internal/uuid"
)

// TestDeadlinesComeInOrder against a plain map: nobody comes early, late or twice.
func TestDeadlinesComeInOrder(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var d deadlines
	entries := make([]*entry, 50)
	for i := range entries {
		entries[i] = newEntry(fmt.Sprint(i), Config{})
	}
	want := map[*entry]time.Duration{}
	now := time.Duration(0)
	for range 20_000 {
		e := entries[rng.IntN(len(entries))]
		if at := now + time.Duration(rng.IntN(100)); rng.IntN(4) > 0 {
			d.set(e, at, true)
			want[e] = at
		} else {
			d.set(e, 0, false)
			delete(want, e)
		}
		now += time.Duration(rng.IntN(3))
		for _, e := range d.takeDue(now) {
			at, ok := want[e]
			require.True(t, ok && at <= now)
			delete(want, e)
		}
		for _, at := range want {
			require.Greater(t, at, now)
		}
		require.Len(t, d, len(want))
	}
}

// alone is a broker that leads one partition of __consumer_offsets and has nobody to replicate to.
type alone struct{}

func (alone) Append(_ int32, _ []KV, _ int64, done func(error))        { done(nil) }
func (alone) Load(context.Context, int32, func(KV) error) error        { return nil }
func (alone) OffsetsPartitions() (int32, bool)                         { return 1, true }
func (alone) CreateOffsetsTopic()                                      {}
func (alone) OffsetsLeader(int32, string) (int32, string, int32, bool) { return 0, "", 0, true }
func (alone) TopicID(string) (id uuid.UUID, ok bool)                   { return id, false }
func (alone) TopicName(uuid.UUID) (string, bool)                       { return "", false }
func (alone) PartitionExists(string, int32) bool                       { return true }

// TestSilentMembersAreRemovedInTime among many groups: after its session timeout and not before, heartbeats or not.
func TestSilentMembersAreRemovedInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := NewCoordinator(Settings{Group: testConfig, RetentionInterval: time.Hour}, alone{}, alone{}, slog.New(slog.DiscardHandler))
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- c.Run(ctx) }()
		c.BecomeLeader(0, 1)
		synctest.Wait()
		const groups = 300
		// on runs f for a group on the loop.
		on := func(id string, f func(s *shard, e *entry)) {
			c.post(func() { f(c.shards[0], c.shards[0].groups[id]) })
			synctest.Wait()
		}
		session := func(i int) time.Duration { return time.Duration(10+i%7) * time.Second }
		for i := range groups {
			id := fmt.Sprint(i)
			on(id, func(s *shard, _ *entry) {
				e := newEntry(id, c.cfg.Group)
				s.groups[id] = e
				r := request("m")
				r.SessionTimeout, r.NewMemberID, r.MemberID = session(i), "m", ""
				c.apply(s, e, e.Join(c.now(), r, func(Reply) {}))
			})
			on(id, func(s *shard, e *entry) {
				c.apply(s, e, e.Sync(c.now(), SyncRequest{MemberID: "m", Generation: e.Generation, Assignments: map[string][]byte{"m": {1}}}, func(Reply) {}))
			})
			on(id, func(_ *shard, e *entry) { require.Equal(t, Stable, e.State) })
		}
		require.Len(t, c.deadlines, groups)
		members := func(i int) (n int) {
			on(fmt.Sprint(i), func(_ *shard, e *entry) { n = len(e.Members) })
			return n
		}
		time.Sleep(9 * time.Second) //nolint:forbidigo // virtual time
		for i := 0; i < groups; i += 2 {
			on(fmt.Sprint(i), func(_ *shard, e *entry) { require.NoError(t, e.Heartbeat(c.now(), "m", nil, e.Generation)) })
		}
		for i := range groups {
			require.Equal(t, 1, members(i), "group %d after 9 s", i)
		}
		time.Sleep(500 * time.Millisecond) //nolint:forbidigo // virtual time; between what happens at whole seconds
		for s := 10; s <= 26; s++ {
			time.Sleep(time.Second) //nolint:forbidigo // virtual time
			for i := range groups {
				gone := session(i)
				if i%2 == 0 {
					gone += 9 * time.Second
				}
				want := 1
				if time.Duration(s)*time.Second >= gone {
					want = 0
				}
				require.Equal(t, want, members(i), "group %d after %d.5 s", i, s)
			}
		}
		require.Empty(t, c.deadlines)
		cancel()
		require.NoError(t, <-ended)
	})
}
