// Package sim plays the planners in small simulated clusters. A cluster's own events come in seeded random order between
// the operator's steps, and rules that are written without the planners' own functions hold at every one of them: never
// below a majority or min.insync.replicas by our act, at most one change of the voters in flight, no identity twice, no
// second quorum beside a disk of the first, no churn from blips, an end within a bound.
package sim

import (
	"fmt"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/kraft-dev/kraft-operator/controllers/plan"
)

// Simulation is one kind of cluster and what happens to it.
type Simulation struct {
	Name  string
	Seeds uint64 // how many the tests play
	play  func(seed uint64)
}

// All lists the simulations, the quick ones first.
func All() []Simulation {
	return []Simulation{
		simulation("roll", 200, playRoll),
		simulation("bad-template", 200, playBadTemplate),
		simulation("slow-template", 200, playSlowTemplate),
		simulation("gone-while-stopped", 100, playGoneWhileStopped),
		simulation("never-started", 100, playNeverStarted),
		simulation("restart", 200, playRestart),
		simulation("hibernate", 300, playHibernation),
		simulation("formation", 300, playFormation),
		simulation("brokers", 120, playBrokers),
		simulation("wide-bad-template", 30, playWideBadTemplate),
		simulation("wide-broken", 30, playWideBroken),
		simulation("wide", 400, playWide),
		simulation("wide-slow", 200, playWideSlow),
		simulation("wide-falling", 200, playWideFalling),
		simulation("deaf", 100, playDeaf),
		simulation("voters", 150, playVoters),
	}
}

func simulation[W any](name string, seeds uint64, play func(uint64) W) Simulation {
	return Simulation{Name: name, Seeds: seeds, play: func(seed uint64) { play(seed) }}
}

// Play plays one seed, which goes the same way each time. It returns nil where every rule held.
func (s Simulation) Play(seed uint64) *Broken { return attempt(func() { s.play(seed) }) }

// Broken is a rule that didn't hold.
type Broken struct {
	Rule  string // its name: a word or two
	What  string
	Story []string // what happened, a line each
}

func (b *Broken) Error() string {
	return fmt.Sprintf("%s: %s\n%s", b.Rule, b.What, strings.Join(b.Story, "\n"))
}

func attempt(play func()) (broken *Broken) {
	defer func() {
		switch p := recover().(type) {
		case nil:
		case *Broken:
			broken = p
		default:
			broken = &Broken{Rule: "panic", What: fmt.Sprint(p), Story: []string{string(debug.Stack())}}
		}
	}()
	play()
	return nil
}

// story is what has happened, a line each.
type story struct{ log []string }

func (s *story) note(format string, args ...any) { s.log = append(s.log, fmt.Sprintf(format, args...)) }

// must ends the play where a rule doesn't hold.
func (s *story) must(holds bool, rule, format string, args ...any) {
	if !holds {
		panic(&Broken{Rule: rule, What: fmt.Sprintf(format, args...), Story: s.log})
	}
}

// ended are plays' ends.
func rolled(s plan.RollStep) bool  { return s.Do == plan.RollDone }
func stopped(s plan.RollStep) bool { return s.Stopped }

func allUp(nodes []plan.Node) bool {
	return !slices.ContainsFunc(nodes, func(n plan.Node) bool { return !n.Up() })
}
