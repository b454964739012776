package plan

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/types"
)

var rewrite = flag.Bool("rewrite", false, "write the golden logs anew")

// fleet is a simulated cluster under a roll. Its own events (pods that stop, start, break, elections, replicas that
// catch up) come in seeded random order between the operator's steps.
type fleet struct {
	rnd    *rand.Rand
	now    time.Time
	nodes  []Node
	leader int32
	voters []int32
	// behind are brokers whose replicas aren't in sync: partners of theirs can't be spared.
	behind  map[int32]bool
	partner map[int32]int32
	bad     string // template that doesn't start
	// needsQuorum: a pod becomes Ready only while a majority of the voters runs; with cured set, only of that template.
	needsQuorum bool
	cured       string
	uid         int
	log         []string
}

func newFleet(seed uint64, controllers, voters, brokers int) *fleet {
	f := &fleet{rnd: rand.New(rand.NewPCG(seed, 1)), now: time.Unix(1_700_000_000, 0), behind: map[int32]bool{}, partner: map[int32]int32{}}
	for i := range controllers {
		f.nodes = append(f.nodes, Node{ID: int32(i), Name: fmt.Sprintf("c%d", i), Controller: true})
		if i < voters {
			f.voters = append(f.voters, int32(i))
		}
	}
	for i := range brokers {
		id := int32(1000 + i)
		f.nodes = append(f.nodes, Node{ID: id, Name: fmt.Sprintf("b%d", id), Broker: true})
		f.partner[id] = 1000 + int32((i+1)%brokers)
	}
	for i := range f.nodes {
		f.nodes[i].Want, f.nodes[i].Has = "v1", "v1"
		f.startPod(i, true)
	}
	f.leader = f.voters[f.rnd.IntN(len(f.voters))]
	return f
}

func (f *fleet) startPod(i int, isReady bool) {
	f.uid++
	n := &f.nodes[i]
	n.Pod = &Pod{Name: n.Name + "-0", UID: types.UID(fmt.Sprint(f.uid)), Hash: n.Has, Ready: isReady, Created: f.now}
}

func (f *fleet) want(hash string) {
	for i := range f.nodes {
		f.nodes[i].Want = hash
	}
	f.note("want %s", hash)
}

func (f *fleet) note(format string, args ...any) { f.log = append(f.log, fmt.Sprintf(format, args...)) }

func (f *fleet) snapshot() Snapshot {
	s := Snapshot{Now: f.now, Formed: true, Nodes: slices.Clone(f.nodes)}
	q := &Quorum{Leader: -1, Epoch: 1, HighWatermark: 10}
	upVoters := 0
	for _, id := range f.voters {
		r := Replica{ID: id, LogEndOffset: 10}
		if !f.node(id).Up() {
			r.SinceFetch = time.Minute
		} else {
			upVoters++
		}
		q.Voters = append(q.Voters, r)
	}
	if upVoters > len(f.voters)/2 && f.node(f.leader).Up() {
		q.Leader = f.leader
		s.Quorum = q
	}
	s.Partitions = &Partitions{Short: map[int32]int{}, Example: map[int32]string{}}
	for b, p := range f.partner {
		if f.behind[b] || !f.node(b).Up() {
			s.Partitions.Short[p]++
			s.Partitions.Example[p] = "orders-0"
		}
	}
	return s
}

func (f *fleet) node(id int32) *Node {
	for i := range f.nodes {
		if f.nodes[i].ID == id {
			return &f.nodes[i]
		}
	}
	return nil
}

// act carries out one step of the operator.
func (f *fleet) act() RollStep {
	step := Roll(f.snapshot())
	n := f.node(step.Node.ID)
	switch step.Do {
	case RollRetemplate:
		f.note("template %s -> %s", n.Name, n.Want)
		n.Has = n.Want
	case RollEvict, RollDelete:
		how := "evict"
		if step.Do == RollDelete {
			how = "delete"
		}
		role := ""
		if n.ID == f.leader {
			role = " (leader)"
		}
		f.note("%s %s%s -> %s", how, n.Name, role, n.Want)
		n.Has = n.Want
		pod := *n.Pod
		pod.Terminating, pod.Ready = true, false
		n.Pod = &pod
	}
	return step
}

