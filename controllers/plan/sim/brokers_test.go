package sim

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kraft-dev/kraft-operator/controllers/plan"
)

// TestBrokersComeAndGoWithoutLosingAReplica, and every kind of step is taken on the way.
func TestBrokersComeAndGoWithoutLosingAReplica(t *testing.T) {
	seen := map[plan.BrokerAction]int{}
	for seed := range uint64(120) {
		for do, times := range held(t, playBrokers, seed).seen {
			seen[do] += times
		}
	}
	for do := plan.BrokersDone; do <= plan.BrokersReplace; do++ {
		require.Positive(t, seen[do], "step %d was never taken: %v", do, seen)
	}
}

// TestWhenABrokerIsLost are the rules of the clock, one by one.
func TestWhenABrokerIsLost(t *testing.T) {
	goal := plan.BrokerGoal{Brokers: 3, ReplaceAfter: time.Minute}
	for _, tc := range []struct {
		name   string
		change func(*staff, *plan.Snapshot)
		lost   bool
		do     plan.BrokerAction
		why    string
	}{
		{name: "no pod, and fenced", lost: true, do: plan.BrokersReplace, why: "lost for 1m0s"},
		{name: "a pod that is stuck terminating", lost: true, do: plan.BrokersReplace, change: func(_ *staff, s *plan.Snapshot) {
			s.Nodes[1].Pod = &plan.Pod{Ready: true, Terminating: true}
		}},
		{name: "without a place", lost: true, do: plan.BrokersReplace, change: func(_ *staff, s *plan.Snapshot) { s.Nodes[1].Pod = &plan.Pod{Broken: plan.Unschedulable} }},
		{name: "an image that isn't there: so would the next one's", change: func(_ *staff, s *plan.Snapshot) { s.Nodes[1].Pod = &plan.Pod{Broken: "ImagePullBackOff"} }},
		{name: "unfenced: it serves", change: func(_ *staff, s *plan.Snapshot) { s.Partitions.Unfenced = append(s.Partitions.Unfenced, 1001) }},
		{name: "paused", change: func(_ *staff, s *plan.Snapshot) { s.Paused = true }},
		{name: "being rolled", change: func(_ *staff, s *plan.Snapshot) { s.Restarting = 1001 }},
		{name: "being rolled with others", change: func(_ *staff, s *plan.Snapshot) { s.Batch = []plan.BatchPod{{Node: 1001}} }},
		{name: "stopped on purpose", change: func(_ *staff, s *plan.Snapshot) { s.Nodes[1].Stopped = true }},
		{name: "the only in-sync replica", lost: true, do: plan.BrokersWait, why: "no other in-sync replica of t-1", change: func(_ *staff, s *plan.Snapshot) {
			s.Partitions.Sets = []plan.ReplicaSet{{Replicas: []int32{1000, 1001}, ISR: []int32{1001}, Examples: []string{"t-1"}}}
		}},
		{name: "an offline partition of its", lost: true, do: plan.BrokersWait, change: func(_ *staff, s *plan.Snapshot) {
			s.Partitions.Sets = []plan.ReplicaSet{{Replicas: []int32{1001}, Examples: []string{"t-1"}}}
		}},
		{name: "another one is starting", lost: true, do: plan.BrokersWait, why: "b1002 to be Ready", change: func(_ *staff, s *plan.Snapshot) {
			s.Nodes[2].Pod = &plan.Pod{}
			s.Partitions.Unfenced = append(s.Partitions.Unfenced, 1002)
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newStaff(1, 3)
			w.nodes[1].Pod = nil
			s := w.snapshot()
			s.Partitions.Unfenced = []int32{1000, 1002}
			if tc.change != nil {
				tc.change(w, &s)
			}
			s.Lost = plan.ClockBrokers(s, goal)
			require.Equal(t, tc.lost, len(s.Lost) == 1, "%v", s.Lost)
			require.Equal(t, plan.BrokersDone, plan.Replace(s, goal).Do, "not yet")
			s.Now = s.Now.Add(time.Minute)
			s.LastAnswer = s.Now
			s.Lost = plan.ClockBrokers(s, goal)
			step := plan.Replace(s, goal)
			require.Equal(t, tc.do, step.Do, step.Why)
			require.Contains(t, step.Why, tc.why)

			s.Quorum = nil
			require.Equal(t, s.Lost, plan.ClockBrokers(s, goal), "nobody leads: as it was")
			require.Equal(t, plan.BrokersDone, plan.Replace(s, goal).Do)
			s.Quorum, s.LastAnswer = &plan.Quorum{}, s.Now.Add(-plan.Unwatched-1)
			for _, l := range plan.ClockBrokers(s, goal) {
				require.Equal(t, s.Now, l.Since, "it begins anew")
			}
			require.Empty(t, plan.ClockBrokers(s, plan.BrokerGoal{Brokers: 3}), "never asked for")
		})
	}
}

// TestOneThatCantBeReplacedHoldsNobodyUp: the next lost broker is replaced, and one that the spec has no place for leaves.
func TestOneThatCantBeReplacedHoldsNobodyUp(t *testing.T) {
	w := newStaff(1, 4)
	w.nodes[0].Pod, w.nodes[1].Pod = nil, nil
	s := w.snapshot()
	s.Lost = []plan.LostBroker{{ID: 1000, Since: s.Now.Add(-2 * time.Minute)}, {ID: 1001, Since: s.Now.Add(-time.Minute)}}
	s.Partitions.Unfenced = []int32{1002, 1003}
	only := func(id int32) plan.ReplicaSet {
		return plan.ReplicaSet{Replicas: []int32{id, 1002}, ISR: []int32{id}, Examples: []string{fmt.Sprintf("t-%d", id)}}
	}
	s.Partitions.Sets = []plan.ReplicaSet{only(1000)}
	goal := plan.BrokerGoal{Brokers: 4, ReplaceAfter: time.Minute}
	step, _ := plan.Brokers(s, goal)
	require.Equal(t, plan.BrokersReplace, step.Do)
	require.EqualValues(t, 1001, step.Node.ID)

	s.Partitions.Sets = append(s.Partitions.Sets, only(1001))
	step, _ = plan.Brokers(s, goal)
	require.Equal(t, plan.BrokersWait, step.Do)
	require.Contains(t, step.Why, "broker 1000, lost for 1m0s, to come back, or that topic to be deleted: no other in-sync replica of t-1000")

	goal.Brokers = 3
	step, held := plan.Brokers(s, goal)
	require.Equal(t, plan.BrokersStop, step.Do)
	require.EqualValues(t, 1003, step.Node.ID)
	require.Equal(t, plan.BrokersDone, held.Do)

	s.Partitions.Sets = append(s.Partitions.Sets, plan.ReplicaSet{Replicas: []int32{1003}, ISR: []int32{1003}, Count: 1, Examples: []string{"t-0"}})
	step, held = plan.Brokers(s, goal)
	require.Equal(t, plan.BrokersWait, step.Do, "what the lost one waits for is said")
	require.Equal(t, plan.BrokersHeld, held.Do, "and what the spec can't have")
}
