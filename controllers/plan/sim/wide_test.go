package sim

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kraft-dev/kraft-operator/controllers/plan"
)

// TestWhoGoesTogether are the rules one by one.
func TestWhoGoesTogether(t *testing.T) {
	for _, tc := range []struct {
		name   string
		change func(*plan.Snapshot)
		want   []int32
	}{
		{name: "one rack, the rest of it", want: []int32{1003, 1006}},
		{name: "never more than maxUnavailable", change: func(s *plan.Snapshot) { s.MaxUnavailable = 1 }, want: nil},
		{name: "the first of a template goes alone", change: func(s *plan.Snapshot) {
			for i := range s.Nodes {
				s.Nodes[i].Has = "v1"
			}
		}, want: nil},
		{name: "one that shares a partition at its minimum waits", change: func(s *plan.Snapshot) {
			s.Partitions.Sets = []plan.ReplicaSet{{Replicas: []int32{1003, 1006, 1001}, ISR: []int32{1003, 1006, 1001}, MinISR: 2}}
		}, want: nil},
		{name: "more replicas bear more", change: func(s *plan.Snapshot) {
			s.Partitions.Sets = []plan.ReplicaSet{{Replicas: []int32{1003, 1006, 1001, 1002}, ISR: []int32{1001, 1002, 1003, 1006}, MinISR: 2}}
		}, want: []int32{1003, 1006}},
		{name: "a partition that can't be held up misses one replica at a time", change: func(s *plan.Snapshot) {
			s.Partitions.Sets = []plan.ReplicaSet{{Replicas: []int32{1003, 1006}, ISR: []int32{1003, 1006}, MinISR: 2}}
		}, want: nil},
		{name: "single replicas are missed anyway", change: func(s *plan.Snapshot) {
			s.Partitions.Sets = []plan.ReplicaSet{{Replicas: []int32{1003}, ISR: []int32{1003}, MinISR: 2}, {Replicas: []int32{1006}, ISR: []int32{1006}, MinISR: 1}}
		}, want: []int32{1003, 1006}},
		{name: "without zones the partitions decide", change: func(s *plan.Snapshot) {
			for i := range s.Nodes {
				s.Nodes[i].Zone, s.Nodes[i].Has = "", cmp.Or(map[int]string{0: "v2"}[i], "v1")
			}
			s.MaxUnavailable = 3
		}, want: []int32{1001, 1002, 1003}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newRacks(1, 7, 3, 0, true)
			for i := range w.nodes {
				w.nodes[i].Want = "v2"
			}
			w.nodes[0].Has, w.nodes[0].Pod.Hash = "v2", "v2"
			w.nodes[1].Has, w.nodes[1].Pod.Hash = "v2", "v2"
			w.now = w.now.Add(time.Hour)
			w.most = 7
			for _, i := range []int{2, 5} {
				w.nodes[i].Has, w.nodes[i].Pod.Hash = "v2", "v2"
			}
			s := w.snapshot()
			if tc.change != nil {
				tc.change(&s)
			}
			step := plan.Roll(s)
			var ids []int32
			for _, n := range step.Batch {
				ids = append(ids, n.ID)
			}
			require.Equal(t, tc.want, ids)
			if tc.want == nil {
				require.Equal(t, plan.RollEvict, step.Do)
			}
		})
	}
}

// TestALaggardGoesWhereItIsBorne: past its budget, and only if the others that are up are enough, whatever is said of one that stopped.
func TestALaggardGoesWhereItIsBorne(t *testing.T) {
	for _, tc := range []struct {
		name   string
		change func(*plan.Snapshot)
		want   int32 // who is deleted; -1 for none
	}{
		{name: "a broker with a replica that isn't in sync", want: 1000},
		{name: "not where one that stopped is in sync still", want: -1, change: func(s *plan.Snapshot) {
			s.Nodes[2].Pod = &plan.Pod{Name: "b1002-0", UID: "new", Hash: "v1", Created: s.Now.Add(-time.Hour)}
		}},
		{name: "a voter that doesn't keep up", want: 3, change: voters(nil)},
		{name: "not where one that stopped has fetched a moment ago", want: -1, change: voters(func(s *plan.Snapshot) {
			s.Nodes[1].Pod = &plan.Pod{Name: "c1-0", UID: "new", Hash: "v1", Created: s.Now.Add(-time.Hour)}
		})},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newRacks(1, 4, 1, 0, true)
			w.now = w.now.Add(time.Hour)
			for i := range w.nodes {
				w.nodes[i].Want = "v2"
			}
			s := w.snapshot()
			s.Partitions.Sets = []plan.ReplicaSet{
				{Replicas: []int32{1000, 1001, 1002}, ISR: []int32{1000, 1001, 1002}, MinISR: 2, Count: 1, Examples: []string{"t-0"}},
				{Replicas: []int32{1000, 1003}, ISR: []int32{1003}, MinISR: 1, Count: 1, Examples: []string{"u-0"}},
				{Replicas: []int32{1002, 1003}, ISR: []int32{1002}, MinISR: 1, Count: 1, Examples: []string{"v-0"}},
			}
			s.Partitions.Short = map[int32]int{1002: 1, 1003: 1}
			if tc.change != nil {
				tc.change(&s)
			}
			step := plan.Roll(s)
			if tc.want < 0 {
				require.Equal(t, plan.RollWait, step.Do, step)
				return
			}
			require.Equal(t, plan.RollDelete, step.Do, step.Why)
			require.Equal(t, tc.want, step.Node.ID)
		})
	}
}

