package sim

import (
	"container/heap"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/kraft-dev/kraft-operator/internal/quorum"
	"github.com/kraft-dev/kraft-operator/internal/uuid"
)

// world is one run: the nodes, the network between them, and the things that will happen, in order of time.
type world struct {
	rng   *rand.Rand
	s     scenario
	now   time.Duration
	queue happenings
	seq   uint64
	steps int
	// afterEvent, if set, is called after each.
	afterEvent func(*node)

	nodes     []*node
	batches   []batch
	cut       map[[2]int]bool // one-way: messages from, to
	calls     map[uint64]call // requests delivered and not answered
	replyTo   uint64
	healed    bool
	values    uint64
	happened  map[string]int
	keys      []int // in play
	histories []*history
	opClock   int64
	real      bool // disks are
	byBytes   map[string]batchID
	sets      []quorum.VoterSet // in snapshots

	check *checker
	trace *strings.Builder // nil: quiet
}

// call is where the answer to a request goes.
type call struct {
	from, to    int
	incarnation int // of from
	correlation uint64
	request     quorum.Message
	at          time.Duration // when it came in
}

type happening struct {
	at  time.Duration
	seq uint64
	do  func()
}

type happenings []happening

func (h happenings) Len() int { return len(h) }
func (h happenings) Less(i, j int) bool {
	return h[i].at < h[j].at || h[i].at == h[j].at && h[i].seq < h[j].seq
}
func (h happenings) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *happenings) Push(x any)   { *h = append(*h, x.(happening)) }
func (h *happenings) Pop() any {
	old := *h
	last := old[len(old)-1]
	old[len(old)-1] = happening{}
	*h = old[:len(old)-1]
	return last
}

func (w *world) after(d time.Duration, do func()) {
	w.seq++
	heap.Push(&w.queue, happening{w.now + max(d, 0), w.seq, do})
}

// runUntil lets things happen up to an instant, or until stop says so.
func (w *world) runUntil(end time.Duration, stop func() bool) {
	for len(w.queue) > 0 && w.queue[0].at <= end {
		h := heap.Pop(&w.queue).(happening)
		w.now = h.at
		h.do()
		if stop != nil && stop() {
			return
		}
	}
	w.now = max(w.now, end)
}

// count notes that something happened.
func (w *world) count(what string) { w.happened[what]++ }

// chance is true with probability p.
func (w *world) chance(p float64) bool { return w.rng.Float64() < p }

func (w *world) between(lo, hi time.Duration) time.Duration {
	if hi <= lo {
		return lo
	}
	return lo + time.Duration(w.rng.Int64N(int64(hi-lo)))
}

func (w *world) randomUUID() uuid.UUID {
	var u uuid.UUID
	for i := range u {
		u[i] = byte(w.rng.Uint32())
	}
	return u
}

func (w *world) tracef(format string, args ...any) {
	if w.trace != nil {
		fmt.Fprintf(w.trace, "%9.3fms "+format+"\n", append([]any{float64(w.now) / 1e6}, args...)...)
	}
}

// newWorld builds the nodes of a scenario, freshly formatted.
func newWorld(seed uint64, disk Disk, trace *strings.Builder) *world {
	rng := rand.New(rand.NewPCG(seed, 0x6b72616674))
	s := newScenario(rng)
	s.real = disk == RealDisk || disk == SeedsDisk && seed%4 == 0
	return newWorldOf(seed, s, trace)
}

func newWorldOf(seed uint64, s scenario, trace *strings.Builder) *world {
	w := &world{
		rng: rand.New(rand.NewPCG(seed, 0x636f6e73)), s: s, cut: map[[2]int]bool{}, happened: map[string]int{}, calls: map[uint64]call{}, trace: trace,
		real: s.real, byBytes: map[string]batchID{},
	}
	w.check = newChecker(w)
	var voters []quorum.Voter
	for i := range w.s.voters {
		v := quorum.Voter{Key: quorum.ReplicaKey{ID: quorum.NodeID(i)}, Endpoints: endpoints(i)}
		if w.s.kraftVersion > 0 {
			v.Key.DirectoryID, v.Supported = w.randomUUID(), quorum.VersionRange{Min: 0, Max: 1}
		}
		voters = append(voters, v)
	}
	set := quorum.NewVoterSet(voters...)
	for i := range w.s.controllers() + w.s.observers {
		n := &node{w: w, id: i, initial: set, drift: 1, lost: map[quorum.ReplicaKey][]batchID{}}
		switch {
		case i < w.s.voters:
			n.initialDirectory = voters[i].Key.DirectoryID
			n.controller, n.member = true, w.s.kraftVersion > 0
		case i < w.s.controllers():
			n.controller = true
		default:
			n.controller = w.chance(0.5)
		}
		if n.initialDirectory.IsZero() {
			n.initialDirectory = w.randomUUID()
		}
		if w.s.drift && w.chance(0.5) {
			n.drift = 0.98 + 0.04*w.rng.Float64()
		}
		n.oldFetch = w.chance(w.s.oldPeers)
		n.oldEpochsGone = w.chance(0.5)
		n.noPreVote = !w.s.formationSafe && w.chance(w.s.oldPeers)
		n.format(n.initialDirectory)
		w.nodes = append(w.nodes, n)
	}
	return w
}

func endpoints(i int) []quorum.Endpoint { return endpointsAt(i, 0) }

func endpointsAt(i, moved int) []quorum.Endpoint {
	return []quorum.Endpoint{{Listener: "CONTROLLER", Host: fmt.Sprintf("n%d", i), Port: uint16(9000 + 100*moved + i)}}
}

func (n *node) endpoints() []quorum.Endpoint { return endpointsAt(n.id, n.moved) }
