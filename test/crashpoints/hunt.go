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

// hunt prepares the verbs, as many at a time as the stage plays, and plays each as soon as it is prepared. What came of a verb is
// written when it and those before it are done.
func hunt(out io.Writer, s stage, only string, every, lines int) bool {
	start := time.Now()
	list := slices.DeleteFunc(verbs(), func(v verb) bool { return !asked(v, only) })
	if len(list) == 0 {
		fmt.Fprintf(out, "no verb is called %s\n", only)
		return false
	}
	ends := make([]chan told, len(list))
	for i := range ends {
		ends[i] = make(chan told, 1)
	}
	slots := make(chan struct{}, s.atOnce())
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() {
		spread(s.atOnce(), len(list), func(i int) { ends[i] <- exhaust(s, list[i], slots, only, every, lines) })
	})
	ok, points, converged := true, 0, 0
	for _, end := range ends {
		t := <-end
		fmt.Fprint(out, t.text)
		points += t.played
		converged += t.converged
		ok = ok && t.ok
	}
	fmt.Fprintf(out, "took=%s\n", time.Since(start).Round(time.Second/10))
	fmt.Fprintf(out, "points=%d converged=%d\n", points, converged)
	if only == "" && every == 1 && points < fewest {
		fmt.Fprintf(out, "fewer than %d points: verbs are missing\n", fewest)
		return false
	}
	return ok && converged == points && points > 0
}

// fewest points are in a whole run; a model that lost its points would converge, too.
const fewest = 300

// told is what is to be said of a verb.
type told struct {
	sum
	text string
	ok   bool
}

// exhaust prepares a verb and plays all of it that is asked for. Each play takes one of slots.
func exhaust(s stage, v verb, slots chan struct{}, only string, every, lines int) (t told) {
	p, err := prepare(s, v, slots)
	if err == nil && !s.sameEachTime() && len(v.play) == 1 && !v.varies && !v.leads { // else it is chance how far the operator was when a hand acted
		err = p.like(models{})
	}
	var text strings.Builder
	t.ok = err == nil
	if err != nil {
		fmt.Fprintln(&text, err)
	}
	if p != nil {
		plays := slices.DeleteFunc(p.plays(), func(x play) bool { return !chosen(x, only) })
		rest := &spares{}
		if n := every * s.part(p.name); n > 1 {
			whole := plays
			plays = thinned(whole, n)
			rest.plays = slices.DeleteFunc(slices.Clone(whole), func(x play) bool { return slices.Contains(plays, x) })
		}
		trials := make([]trial, len(plays))
		spread(len(plays), len(plays), func(i int) {
			trials[i] = trial{play: plays[i], p: p}
			trials[i].run(rest)
		})
		t.sum = p.report(&text, trials, only, lines)
		t.ok = t.ok && t.missed <= max(2, t.tried/10) // more, and it is the point's name that is wrong, or the wait for it
	}
	t.text = text.String()
	return t
}

// sum is what came of a verb's trials. missed are those whose point never came, nor that of another in their place; they aren't played ones.
type sum struct{ tried, played, converged, missed int }

// spares are plays of a verb that weren't chosen: one stands in for a play of its fault whose point never came.
type spares struct {
	mu    sync.Mutex
	plays []play
}

// after takes the first spare play of a fault whose point is a later one, or the first of all.
func (s *spares) after(was play) (play, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	best := -1
	for i, x := range s.plays {
		if x.Fault == was.Fault && (best < 0 || x.Point > was.Point && s.plays[best].Point < was.Point) {
			best = i
		}
	}
	if best < 0 {
		return play{}, false
	}
	found := s.plays[best]
	s.plays = slices.Delete(s.plays, best, best+1)
	return found, true
}

// report writes what came of the verb's trials, with the stories of those that didn't converge.
func (p *prepared) report(out io.Writer, all []trial, only string, lines int) (s sum) {
	var bad []*trial
	s.tried = len(all)
	for i := range all {
		t := &all[i]
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

// thinned keeps one of each n plays, not always the one in the same place: every fifth is of the same fault.
func thinned(plays []play, n int) (out []play) {
	for begin := 0; begin < len(plays); begin += n {
		if i := begin + (n-1+7*begin/n)%n; i < len(plays) {
			out = append(out, plays[i])
		}
	}
	return out
}

// trial is a play of a verb, and how it ended.
type trial struct {
	play
	p *prepared
	result
}

// again is how often a play is tried whose point doesn't come, and how many others then are in its place.
const again = 3

func (t *trial) run(rest *spares) {
	t.try()
	for range again {
		other, ok := play{}, t.missed
		if ok {
			other, ok = rest.after(t.play)
		}
		if !ok {
			break
		}
		t.play = other
		t.try()
	}
	if t.problem == "" {
		t.w = nil
	}
}

func (t *trial) try() {
	for range again {
		if t.result = t.p.once(t.Fault, t.Point, false); !t.missed {
			return
		}
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
