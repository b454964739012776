package crashpoints

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/go-logr/logr"
	ctrl "sigs.k8s.io/controller-runtime"
)

// Main plays what only asks for (verb, verb/point or verb/point/fault, several by commas; "" all), of that every so-many-th play, and writes what
// came of it. It reports whether everything converged.
func Main(out io.Writer, only string, every, lines int) bool {
	ctrl.SetLogger(logr.Discard())
	return hunt(out, models{}, only, every, lines)
}

func hunt(out io.Writer, s stage, only string, every, lines int) bool {
	start := time.Now()
	list := slices.DeleteFunc(verbs(), func(v verb) bool { return !asked(v, only) || v.virtual && !s.sameEachTime() })
	if len(list) == 0 {
		fmt.Fprintf(out, "no verb is called %s\n", only)
		return false
	}
	ready, ok := prepareAll(out, s, list)
	var all []*trial
	for _, p := range ready {
		plays := slices.DeleteFunc(p.plays(), func(x play) bool { return !chosen(x, only) })
		if n := every * s.part(p.name); n > 1 {
			plays = thinned(plays, n)
		}
		for _, x := range plays {
			all = append(all, &trial{play: x, p: p})
		}
	}
	spread(s.atOnce(), len(all), func(i int) { all[i].run() })
	points, converged := 0, 0
	for _, p := range ready {
		sum := p.report(out, all, only, lines)
		points += sum.played
		converged += sum.converged
		ok = ok && sum.missed <= max(2, sum.tried/10)
	}
	fmt.Fprintf(out, "took=%s\n", time.Since(start).Round(time.Second/10))
	fmt.Fprintf(out, "points=%d converged=%d\n", points, converged)
	return ok && converged == points && points > 0
}

// sum is what came of a verb's trials. missed are those whose point never came, which aren't played ones.
type sum struct{ tried, played, converged, missed int }

// report writes what came of the verb's trials, with the stories of those that didn't converge.
func (p *prepared) report(out io.Writer, all []*trial, only string, lines int) (s sum) {
	var bad []*trial
	for _, t := range all {
		if t.p != p {
			continue
		}
		s.tried++
		switch {
		case t.problem != "":
			bad = append(bad, t)
		case t.missed:
			s.missed++
		}
	}
	s.played = s.tried - s.missed
	s.converged = s.played - len(bad)
	fmt.Fprintf(out, "verb=%s writes=%d points=%d converged=%d", p.name, p.writes(), s.played, s.converged)
	if s.missed > 0 { // only where a play isn't the same each time
		fmt.Fprintf(out, " missed=%d", s.missed)
	}
	fmt.Fprintf(out, " took=%s\n", p.sound.took.Round(10*time.Millisecond))
	for i, t := range bad {
		if i == most && only == "" {
			fmt.Fprintf(out, "  and %d more\n", len(bad)-most)
			break
		}
		t.explain(out, lines)
	}
	return s
}

// most bounds how many plays of a verb are told.
const most = 3

func chosen(x play, only string) bool {
	return only == "" || slices.ContainsFunc(strings.Split(only, ","), func(o string) bool { return strings.HasPrefix(x.String()+"/", o+"/") })
}

// asked tells whether anything of a verb is asked for.
func asked(v verb, only string) bool {
	return only == "" || slices.ContainsFunc(strings.Split(only, ","), func(o string) bool { return strings.Split(o, "/")[0] == v.name })
}

// thinned keeps each n'th play.
func thinned(plays []play, n int) (out []play) {
	for i := n - 1; i < len(plays); i += n {
		out = append(out, plays[i])
	}
	return out
}

func prepareAll(out io.Writer, s stage, list []verb) ([]*prepared, bool) {
	ready := make([]*prepared, len(list))
	errs := make([]error, len(list))
	atOnce := s.atOnce()
	if !s.sameEachTime() {
		atOnce = (atOnce + 1) / 2 // each plays two
	}
	spread(atOnce, len(list), func(i int) { ready[i], errs[i] = prepare(s, list[i]) })
	ok := true
	for i, err := range errs {
		v := list[i]
		if err == nil && !s.sameEachTime() && len(v.play) == 1 && !v.varies && !v.leads { // else it is chance how far the operator was when a hand acted
			err = ready[i].like(models{})
		}
		if err != nil {
			ok = false
			fmt.Fprintln(out, err)
		}
	}
	return slices.DeleteFunc(ready, func(p *prepared) bool { return p == nil }), ok
}

// trial is a play of a verb, and how it ended.
type trial struct {
	play
	p *prepared
	result
}

// again is how often a play is tried whose point doesn't come.
const again = 3

func (t *trial) run() {
	for range again {
		if t.result = t.p.once(t.Fault, t.Point, false); !t.missed {
			break
		}
	}
	if t.problem == "" {
		t.w = nil
	}
}

// explain tells the story of a trial, and plays it once more for it where that goes the same way.
func (t *trial) explain(out io.Writer, lines int) {
	r, command := t.result, "crashpoints-real"
	if t.p.stage.sameEachTime() {
		r, command = t.p.once(t.Fault, t.Point, true), "crashpoints"
	}
	fmt.Fprintf(out, "--- %s: %s\n%s\n%s\nagain: make %s RUN=%s\n", t.play, t.p.points[t.Point], r.w.story(lines), r.problem, command, strconv.Quote(t.String()))
}

func (p *prepared) writes() (n int) {
	for _, pt := range p.points {
		if !pt.read {
			n++
		}
	}
	return n
}

// spread does n things, so many at once.
func spread(atOnce, n int, do func(int)) {
	var wg sync.WaitGroup
	next := make(chan int)
	for range atOnce {
		wg.Go(func() {
			for i := range next {
				do(i)
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	wg.Wait()
}
