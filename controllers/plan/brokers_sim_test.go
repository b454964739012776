package plan

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// staff is a simulated pool of brokers that grows, shrinks and loses nodes, with topics that come, go and move.
type staff struct {
	rnd        *rand.Rand
	now        time.Time
	nodes      []Node
	partitions map[string][]int32
	used       map[int32]bool // ids that had a claim
	lost       []LostBroker
	replaced   []int32
	gone       map[int32]bool // their Kubernetes node is lost: the pod doesn't come back
	goal       BrokerGoal
	paused     bool
	created    int
	log        []string
}

func newStaff(seed uint64, brokers int) *staff {
	w := &staff{
		rnd: rand.New(rand.NewPCG(seed, 3)), now: time.Unix(1_700_000_000, 0), partitions: map[string][]int32{},
		used: map[int32]bool{}, gone: map[int32]bool{}, goal: BrokerGoal{Brokers: brokers, ReplaceAfter: time.Minute},
	}
	w.grow()
	for i := range w.nodes {
		w.nodes[i].Pod = &Pod{Ready: true}
	}
	return w
}

func (w *staff) note(format string, args ...any) { w.log = append(w.log, fmt.Sprintf(format, args...)) }

func (w *staff) grow() {
	m := Members{First: 1000, Want: int32(w.goal.Brokers)}
	for _, n := range w.nodes {
		m.IDs = append(m.IDs, n.ID)
	}
	for id := range w.used {
		m.Kept = append(m.Kept, id)
	}
	ids, err := m.Grow()
	if err != nil {
		panic(err)
	}
	for _, id := range ids {
		if !slices.Contains(m.IDs, id) {
			if w.used[id] {
				panic("an id is used again")
			}
			w.used[id] = true
			w.nodes = append(w.nodes, Node{ID: id, Name: fmt.Sprintf("b%d", id), Broker: true})
			w.note("new %d", id)
		}
	}
	slices.SortFunc(w.nodes, func(a, b Node) int { return int(a.ID - b.ID) })
}

func (w *staff) snapshot() Snapshot {
	s := Snapshot{
		Now: w.now, Formed: true, Nodes: slices.Clone(w.nodes), Quorum: &Quorum{Leader: 0}, Lost: w.lost, Paused: w.paused,
		LastAnswer: w.now, Restarting: -1, Partitions: &Partitions{},
	}
	up := func(id int32) bool {
		return slices.ContainsFunc(w.nodes, func(n Node) bool { return n.ID == id && n.Up() })
	}
	for _, n := range w.nodes {
		if n.Up() {
			s.Partitions.Unfenced = append(s.Partitions.Unfenced, n.ID)
		}
	}
	for name, replicas := range w.partitions {
		set := ReplicaSet{Replicas: replicas, MinISR: 1, Count: 1, Examples: []string{name}}
		for _, id := range replicas {
			if up(id) {
				set.ISR = append(set.ISR, id)
			}
		}
		s.Partitions.Sets = append(s.Partitions.Sets, set)
	}
	return s
}

func (w *staff) act(t *testing.T) BrokerStep {
	t.Helper()
	w.lost = ClockBrokers(w.snapshot(), w.goal)
	if w.paused {
		return BrokerStep{Do: BrokersWait}
	}
	w.grow()
	s := w.snapshot()
	step := Replace(s, w.goal)
	if step.Do == BrokersDone {
		step = Shrink(s, w.goal)
	}
	i := slices.IndexFunc(w.nodes, func(n Node) bool { return n.ID == step.Node.ID })
	on, _ := s.Partitions.On(step.Node.ID)
	story := strings.Join(w.log, "\n")
	switch step.Do {
	case BrokersHeld:
		require.False(t, step.Node.Leaving, "held back, and stopped:\n%s", story)
	case BrokersStop:
		w.note("stop %d", step.Node.ID)
		require.Zero(t, on, story)
		require.Equal(t, len(w.nodes)-1, i, "the highest leaves:\n%s", story)
		w.nodes[i].Leaving, w.nodes[i].Stopped = true, true
	case BrokersReturn:
		w.note("return %d: %s", step.Node.ID, step.Why)
		w.nodes[i].Leaving, w.nodes[i].Stopped = false, false
	case BrokersLeave:
		w.note("leave %d", step.Node.ID)
		require.Zero(t, on, "it leaves with replicas:\n%s", story)
		require.Nil(t, w.nodes[i].Pod, story)
		w.nodes = slices.Delete(w.nodes, i, i+1)
	case BrokersReplace:
		w.note("replace %d with %d replicas", step.Node.ID, on)
		require.False(t, w.nodes[i].Up(), story)
		w.nodes = slices.Delete(w.nodes, i, i+1)
		for name, replicas := range w.partitions {
			left := slices.ContainsFunc(w.nodes, func(n Node) bool { return n.Up() && slices.Contains(replicas, n.ID) })
			require.True(t, left || !slices.Contains(replicas, step.Node.ID), "%s is lost by our act:\n%s", name, story)
		}
		w.replaced = append(w.replaced, step.Node.ID)
	}
	return step
}

