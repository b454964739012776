package plan

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestWhoGoesTogether are the rules one by one.
func TestWhoGoesTogether(t *testing.T) {
	for _, tc := range []struct {
		name   string
		change func(*Snapshot)
		want   []int32
	}{
		{name: "one rack, the rest of it", want: []int32{1003, 1006}},
		{name: "never more than maxUnavailable", change: func(s *Snapshot) { s.MaxUnavailable = 1 }, want: nil},
		{name: "the first of a template goes alone", change: func(s *Snapshot) {
			for i := range s.Nodes {
				s.Nodes[i].Has = "v1"
			}
		}, want: nil},
		{name: "one that shares a partition at its minimum waits", change: func(s *Snapshot) {
			s.Partitions.Sets = []ReplicaSet{{Replicas: []int32{1003, 1006, 1001}, ISR: []int32{1003, 1006, 1001}, MinISR: 2}}
		}, want: nil},
		{name: "more replicas bear more", change: func(s *Snapshot) {
			s.Partitions.Sets = []ReplicaSet{{Replicas: []int32{1003, 1006, 1001, 1002}, ISR: []int32{1001, 1002, 1003, 1006}, MinISR: 2}}
		}, want: []int32{1003, 1006}},
		{name: "a partition that can't be held up misses one replica at a time", change: func(s *Snapshot) {
			s.Partitions.Sets = []ReplicaSet{{Replicas: []int32{1003, 1006}, ISR: []int32{1003, 1006}, MinISR: 2}}
		}, want: nil},
		{name: "single replicas are missed anyway", change: func(s *Snapshot) {
			s.Partitions.Sets = []ReplicaSet{{Replicas: []int32{1003}, ISR: []int32{1003}, MinISR: 2}, {Replicas: []int32{1006}, ISR: []int32{1006}, MinISR: 1}}
		}, want: []int32{1003, 1006}},
		{name: "without zones the partitions decide", change: func(s *Snapshot) {
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
			step := Roll(s)
			var ids []int32
			for _, n := range step.Batch {
				ids = append(ids, n.ID)
			}
			require.Equal(t, tc.want, ids)
			if tc.want == nil {
				require.Equal(t, RollEvict, step.Do)
			}
		})
	}
}

// TestTheRestOfABatchIsProvedAgain: who is down already counts as absent, whatever the in-sync replicas say yet.
func TestTheRestOfABatchIsProvedAgain(t *testing.T) {
	for _, tc := range []struct {
		replicas []int32
		want     RollAction
	}{
		{replicas: []int32{1003, 1001, 1002}, want: RollBatch},
		{replicas: []int32{1003, 1006, 1001}, want: RollWait},
	} {
		w := newRacks(1, 7, 3, 0, true)
		for i := range w.nodes {
			w.nodes[i].Want = "v2"
		}
		w.most = 7
		w.batch = []BatchPod{{Node: 1003, UID: w.nodes[3].Pod.UID, Hash: "v2"}, {Node: 1006, UID: w.nodes[6].Pod.UID, Hash: "v2"}}
		w.nodes[3].Has = "v2"
		w.evict(&w.nodes[3])
		s := w.snapshot()
		s.Partitions.Sets = []ReplicaSet{{Replicas: tc.replicas, ISR: tc.replicas, MinISR: 2}}
		require.Equal(t, tc.want, Roll(s).Do, "%v", tc.replicas)
	}
}

// TestAWideRollWaitsForReplicasToCatchUp, for a while.
func TestAWideRollWaitsForReplicasToCatchUp(t *testing.T) {
	w := newRacks(1, 9, 3, 60, true)
	w.most = 9
	for i := range w.partitions {
		w.partitions[i].MinISR = 1
	}
	w.roll(t, "v2", func(s RollStep) bool { return strings.Contains(s.Why, "to catch up") })
	w.now = w.now.Add(CatchingUp)
	require.NotContains(t, Roll(w.snapshot()).Why, "to catch up", "it may never")
	require.NotEmpty(t, slices.Collect(maps.Keys(w.behind)))
}