// happen is one event of the world.
func (f *fleet) happen() {
	f.now = f.now.Add(time.Second)
	i := f.rnd.IntN(len(f.nodes))
	n := &f.nodes[i]
	switch {
	case n.Pod == nil:
		f.startPod(i, false)
	case n.Pod.Terminating:
		n.Pod = nil
		if n.Broker {
			f.behind[n.ID] = true
		}
	case !n.Pod.Ready && n.Pod.Hash == f.bad:
		pod := *n.Pod
		pod.Broken = "ImagePullBackOff"
		n.Pod = &pod
	case !n.Pod.Ready && f.needsQuorum && (n.Pod.Hash != f.cured || !f.majorityRuns()):
	case !n.Pod.Ready:
		pod := *n.Pod
		pod.Ready = true
		n.Pod = &pod
	case f.behind[n.ID]:
		delete(f.behind, n.ID)
	}
	if l := f.node(f.leader); !l.Up() {
		up := slices.DeleteFunc(slices.Clone(f.voters), func(id int32) bool { return !f.node(id).Up() })
		if len(up) > len(f.voters)/2 {
			f.leader = up[f.rnd.IntN(len(up))]
			f.note("leader %d", f.leader)
		}
	}
}

func (f *fleet) majorityRuns() bool {
	runs := 0
	for _, id := range f.voters {
		if n := f.node(id); n.Pod != nil && !n.Pod.Terminating && n.Pod.Hash == f.cured {
			runs++
		}
	}
	return runs > len(f.voters)/2
}

// check holds after every step, whatever the order of events.
func (f *fleet) check(t *testing.T) {
	t.Helper()
	down := 0
	for _, n := range f.nodes {
		if !n.Up() {
			down++
		}
	}
	require.LessOrEqual(t, down, 1, "nodes down by our act:\n%s", strings.Join(f.log, "\n"))
	for b, p := range f.partner {
		require.False(t, !f.node(b).Up() && (f.behind[p] || !f.node(p).Up()) && b != p, "under min-ISR by our act:\n%s", strings.Join(f.log, "\n"))
	}
}

func (f *fleet) run(t *testing.T, until func(RollStep) bool) {
	t.Helper()
	for range 5000 {
		step := f.act()
		f.check(t)
		if until(step) {
			return
		}
		f.happen()
	}
	require.Fail(t, "no end", strings.Join(f.log, "\n"))
}

func done(s RollStep) bool    { return s.Do == RollDone }
func stopped(s RollStep) bool { return s.Stopped }

// TestARollConvergesInAnyOrderOfEvents: 200 seeds, with the invariants checked after each step; some are kept as logs.
func TestARollConvergesInAnyOrderOfEvents(t *testing.T) {
	for seed := range uint64(200) {
		f := newFleet(seed, 3+2*int(seed%2), 3, 3+int(seed%3))
		f.want("v2")
		f.run(t, done)
		requireOrder(t, f)
		if seed < 3 {
			golden(t, fmt.Sprintf("roll-%d", seed), f.log)
		}
	}
}

// requireOrder: observers, then voters, a leader only after all other voters, then brokers; each once.
func requireOrder(t *testing.T, f *fleet) {
	t.Helper()
	var order []string
	for _, line := range f.log {
		if strings.HasPrefix(line, "evict") {
			order = append(order, strings.Fields(line)[1])
		}
	}
	require.Len(t, order, len(f.nodes), "each once: %v", order)
	rank := func(name string) int {
		switch {
		case name[0] == 'b':
			return 2
		case slices.Contains(f.voters, int32(name[1]-'0')):
			return 1
		}
		return 0
	}
	require.True(t, slices.IsSortedFunc(order, func(a, b string) int { return rank(a) - rank(b) }), "%v", order)
	left := len(f.voters)
	for _, line := range f.log {
		if strings.HasPrefix(line, "evict c") && rank(strings.Fields(line)[1]) == 1 {
			require.False(t, strings.Contains(line, "leader") && left > 1, "the leader before the last voter:\n%s", strings.Join(f.log, "\n"))
			left--
		}
	}
}

// TestABadTemplateStopsARollAndAMendedOneFinishesIt: one node has it at most, and that one is mended first.
func TestABadTemplateStopsARollAndAMendedOneFinishesIt(t *testing.T) {
	for seed := range uint64(200) {
		f := newFleet(seed, 3, 3, 3)
		f.bad = "v2"
		f.want("v2")
		f.run(t, stopped)
		touched := 0
		for _, n := range f.nodes {
			if n.Has == "v2" {
				touched++
			}
		}
		require.Equal(t, 1, touched, strings.Join(f.log, "\n"))
		f.want("v3")
		before := len(f.log)
		f.run(t, done)
		require.Contains(t, f.log[before], "delete", "the broken one first: %v", f.log[before:])
		if seed < 2 {
			golden(t, fmt.Sprintf("mended-%d", seed), f.log)
		}
	}
}