// happen is a second of the world: pods come and go, topics too.
func (w *staff) happen(quiet bool) {
	w.now = w.now.Add(time.Second)
	for i := range w.nodes {
		n := &w.nodes[i]
		switch {
		case n.Stopped && n.Pod != nil && w.rnd.IntN(3) == 0 && n.Pod.Terminating:
			n.Pod = nil
		case n.Stopped && n.Pod != nil && w.rnd.IntN(3) == 0: // fenced from here on
			n.Pod = &Pod{Terminating: true}
		case !n.Stopped && n.Pod != nil && n.Pod.Terminating:
			n.Pod = nil
		case !n.Stopped && !w.gone[n.ID] && n.Pod == nil && w.rnd.IntN(3) == 0:
			n.Pod = &Pod{Ready: true}
		}
	}
	if quiet || len(w.nodes) == 0 {
		return
	}
	n := &w.nodes[w.rnd.IntN(len(w.nodes))]
	switch w.rnd.IntN(30) {
	case 0, 1:
		w.create()
	case 2, 3, 4, 5, 6, 7:
		w.move(n.ID)
	case 8:
		if !n.Leaving && !n.Stopped {
			n.Pod, w.gone[n.ID] = nil, w.rnd.IntN(2) == 0
			w.note("down %d, for good: %t", n.ID, w.gone[n.ID])
		}
	case 9:
		clear(w.gone)
	case 10:
		w.goal.Brokers = 1 + w.rnd.IntN(6)
		w.note("want %d", w.goal.Brokers)
	}
}

func (w *staff) create() {
	var up []int32
	for _, n := range w.nodes {
		if n.Up() {
			up = append(up, n.ID)
		}
	}
	w.rnd.Shuffle(len(up), func(i, j int) { up[i], up[j] = up[j], up[i] })
	if len(up) > 0 {
		w.created++
		w.partitions[fmt.Sprintf("t-%d", w.created)] = up[:min(2, len(up))]
	}
}

// move takes a partition off a broker, to another that is up.
func (w *staff) move(from int32) {
	for _, name := range sortedKeys(w.partitions) {
		i := slices.Index(w.partitions[name], from)
		if i < 0 {
			continue
		}
		for _, n := range w.nodes {
			if n.Up() && n.ID != from && !slices.Contains(w.partitions[name], n.ID) {
				w.partitions[name] = slices.Clone(w.partitions[name])
				w.partitions[name][i] = n.ID
				return
			}
		}
		w.partitions[name] = slices.Delete(slices.Clone(w.partitions[name]), i, i+1)
		if len(w.partitions[name]) == 0 {
			delete(w.partitions, name)
		}
		return
	}
}

