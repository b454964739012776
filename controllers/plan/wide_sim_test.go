package plan

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/types"
)

// racks is a simulated cluster of brokers in zones under a roll, in seconds: how long a pod takes to stop, to start and
// for its replicas to catch up is given. One controller stands for the quorum.
type racks struct {
	rnd        *rand.Rand
	now        time.Time
	nodes      []Node
	until      map[int32]time.Time // when a broker's current phase ends
	behind     map[int32]bool      // up, not in sync
	partitions []ReplicaSet        // with their replicas; in-sync ones follow
	most       int
	batch      []BatchPod
	out        map[types.UID]bool // pods outside of the budget
	bad        string
	drains     bool
	crashes    bool // the operator acts on some of a batch, and comes back later
	uid, batches, drained,
	downMost int
	log []string
}

const (
	stopping   = 5 * time.Second
	starting   = 8 * time.Second
	catchingUp = 12 * time.Second
)

func newRacks(seed uint64, brokers, zones, partitions int, aware bool) *racks {
	w := &racks{
		rnd: rand.New(rand.NewPCG(seed, 7)), now: time.Unix(1_700_000_000, 0), until: map[int32]time.Time{}, behind: map[int32]bool{},
		out: map[types.UID]bool{}, most: 1,
	}
	for i := range brokers {
		w.nodes = append(w.nodes, Node{ID: int32(1000 + i), Name: fmt.Sprintf("b%d", 1000+i), Broker: true, Zone: fmt.Sprintf("z%d", i%zones), Want: "v1", Has: "v1"})
		w.start(&w.nodes[i], true)
	}
	for p := range partitions {
		var replicas []int32
		for len(replicas) < 3 {
			id := int32(w.rnd.IntN(brokers))
			if aware {
				id = id/int32(zones)*int32(zones) + int32(len(replicas))
			}
			if id < int32(brokers) && !slices.Contains(replicas, 1000+id) {
				replicas = append(replicas, 1000+id)
			}
		}
		w.partitions = append(w.partitions, ReplicaSet{Replicas: replicas, MinISR: 2, Count: 1, Examples: []string{fmt.Sprintf("t-%d", p)}})
	}
	return w
}

func (w *racks) note(format string, args ...any) {
	w.log = append(w.log, fmt.Sprintf("%4.0f ", w.now.Sub(time.Unix(1_700_000_000, 0)).Seconds())+fmt.Sprintf(format, args...))
}

func (w *racks) start(n *Node, isReady bool) {
	w.uid++
	n.Pod = &Pod{Name: n.Name + "-0", UID: types.UID(fmt.Sprint(w.uid)), Hash: n.Has, Ready: isReady, Created: w.now}
	w.until[n.ID] = w.now.Add(starting)
}

func (w *racks) node(id int32) *Node { return &w.nodes[id-1000] }

func (w *racks) inSync(id int32) bool { return w.node(id).Up() && !w.behind[id] }

func (w *racks) snapshot() Snapshot {
	s := Snapshot{
		Now: w.now, Formed: true, Nodes: slices.Clone(w.nodes), Quorum: &Quorum{Leader: 0, Voters: []Replica{{ID: 0}}},
		Partitions: &Partitions{Short: map[int32]int{}, Example: map[int32]string{}}, Batch: w.batch, MaxUnavailable: w.most,
	}
	for _, p := range w.partitions {
		for _, id := range p.Replicas {
			pod := w.node(id).Pod // brokers may not say yet that one stopped
			if w.inSync(id) || w.crashes && pod != nil && pod.Terminating && w.rnd.IntN(3) == 0 {
				p.ISR = append(p.ISR, id)
			}
		}
		if len(p.ISR) <= p.MinISR {
			for _, id := range p.ISR {
				s.Partitions.Short[id]++
			}
		}
		s.Partitions.Sets = append(s.Partitions.Sets, p)
	}
	return s
}

func (w *racks) evict(n *Node) {
	pod := *n.Pod
	pod.Terminating, pod.Ready = true, false
	n.Pod = &pod
	w.until[n.ID] = w.now.Add(stopping)
	w.behind[n.ID] = true
}

// act is one pass of the operator: the budget first, then a step.
func (w *racks) act() RollStep {
	s := w.snapshot()
	budget := Budget(s, func(n Node) bool { return n.Broker })
	if !s.BatchOpen() {
		clear(w.out)
	}
	if w.drains && w.rnd.IntN(4) == 0 {
		w.drain(budget)
		s = w.snapshot()
	}
	step := Roll(s)
	switch step.Do {
	case RollEvict, RollDelete, RollRetemplate:
		n := w.node(step.Node.ID)
		n.Has, w.batch = n.Want, nil
		if step.Do == RollRetemplate {
			break
		}
		w.note("evict %s", n.Name)
		w.batches++
		w.evict(n)
	case RollBatch:
		w.takeBatch(step.Batch, budget)
	}
	return step
}

func (w *racks) takeBatch(batch []Node, budget int) {
	var pods []BatchPod
	for _, n := range batch {
		pods = append(pods, BatchPod{Node: n.ID, UID: n.Pod.UID, Hash: n.Want})
	}
	if slices.ContainsFunc(pods, func(p BatchPod) bool { return !slices.Contains(w.batch, p) }) {
		w.batch = pods
		w.note("batch %s: %d", batch[0].Zone, len(batch))
		w.batches++
		return
	}
	if budget != 0 {
		return // not shut yet
	}
	for _, n := range batch {
		if w.crashes && w.rnd.IntN(3) == 0 {
			return
		}
		live := w.node(n.ID)
		live.Has = live.Want
		if w.crashes && w.rnd.IntN(3) == 0 {
			continue // its template is set, its pod isn't down yet
		}
		w.out[n.Pod.UID] = true
		w.evict(live)
	}
}