// TestAPodThatGoesDuringAStoppedRollComesBackAsItWas: neither a drain nor a lost node spreads a bad template.
func TestAPodThatGoesDuringAStoppedRollComesBackAsItWas(t *testing.T) {
	for seed := range uint64(100) {
		f := newFleet(seed, 3, 3, 3)
		f.bad = "v2"
		f.want("v2")
		f.run(t, stopped)
		var others []int
		for i, n := range f.nodes {
			if n.Has == "v1" {
				others = append(others, i)
			}
		}
		gone := others[f.rnd.IntN(len(others))]
		f.nodes[gone].Pod = nil
		for range 50 {
			step := f.act()
			require.Equal(t, RollWait, step.Do, "%+v", step)
			require.Equal(t, "v1", f.nodes[gone].Has)
			f.happen()
		}
	}
}

// TestAClusterThatNeverStartedIsMended: every node is broken, and one alone can't be Ready.
func TestAClusterThatNeverStartedIsMended(t *testing.T) {
	for seed := range uint64(100) {
		f := newFleet(seed, 3, 3, 3)
		for i := range f.nodes {
			pod := *f.nodes[i].Pod
			pod.Ready = false
			if seed%2 == 0 {
				pod.Broken = "ImagePullBackOff"
			}
			f.nodes[i].Pod = &pod
		}
		f.now = f.now.Add(time.Hour)
		f.needsQuorum, f.cured = true, "v2"
		f.want("v2")
		for range 3000 {
			down := slices.ContainsFunc(f.nodes, func(n Node) bool { return !n.Up() })
			if f.act().Do == RollDone && !down {
				break
			}
			f.happen()
		}
		for _, n := range f.nodes {
			require.True(t, n.Up() && n.Has == "v2", "%s:\n%s", n.Name, strings.Join(f.log, "\n"))
		}
	}
}

// TestABadMendOfABrokenClusterStops: what is proved bad isn't given to the next, however broken that is.
func TestABadMendOfABrokenClusterStops(t *testing.T) {
	f := newFleet(1, 3, 3, 0)
	for i := range f.nodes {
		pod := *f.nodes[i].Pod
		pod.Ready, pod.Broken = false, "CrashLoopBackOff"
		f.nodes[i].Pod = &pod
	}
	for i := range f.nodes {
		f.nodes[i].Want = "v2"
	}
	f.nodes[0].Has = "v2"
	f.nodes[0].Pod.Hash, f.nodes[0].Pod.Broken = "v2", "ImagePullBackOff"
	step := Roll(f.snapshot())
	require.Equal(t, RollWait, step.Do)
	require.True(t, step.Stopped)
	require.Contains(t, step.Why, "ImagePullBackOff")
}

// TestAPodWithoutAPlaceKeepsItsTemplate while another comes back: it was drained, nothing is wrong with it.
func TestAPodWithoutAPlaceKeepsItsTemplate(t *testing.T) {
	f := newFleet(1, 3, 3, 3)
	f.want("v2")
	f.nodes[0].Has, f.nodes[0].Pod.Hash, f.nodes[0].Pod.Ready = "v2", "v2", false
	f.nodes[4].Pod.Ready, f.nodes[4].Pod.Broken = false, Unschedulable
	step := Roll(f.snapshot())
	require.Equal(t, RollWait, step.Do)
	require.Equal(t, "c0", step.Node.Name)
	f.nodes[0].Pod.Ready = true
	step = Roll(f.snapshot())
	require.Equal(t, RollDelete, step.Do, "its turn: a template may ask for a place that isn't there")
	require.Equal(t, "b1001", step.Node.Name)
}

// golden compares a log with testdata, or writes it anew.
func golden(t *testing.T, name string, log []string) {
	t.Helper()
	path := filepath.Join("testdata", name+".log")
	got := strings.Join(log, "\n") + "\n"
	if *rewrite {
		require.NoError(t, os.WriteFile(path, []byte(got), 0o644))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, string(want), got, "%s: if this is as intended, run with -rewrite and read the diff", path)
}
