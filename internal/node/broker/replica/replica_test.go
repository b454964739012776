package replica

import (
	"fmt"
	"path"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/kraft-dev/kraft-operator/internal/node/broker/partition"
	"github.com/kraft-dev/kraft-operator/internal/storage"
)

func TestAcksAllIsAnsweredWhenTheISRHasTheRecord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 3, 1)
		defer c.shutdown()
		began := time.Now()
		r := <-c.append(c.leader(0), -1, "a", 30*time.Second)
		require.NoError(t, r.Err)
		require.EqualValues(t, 0, r.BaseOffset)
		require.Less(t, time.Since(began), 300*time.Millisecond)
		c.eventually("followers know the high watermark", func() bool { return c.converged(0) })
		for id := int32(1); id <= 3; id++ {
			require.Equal(t, map[int64]string{0: "a"}, values(t, c.part(id, 0), 1))
		}
	})
}

func TestAppendRefusals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 3, 1)
		defer c.shutdown()
		require.Equal(t, kerr.NotLeaderForPartition, (<-c.append(c.part(2, 0), 1, "x", time.Second)).Err)
		c.kill(2)
		c.kill(3)
		c.fence(2)
		c.fence(3)
		require.Equal(t, kerr.NotEnoughReplicas, (<-c.append(c.leader(0), -1, "x", time.Second)).Err)
		r := <-c.append(c.leader(0), 1, "y", time.Second)
		require.NoError(t, r.Err, "acks=1 needs no other")
		require.EqualValues(t, 0, c.leader(0).Status().HighWatermark, "under min.insync.replicas it stands still")
	})
}

func TestAppendTimesOutWhenAFollowerIsSilentAndItLeavesTheISR(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 3, 1)
		defer c.shutdown()
		c.eventually("start", func() bool { return c.converged(0) })
		c.mu.Lock()
		c.mute[3] = true
		c.mu.Unlock()
		<-time.After(time.Second) // a fetch that is parked already still gets its answer
		began := time.Now()
		r := <-c.append(c.leader(0), -1, "a", 2*time.Second)
		require.Equal(t, kerr.RequestTimedOut, r.Err)
		require.Equal(t, 2*time.Second, time.Since(began))
		p := c.leader(0)
		p.mu.Lock()
		left := p.appends.Len()
		p.mu.Unlock()
		require.Zero(t, left, "nobody waits in the list any more")
		r = <-c.append(c.leader(0), -1, "b", time.Minute)
		require.NoError(t, r.Err, "the silent follower is out of the ISR after replica.lag.time.max.ms")
		require.ElementsMatch(t, []int32{1, 2}, c.leader(0).Status().ISR)
		c.mu.Lock()
		c.mute[3] = false
		c.mu.Unlock()
		c.eventually("it comes back", func() bool { return c.converged(0) })
	})
}

func TestMovingTheLeaderFailsWhatWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 3, 1)
		defer c.shutdown()
		c.mu.Lock()
		c.mute[2], c.mute[3] = true, true
		c.mu.Unlock()
		<-time.After(time.Second)
		waiting := c.append(c.leader(0), -1, "a", time.Minute)
		fetched := make(chan struct{})
		p := c.leader(0)
		res := p.Read(ReadRequest{LeaderEpoch: -1, LastFetchedEpoch: -1, Offset: 0, MaxBytes: 1000})
		require.NoError(t, res.Err)
		w := NewFetchWait(1, false, func() { close(fetched) })
		w.Start([]*Partition{p}, []Seen{res.Seen}, time.Minute)
		began := time.Now()
		c.fence(1)
		require.Equal(t, kerr.NotLeaderForPartition, (<-waiting).Err)
		<-fetched
		require.Zero(t, time.Since(began))
		require.Equal(t, kerr.NotLeaderForPartition, p.Read(ReadRequest{LeaderEpoch: -1, LastFetchedEpoch: -1, MaxBytes: 1000}).Err)
	})
}

func TestFetchWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 3, 2)
		defer c.shutdown()
		p, q := c.leader(0), c.leader(1)
		size := len(batch(t, "a"))
		wait := func(missing int, timeout time.Duration) (waited chan time.Duration) {
			waited = make(chan time.Duration, 1)
			began := time.Now()
			var seen []Seen
			for _, p := range []*Partition{p, q} {
				seen = append(seen, p.Read(ReadRequest{LeaderEpoch: -1, LastFetchedEpoch: -1, Offset: p.Status().HighWatermark, MaxBytes: 1}).Seen)
			}
			NewFetchWait(missing, false, func() { waited <- time.Since(began) }).Start([]*Partition{p, q}, seen, timeout)
			return waited
		}
		w := wait(1, time.Second)
		require.Equal(t, time.Second, <-w, "nothing comes")
		w = wait(size+1, time.Minute)
		require.NoError(t, (<-c.append(p, -1, "a", time.Second)).Err)
		synctest.Wait()
		require.Empty(t, w, "one batch is less than asked for")
		require.NoError(t, (<-c.append(q, -1, "b", time.Second)).Err)
		require.Less(t, <-w, 5*time.Second, "the bytes of both partitions count")
		left := 0
		p.mu.Lock()
		for w := range p.fetches {
			if !w.follower {
				left++
			}
		}
		p.mu.Unlock()
		require.Zero(t, left, "no list remembers it")
	})
}

