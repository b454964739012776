package sim

import (
	"fmt"
	"runtime/debug"
	"strings"
	"time"

	"github.com/kraft-dev/kraft-operator/internal/quorum"
)

// Result is the outcome of one seed.
type Result struct {
	Seed      uint64
	Events    int
	Violation string        // empty: none
	Check     string        // that found it
	Committed int           // batches
	Converged time.Duration // from healing to something new committed on every node
	Elections int
	Happened  map[string]int // what a run can be proud of, by name
	Scenario  string
	Trace     string // of a traced run
}

// healBound is how long a healed quorum may take to commit on every node: a few elections with split votes.
const healBound = 30 * time.Second

// Run plays one seed. With trace the whole story is in Result.Trace.
func Run(seed uint64, trace bool) (res Result) { return RunOn(seed, SeedsDisk, trace) }

// RunOn is Run with a say in what the disks are.
func RunOn(seed uint64, disk Disk, trace bool) (res Result) {
	var story *strings.Builder
	if trace {
		story = &strings.Builder{}
	}
	w := newWorld(seed, disk, story)
	res.Seed, res.Scenario = seed, w.s.String()
	defer func() {
		switch r := recover().(type) {
		case nil:
		case violation:
			res.Violation, res.Check = r.text, r.check
		default:
			res.Check, res.Violation = "panic", fmt.Sprintf("panic: %v\n%s", r, debug.Stack())
		}
		res.Happened = w.happened
		res.Events, res.Committed, res.Elections = w.steps, len(w.check.committed), len(w.check.leaders)
		if story != nil {
			res.Trace = story.String()
		}
	}()
	w.plan()
	w.runUntil(w.s.faults, nil)
	w.healAll()
	w.runUntil(w.now+healBound, w.converged())
	w.requireConverged()
	w.requireUpgraded()
	w.requireVotingLeader()
	w.requireTold()
	w.requireLinearizable()
	res.Converged = w.now - w.s.faults
	return res
}

// healAll ends the first phase: whole links, no loss, everyone up and awake.
func (w *world) healAll() {
	w.tracef("HEALED")
	w.healed = true
	w.s.drop, w.s.repeat, w.s.slow, w.s.stray = 0, 0, 0, 0
	clear(w.cut)
	w.mendDisks()
	for _, n := range w.nodes {
		n.frozenUntil = min(n.frozenUntil, w.now)
		if !n.up {
			n.start()
		}
	}
}

// converged reports, checking now and then, whether one leader commits something new on every node.
func (w *world) converged() func() bool {
	goal := quorum.Offset(1) // something new, on every node
	if k := len(w.check.committed); k > 0 {
		goal = w.batches[w.check.committed[k-1]].info.Last + 2
	}
	next := w.now
	return func() bool {
		if w.now < next {
			return false
		}
		next = w.now + 50*time.Millisecond
		for _, n := range w.nodes {
			if !n.up || n.committed < goal {
				return false
			}
		}
		return true
	}
}

func (w *world) requireConverged() {
	lowest := quorum.Offset(1 << 62)
	var states []string
	for _, n := range w.nodes {
		if !n.up {
			w.check.fail("n%d is down %s after healing", n.id, healBound)
		}
		if start := w.offsetAt(n.disk.log, n.disk.first); !n.installing && n.q.Status().LogStartOffset != start {
			w.check.fail("n%d has a log from %d, its disk from %d", n.id, n.q.Status().LogStartOffset, start)
		}
		lowest = min(lowest, n.committed)
		s := n.q.Status()
		states = append(states, fmt.Sprintf("n%d %s epoch %d leader %d hw %d end %d", n.id, s.Role, s.Epoch, s.LeaderID, s.HighWatermark, s.LogEndOffset))
	}
	if w.now >= w.s.faults+healBound || lowest <= 0 {
		w.check.fail("no progress on every node %s after healing:\n  %s", healBound, strings.Join(states, "\n  "))
	}
}
