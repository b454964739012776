package crashpoints

import (
	"fmt"
	"maps"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

const tick = 50 * time.Millisecond

// world is all there is: objects, Kubernetes, kraftds, and the operator's processes.
type world struct {
	*store
	platform platform
	fleet    *fleet
	sets     sets
	rules    *rules

	born, ends map[types.UID]time.Time // of pods
	cut        map[string]bool         // pods whose Kubernetes node is off the network
	nodeImage  string

	active   *manager
	frozen   *manager
	nextAt   time.Time // of the next process, while active is nil
	managers int
	writes   int // by the operator, since the beginning

	// The fault: at the hit'th point of the faulty manager.
	faulty *manager
	points []point
	counts map[string]int // of each call
	last   string         // site of the last write
	hit    int
	site   string
	fault  Fault
	struck bool
	asOf   int // writes when the manager froze

	script   []step // still to be played
	varies   bool   // see verb
	byChance bool   // who leads and what comes first isn't the same in each play

	// forks keeps copies of the world right before and after each write of the play without a fault; nil keeps none.
	forks *forks

	violations []string
	tracing    bool
	trace      []string
	began      time.Time
}

func newWorld() *world {
	w := &world{
		store: newStore(), fleet: newFleet(), sets: sets{cache: nil}, born: map[types.UID]time.Time{}, ends: map[types.UID]time.Time{},
		cut: map[string]bool{}, nodeImage: "kraft:1",
	}
	w.now = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	w.began = w.now
	w.rules = newRules(w)
	w.wire()
	return w
}

// wire ties the parts to this world, after it was made or copied.
func (w *world) wire() {
	if w.sets.cache == nil {
		w.sets.cache = map[string]*appsSet{}
	}
	w.rules.w, w.platform, w.counts = w, virtual{w}, map[string]int{}
	w.fleet.violate, w.fleet.note, w.fleet.now = w.violate, w.note, w.now
}

// forks are worlds by the number of a point, and what the script has still to do.
type forks struct{ before, after map[int]*world }

func newForks() *forks { return &forks{map[int]*world{}, map[int]*world{}} }

// fork copies a world in the middle of a verb: its operator has just died.
func (w *world) fork() *world {
	c := w.clone()
	c.fleet.starts = maps.Clone(w.fleet.starts)
	c.began, c.managers, c.writes, c.script, c.varies = w.began, w.managers, w.writes, w.script, w.varies
	c.faulty, c.struck, c.nextAt = &manager{}, true, w.now.Add(w.platform.pace().restart)
	return c
}

// clone copies a world without its operator.
func (w *world) clone() *world {
	c := &world{
		store: w.store.clone(), fleet: w.fleet.clone(), sets: sets{cache: maps.Clone(w.sets.cache), seen: w.sets.seen}, rules: w.rules.clone(),
		born: maps.Clone(w.born), ends: maps.Clone(w.ends), cut: maps.Clone(w.cut), nodeImage: w.nodeImage, began: w.now,
	}
	c.fleet.starts = map[int32]int{}
	c.wire()
	return c
}

func (w *world) note(format string, args ...any) {
	if w.tracing {
		w.trace = append(w.trace, fmt.Sprintf("%8.2fs  ", w.now.Sub(w.began).Seconds())+fmt.Sprintf(format, args...))
	}
}

func (w *world) violate(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	w.note("VIOLATION: %s", text)
	w.violations = append(w.violations, text)
}

// operate lets the operator's processes work.
func (w *world) operate() {
	if w.active == nil {
		if w.now.Before(w.nextAt) {
			return
		}
		w.active = w.newManager()
		if w.faulty == nil {
			w.faulty = w.active
		}
		w.note("%s starts", w.active.name)
	}
	m := w.active
	end, over := w.platform.turn(m)
	if !over {
		return
	}
	if end.frozen {
		w.frozen, w.active, w.asOf, w.nextAt = m, nil, w.writes, w.now.Add(w.platform.pace().lease)
		return
	}
	if end.panics != nil {
		w.violate("%s panics: %v", m.name, end.panics)
	}
	w.platform.end(m)
	w.active, w.nextAt = nil, w.now.Add(w.platform.pace().restart)
}

// wakeFrozen lets a frozen process finish its pass; then it finds that its lease is gone, and ends.
func (w *world) wakeFrozen() {
	m := w.frozen
	w.frozen = nil
	var end passEnd
	w.platform.outside(func() {
		m.wake <- true
		end = <-m.ended
	})
	if end.panics != nil {
		w.violate("%s panics: %v", m.name, end.panics)
	} else {
		w.note("%s ends: %v", m.name, end.err)
	}
	w.platform.end(m)
}

// close ends the operator's processes, also one that is frozen and was never woken.
func (w *world) close() {
	if m := w.frozen; m != nil {
		w.frozen = nil
		w.platform.outside(func() {
			m.wake <- false
			<-m.ended
		})
		w.platform.end(m)
	}
	if w.active != nil {
		w.platform.end(w.active)
	}
}

// must breaks off the play where a hand can't do what the script says.
func (w *world) must(err error) {
	if err != nil {
		w.violate("a hand fails: %v", err)
	}
}

// story is the end of the trace.
func (w *world) story(lines int) string {
	return strings.Join(w.trace[max(0, len(w.trace)-lines):], "\n")
}