func sortedKeys(m map[string][]int32) []string {
	out := make([]string, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

// TestBrokersComeAndGoWithoutLosingAReplica in any order of events; once a person moves what holds a broker back, the
// pool is what the spec says.
func TestBrokersComeAndGoWithoutLosingAReplica(t *testing.T) {
	seen := map[BrokerAction]int{}
	for seed := range uint64(120) {
		w := newStaff(seed, 3)
		for range 400 {
			seen[w.act(t).Do]++
			w.happen(false)
		}
		clear(w.gone)
		settled := false
		for range 2000 {
			step := w.act(t)
			up := !slices.ContainsFunc(w.nodes, func(n Node) bool { return !n.Up() })
			if settled = step.Do == BrokersDone && up; settled {
				break
			}
			if step.Do == BrokersHeld {
				w.move(step.Node.ID)
			}
			w.happen(true)
		}
		require.True(t, settled, "seed %d:\n%s", seed, strings.Join(w.log, "\n"))
		require.Len(t, w.nodes, w.goal.Brokers, "seed %d", seed)
		if seed < 2 {
			golden(t, fmt.Sprintf("brokers-%d", seed), w.log)
		}
	}
	for do := BrokersDone; do <= BrokersReplace; do++ {
		require.Positive(t, seen[do], "step %d was never taken: %v", do, seen)
	}
}

// TestWhenABrokerIsLost are the rules of the clock, one by one.
func TestWhenABrokerIsLost(t *testing.T) {
	goal := BrokerGoal{Brokers: 3, ReplaceAfter: time.Minute}
	for _, tc := range []struct {
		name   string
		change func(*staff, *Snapshot)
		lost   bool
		do     BrokerAction
		why    string
	}{
		{name: "no pod, and fenced", lost: true, do: BrokersReplace, why: "lost for 1m0s"},
		{name: "a pod that is stuck terminating", lost: true, do: BrokersReplace, change: func(_ *staff, s *Snapshot) {
			s.Nodes[1].Pod = &Pod{Ready: true, Terminating: true}
		}},
		{name: "without a place", lost: true, do: BrokersReplace, change: func(_ *staff, s *Snapshot) { s.Nodes[1].Pod = &Pod{Broken: Unschedulable} }},
		{name: "an image that isn't there: so would the next one's", change: func(_ *staff, s *Snapshot) { s.Nodes[1].Pod = &Pod{Broken: "ImagePullBackOff"} }},
		{name: "unfenced: it serves", change: func(_ *staff, s *Snapshot) { s.Partitions.Unfenced = append(s.Partitions.Unfenced, 1001) }},
		{name: "paused", change: func(_ *staff, s *Snapshot) { s.Paused = true }},
		{name: "being rolled", change: func(_ *staff, s *Snapshot) { s.Restarting = 1001 }},
		{name: "being rolled with others", change: func(_ *staff, s *Snapshot) { s.Batch = []BatchPod{{Node: 1001}} }},
		{name: "stopped on purpose", change: func(_ *staff, s *Snapshot) { s.Nodes[1].Stopped = true }},
		{name: "the only in-sync replica", lost: true, do: BrokersWait, why: "no other in-sync replica of t-1", change: func(_ *staff, s *Snapshot) {
			s.Partitions.Sets = []ReplicaSet{{Replicas: []int32{1000, 1001}, ISR: []int32{1001}, Examples: []string{"t-1"}}}
		}},
		{name: "an offline partition of its", lost: true, do: BrokersWait, change: func(_ *staff, s *Snapshot) {
			s.Partitions.Sets = []ReplicaSet{{Replicas: []int32{1001}, Examples: []string{"t-1"}}}
		}},
		{name: "another one is starting", lost: true, do: BrokersWait, why: "b1002 to be Ready", change: func(_ *staff, s *Snapshot) {
			s.Nodes[2].Pod = &Pod{}
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
			s.Lost = ClockBrokers(s, goal)
			require.Equal(t, tc.lost, len(s.Lost) == 1, "%v", s.Lost)
			require.Equal(t, BrokersDone, Replace(s, goal).Do, "not yet")
			s.Now = s.Now.Add(time.Minute)
			s.LastAnswer = s.Now
			s.Lost = ClockBrokers(s, goal)
			step := Replace(s, goal)
			require.Equal(t, tc.do, step.Do, step.Why)
			require.Contains(t, step.Why, tc.why)

			s.Quorum = nil
			require.Equal(t, s.Lost, ClockBrokers(s, goal), "nobody leads: as it was")
			require.Equal(t, BrokersDone, Replace(s, goal).Do)
			s.Quorum, s.LastAnswer = &Quorum{}, s.Now.Add(-Unwatched-1)
			for _, l := range ClockBrokers(s, goal) {
				require.Equal(t, s.Now, l.Since, "it begins anew")
			}
			require.Empty(t, ClockBrokers(s, BrokerGoal{Brokers: 3}), "never asked for")
		})
	}
}

func TestWhatABrokerHoldsIsNamed(t *testing.T) {
	p := &Partitions{Sets: []ReplicaSet{
		{Replicas: []int32{1, 2}, Count: 7, Examples: []string{"b-0", "b-1", "b-2", "b-3", "b-4"}},
		{Replicas: []int32{1}, Count: 1, Examples: []string{"a-0"}},
	}}
	require.Equal(t, "8 replicas (a-0, b-0, b-1, b-2, b-3 and 3 more)", p.Holds(1))
	require.Equal(t, "7 replicas (b-0, b-1, b-2, b-3, b-4 and 2 more)", p.Holds(2))
	require.Empty(t, p.Holds(3))
	p.Sets = p.Sets[1:]
	require.Equal(t, "1 replica (a-0)", p.Holds(1))
}