func TestDeleteRecordsWaitsForTheReplicas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 3, 1)
		defer c.shutdown()
		for i := range 10 {
			require.NoError(t, (<-c.append(c.leader(0), -1, fmt.Sprint(i), time.Second)).Err)
		}
		c.eventually("caught up", func() bool { return c.converged(0) })
		type result struct {
			low int64
			err error
		}
		del := func(offset int64) result {
			got := make(chan result, 1)
			c.leader(0).DeleteRecords(offset, 5*time.Second, func(low int64, err error) { got <- result{low, err} })
			return <-got
		}
		require.Equal(t, result{6, nil}, del(6))
		for id := int32(1); id <= 3; id++ {
			require.EqualValues(t, 6, c.part(id, 0).Status().LogStartOffset)
		}
		require.Equal(t, result{-1, kerr.OffsetOutOfRange}, del(11))
		require.Equal(t, result{10, nil}, del(-1))
		require.Equal(t, kerr.OffsetOutOfRange, c.leader(0).Read(ReadRequest{LeaderEpoch: -1, LastFetchedEpoch: -1, Offset: 3, MaxBytes: 1}).Err)
		c.mu.Lock()
		c.mute[3] = true
		c.mu.Unlock()
		<-time.After(time.Second)
		require.NoError(t, (<-c.append(c.leader(0), 1, "x", time.Second)).Err)
	})
}

func TestListOffsets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 3, 1)
		defer c.shutdown()
		first := time.Now().UnixMilli()
		for i := range 4 {
			require.NoError(t, (<-c.append(c.leader(0), -1, fmt.Sprint(i), time.Second)).Err)
			<-time.After(time.Minute)
		}
		p := c.leader(0)
		for name, tc := range map[string]struct{ timestamp, want int64 }{
			"latest": {Latest, 4}, "earliest": {Earliest, 0}, "earliest local": {EarliestLocal, 0}, "tiered": {LatestTiered, -1},
			"largest timestamp": {MaxTimestamp, 3}, "before all": {0, 0}, "in between": {first + 61_000, 2}, "after all": {first + 1e9, -1},
		} {
			at, err := p.ListOffset(tc.timestamp, -1, false)
			require.NoError(t, err, name)
			require.Equal(t, tc.want, at.Offset, name)
		}
		_, err := p.ListOffset(Latest, 9, false)
		require.Equal(t, kerr.UnknownLeaderEpoch, err)
		end, err := p.EndOfEpoch(0, 0)
		require.NoError(t, err)
		require.Equal(t, EpochEnd{0, 4}, end)
	})
}

func TestACleanStopIsRemembered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 3, 1)
		defer c.shutdown()
		require.NoError(t, (<-c.append(c.leader(0), -1, "a", time.Second)).Err)
		c.eventually("caught up", func() bool { return c.converged(0) })
		epoch := c.nodes[3].epoch
		fs := c.stop(3)
		hw, err := storage.ReadOffsetCheckpoint(fs, logDir, storage.HighWatermarkFile)
		require.NoError(t, err)
		require.Equal(t, map[storage.TopicPartition]int64{{Topic: "t"}: 1}, hw)
		recovery, err := storage.ReadOffsetCheckpoint(fs, logDir, storage.RecoveryPointFile)
		require.NoError(t, err)
		require.Equal(t, map[storage.TopicPartition]int64{{Topic: "t"}: 1}, recovery)
		n := c.start(3, fs)
		require.Equal(t, epoch, n.m.PreviousEpoch())
		require.EqualValues(t, 1, c.part(3, 0).Status().HighWatermark)
		_, err = storage.ReadCleanShutdown(fs, logDir)
		require.Error(t, err, "the marker is gone once the logs are in use")
		fs = c.kill(3)
		n = c.start(3, fs)
		require.EqualValues(t, -1, n.m.PreviousEpoch())
	})
}

func TestADeletedTopicsFolderGoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 1, 1)
		c.cfg.MinISR = 1
		defer c.shutdown()
		c.leader(0).setConfig(c.cfg)
		require.NoError(t, (<-c.append(c.leader(0), -1, "a", time.Second)).Err)
		n := c.nodes[1]
		p := c.leader(0)
		require.NoError(t, n.m.Apply(nil, []Removal{{Topic: "t", TopicID: c.id, Index: 0}}))
		require.Equal(t, kerr.NotLeaderForPartition, (<-c.append(p, 1, "b", time.Second)).Err)
		folders := func(suffix string) (found int) {
			names, err := n.fs.List(logDir)
			require.NoError(t, err)
			for _, name := range names {
				if strings.HasSuffix(name, suffix) {
					found++
				}
			}
			return found
		}
		require.Equal(t, 1, folders("-delete"))
		again := Target{Topic: "t", TopicID: c.id, Index: 0, Assignment: partition.Assignment{Replicas: []int32{1}, ISR: []int32{1}, Leader: 1}}
		again.TopicID[3] = 9
		require.NoError(t, n.m.Apply([]Target{again}, nil), "the name is free at once")
		<-time.After(2 * time.Minute)
		require.Equal(t, 0, folders("-delete"))
		require.True(t, n.roles[len(n.roles)-2].Deleted)
	})
}

func TestAStrayLogIsSetAsideAndKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 1, 2)
		fs := c.stop(1)
		delete(c.current, 1)
		n := c.start(1, fs)
		names, err := n.fs.List(logDir)
		require.NoError(t, err)
		strays := 0
		for _, name := range names {
			if _, kind, ok := storage.ParseDirName(name); ok && kind == storage.DirStray {
				strays++
				_, err := storage.ReadPartitionMetadata(fs, path.Join(logDir, name))
				require.NoError(t, err)
			}
		}
		require.Equal(t, 1, strays)
		c.shutdown()
	})
}

func TestAnUncleanLeadersLogReplacesTheFollowers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 3, 1)
		defer c.shutdown()
		require.NoError(t, (<-c.append(c.leader(0), -1, "both", time.Second)).Err)
		c.eventually("caught up", func() bool { return c.converged(0) })
		disk := c.kill(3)
		c.fence(3)
		for i := range 5 {
			require.NoError(t, (<-c.append(c.leader(0), -1, fmt.Sprint("lost ", i), time.Second)).Err)
		}
		d1, d2 := c.kill(1), c.kill(2)
		c.mu.Lock()
		a := c.current[0]
		a.ISR, a.Leader, a.LeaderEpoch, a.PartitionEpoch = []int32{3}, 3, a.LeaderEpoch+3, a.PartitionEpoch+3
		c.current[0] = a
		c.mu.Unlock()
		c.start(3, disk)
		require.NoError(t, (<-c.append(c.leader(0), 1, "new", time.Second)).Err)
		c.start(1, d1)
		c.start(2, d2)
		c.eventually("the others follow", func() bool { return c.converged(0) })
		for id := int32(1); id <= 3; id++ {
			require.Equal(t, map[int64]string{0: "both", 1: "new"}, values(t, c.part(id, 0), 2))
		}
	})
}

// TestNothingAcknowledgedIsLost kills brokers at random under load, restarts them, moves leaders, and at the end reads every
// acknowledged record from every replica.
func TestNothingAcknowledgedIsLost(t *testing.T) {
	for seed := range uint64(12) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { playKills(t, seed) })
		})
	}
}

func playKills(t *testing.T, seed uint64) {
	c := newCluster(t, 3, 3)
	rnd := chaos(seed)
	acked := map[int32]map[int64]string{0: {}, 1: {}, 2: {}}
	type pending struct {
		index int32
		value string
		done  chan AppendResult
	}
	var open []pending
	settle := func() {
		for _, p := range open {
			if r := <-p.done; r.Err == nil {
				old, had := acked[p.index][r.BaseOffset]
				require.False(t, had, "offset %d acknowledged twice: %q and %q", r.BaseOffset, old, p.value)
				acked[p.index][r.BaseOffset] = p.value
			}
		}
		open = nil
	}
	serial := 0
	for round := range 8 {
		for range 20 {
			index := int32(rnd.IntN(3))
			if p := c.leader(index); p != nil {
				serial++
				v := fmt.Sprintf("%d-%d", round, serial)
				open = append(open, pending{index, v, c.append(p, -1, v, 3*time.Second)})
			}
			<-time.After(time.Duration(rnd.IntN(20)) * time.Millisecond)
		}
		victim := int32(1 + rnd.IntN(3))
		disk := c.kill(victim)
		if rnd.IntN(2) == 0 {
			c.fence(victim)
		} else { // the leader moves only later: the others wait for its session to end
			<-time.After(time.Duration(rnd.IntN(2000)) * time.Millisecond)
			c.fence(victim)
		}
		<-time.After(time.Duration(rnd.IntN(500)) * time.Millisecond)
		c.start(victim, disk)
		c.unfence()
		settle()
		if rnd.IntN(2) == 0 {
			c.eventually("in sync", func() bool { return c.converged(0) && c.converged(1) && c.converged(2) })
		}
	}
	settle()
	c.eventually("in sync at the end", func() bool { return c.converged(0) && c.converged(1) && c.converged(2) })
	total := 0
	for index, want := range acked {
		for id := int32(1); id <= 3; id++ {
			got := values(t, c.part(id, index), c.part(id, index).Status().HighWatermark)
			for offset, v := range want {
				require.Equal(t, v, got[offset], "partition %d offset %d on broker %d", index, offset, id)
			}
		}
		total += len(want)
	}
	require.Greater(t, total, 50)
	c.shutdown()
}