// voters are five, of which two lag: three are a majority.
func voters(change func(*plan.Snapshot)) func(*plan.Snapshot) {
	return func(s *plan.Snapshot) {
		s.Nodes, s.Quorum = nil, &plan.Quorum{Epoch: 1, HighWatermark: 10}
		for id := range int32(5) {
			s.Nodes = append(s.Nodes, plan.Node{
				ID: id, Name: fmt.Sprintf("c%d", id), Controller: true, Want: "v2", Has: "v1",
				Pod: &plan.Pod{Name: fmt.Sprintf("c%d-0", id), UID: types.UID(fmt.Sprint(id)), Hash: "v1", Ready: true, Created: s.Now.Add(-time.Hour)},
			})
			v := plan.Replica{ID: id, LogEndOffset: 10}
			if id >= 3 {
				v.SinceFetch = time.Minute
			}
			s.Quorum.Voters = append(s.Quorum.Voters, v)
		}
		if change != nil {
			change(s)
		}
	}
}

// TestTheRestOfABatchIsProvedAgain: who is down already counts as absent, whatever the in-sync replicas say yet.
func TestTheRestOfABatchIsProvedAgain(t *testing.T) {
	for _, tc := range []struct {
		replicas []int32
		want     plan.RollAction
	}{
		{replicas: []int32{1003, 1001, 1002}, want: plan.RollBatch},
		{replicas: []int32{1003, 1006, 1001}, want: plan.RollWait},
	} {
		w := newRacks(1, 7, 3, 0, true)
		for i := range w.nodes {
			w.nodes[i].Want = "v2"
		}
		w.most = 7
		w.batch = []plan.BatchPod{{Node: 1003, UID: w.nodes[3].Pod.UID, Hash: "v2"}, {Node: 1006, UID: w.nodes[6].Pod.UID, Hash: "v2"}}
		w.nodes[3].Has = "v2"
		w.evict(&w.nodes[3])
		s := w.snapshot()
		s.Partitions.Sets = []plan.ReplicaSet{{Replicas: tc.replicas, ISR: tc.replicas, MinISR: 2}}
		require.Equal(t, tc.want, plan.Roll(s).Do, "%v", tc.replicas)
	}
}

// TestAWideRollWaitsForReplicasToCatchUp, for a while.
func TestAWideRollWaitsForReplicasToCatchUp(t *testing.T) {
	w := newRacks(1, 9, 3, 60, true)
	w.most = 9
	for i := range w.partitions {
		w.partitions[i].MinISR = 1
	}
	w.roll("v2", func(s plan.RollStep) bool { return strings.Contains(s.Why, "to catch up") })
	w.now = w.now.Add(plan.CatchingUp)
	require.NotContains(t, plan.Roll(w.snapshot()).Why, "to catch up", "it may never")
	require.NotEmpty(t, slices.Collect(maps.Keys(w.behind)))
}

// TestRollOf50 is the figure: 50 brokers in 3 racks, all at once where it is safe, against one by one.
func TestRollOf50(t *testing.T) {
	times := map[int]time.Duration{}
	for _, most := range []int{50, 1} {
		w := newRacks(1, 50, 3, 300, true)
		w.most = most
		times[most] = w.roll("v2", rolled)
		if most == 50 {
			require.Equal(t, 4, w.batches, strings.Join(w.log, "\n"))
			golden(t, "roll-50", w.log)
		} else {
			require.Equal(t, 1, w.downMost)
		}
	}
	ratio := times[1].Seconds() / times[50].Seconds()
	verdict := "PASS"
	if ratio < 5 {
		verdict = "FAIL"
	}
	fmt.Printf("BENCH roll_50 ours=%.0f peer=%.0f ratio=%.1f goal=5 %s\n", times[50].Seconds(), times[1].Seconds(), ratio, verdict)
	require.GreaterOrEqual(t, ratio, 5.0)
}

// TestAWideRollLeavesEveryPartitionItsMinimum, and is wide, and drains get through beside it.
func TestAWideRollLeavesEveryPartitionItsMinimum(t *testing.T) {
	wide, drained := 0, 0
	for seed := range uint64(60) {
		w := held(t, playWide, seed)
		if w.downMost > 1 {
			wide++
		}
		drained += w.drained
	}
	require.Greater(t, wide, 15, "wide rolls")
	require.Greater(t, drained, 20, "drains got through")
}