// drain evicts a pod under the budget, as kubectl drain does, wherever it stands.
func (w *racks) drain(budget int) {
	n := &w.nodes[w.rnd.IntN(len(w.nodes))]
	down := 0
	for _, m := range w.nodes {
		if !m.Up() && (m.Pod == nil || !w.out[m.Pod.UID]) {
			down++
		}
	}
	if n.Up() && (w.out[n.Pod.UID] || down < budget) {
		w.note("drain %s", n.Name)
		w.drained++
		w.evict(n)
	}
}

// second passes in the world.
func (w *racks) second() {
	w.now = w.now.Add(time.Second)
	down := 0
	for i := range w.nodes {
		n := &w.nodes[i]
		over := !w.now.Before(w.until[n.ID])
		switch {
		case n.Pod == nil:
			w.start(n, false)
		case n.Pod.Terminating && over:
			n.Pod = nil
		case !n.Pod.Ready && over && n.Pod.Hash == w.bad:
			pod := *n.Pod
			pod.Broken = "ImagePullBackOff"
			n.Pod = &pod
		case !n.Pod.Ready && over:
			pod := *n.Pod
			pod.Ready = true
			n.Pod = &pod
			w.until[n.ID] = w.now.Add(catchingUp)
		case n.Pod.Ready && over && w.behind[n.ID]:
			delete(w.behind, n.ID)
		}
		if !n.Up() {
			down++
		}
	}
	w.downMost = max(w.downMost, down)
}

// check: no partition is under its minimum by our act, whatever drains do besides.
func (w *racks) check(t *testing.T) {
	t.Helper()
	for _, p := range w.partitions {
		here := 0
		for _, id := range p.Replicas {
			if w.inSync(id) {
				here++
			}
		}
		require.GreaterOrEqual(t, here, p.MinISR, "%s on %v is short:\n%s", p.Examples, p.Replicas, strings.Join(w.log, "\n"))
	}
}

func (w *racks) roll(t *testing.T, hash string, until func(RollStep) bool) time.Duration {
	t.Helper()
	for i := range w.nodes {
		w.nodes[i].Want = hash
	}
	began := w.now
	for range 20_000 {
		step := w.act()
		w.check(t)
		if until(step) {
			return w.now.Sub(began)
		}
		w.second()
	}
	require.Fail(t, "no end", strings.Join(w.log, "\n"))
	return 0
}

// TestRollOf50 is the figure: 50 brokers in 3 racks, all at once where it is safe, against one by one.
func TestRollOf50(t *testing.T) {
	times := map[int]time.Duration{}
	for _, most := range []int{50, 1} {
		w := newRacks(1, 50, 3, 300, true)
		w.most = most
		times[most] = w.roll(t, "v2", done)
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

// TestAWideRollLeavesEveryPartitionItsMinimum in any placement, with drains and a crashing operator besides.
func TestAWideRollLeavesEveryPartitionItsMinimum(t *testing.T) {
	wide, drained := 0, 0
	for seed := range uint64(60) {
		w := newRacks(seed, 6+int(seed%10), 1+int(seed%4), 20+int(seed%80), seed%4 == 2)
		w.most, w.drains, w.crashes = 1+int(seed%7), seed%3 == 0, seed%2 == 0
		w.roll(t, "v2", done)
		if !w.drains {
			require.LessOrEqual(t, w.downMost, w.most, strings.Join(w.log, "\n"))
		}
		if w.downMost > 1 {
			wide++
		}
		drained += w.drained
	}
	require.Greater(t, wide, 15, "wide rolls")
	require.Greater(t, drained, 20, "drains got through")
}

// TestABadTemplateIsGivenToOneBrokerAlone, however wide the roll may be.
func TestABadTemplateIsGivenToOneBrokerAlone(t *testing.T) {
	for seed := range uint64(30) {
		w := newRacks(seed, 12, 3, 50, true)
		w.most, w.bad = 12, "v2"
		w.roll(t, "v2", stopped)
		touched := map[string]int{}
		for _, n := range w.nodes {
			touched[n.Has]++
		}
		require.Equal(t, map[string]int{"v1": 11, "v2": 1}, touched)
		w.roll(t, "v3", done)
	}
}

// TestABrokerThatBreaksInABatchStopsTheRoll: what wasn't taken down yet keeps running.
func TestABrokerThatBreaksInABatchStopsTheRoll(t *testing.T) {
	w := newRacks(3, 12, 3, 50, true)
	w.most = 12
	w.crashes = true
	w.roll(t, "v2", func(s RollStep) bool { return s.Do == RollBatch && len(w.down()) > 0 })
	down := len(w.down())
	require.Less(t, down, len(w.batch), "some were taken down when the operator stopped")
	w.bad = "v2"
	for range 20 {
		w.second()
	}
	require.True(t, w.act().Stopped)
	for range 100 {
		require.Equal(t, RollWait, w.act().Do)
		w.second()
	}
	require.Len(t, w.down(), down)
}

func (w *racks) down() []Node { return slices.DeleteFunc(slices.Clone(w.nodes), Node.Up) }
