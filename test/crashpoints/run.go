package crashpoints

import (
	"fmt"
	"runtime"
	"slices"
	"time"
)

// allowance is how much longer than without a fault a play may take: a budget counts a pod that it let be evicted, by its name, for up to two
// minutes, if that wasn't the pod that was meant, or the next of that name was there before anybody looked.
const allowance = 150 * time.Second

// result is how a play ended.
type result struct {
	problem string // "" when it converged and broke no rule
	missed  bool   // all is well, and the fault's point never came
	took    time.Duration
	end     map[string]string // the state at its end, normalised
	w       *world
}

// run plays the script until done and as want says, which may be nil, have been so for as long as quiet; at most so many seconds.
func (w *world) run(done func(*world) string, want map[string]string, quiet time.Duration, seconds int) result {
	defer w.close()
	limit := w.now.Add(time.Duration(seconds) * time.Second)
	var wellSince, wellFirst time.Time
	missing, unlike := "", ""
	var end map[string]string
	start, compared := w.now, 0
	for w.now.Before(limit) && len(w.violations) == 0 {
		w.platform.moment()
		for len(w.script) > 0 && (w.script[0].when == nil || w.script[0].when(w)) {
			w.note("hand: %s", w.script[0].what)
			w.script[0].do(w)
			w.script, wellSince = w.script[1:], time.Time{}
		}
		w.operate()
		if w.frozen != nil && w.fault == Frozen && w.writes >= w.asOf+1+w.hit%5 {
			w.wakeFrozen()
		}
		if len(w.script) > 0 {
			missing = "never came: " + w.script[0].what
			continue
		}
		if missing = done(w); missing != "" {
			wellSince = time.Time{}
			continue
		}
		if wellSince.IsZero() {
			wellSince = w.now
		}
		if w.fault != "" && !w.struck && w.now.Sub(wellSince) > w.platform.pace().miss {
			return result{missed: true, w: w}
		}
		if w.fault != "" && !w.struck || w.now.Sub(wellSince) < quiet || w.active == nil || w.active.failures > 0 {
			continue
		}
		if wellFirst.IsZero() {
			wellFirst = wellSince
		}
		if w.frozen != nil {
			w.wakeFrozen()
			wellSince = time.Time{}
			continue
		}
		if passes := w.managers*1000 + w.active.passes; passes != compared { // a look may tidy up yet
			compared, end = passes, w.normal()
			if diff := compare(want, end); want != nil && diff != "" {
				unlike = "it ends otherwise than without the fault:\n" + diff
				missing = unlike
				continue
			}
			return result{took: wellFirst.Sub(start), end: end, w: w, problem: first(w.violations)}
		}
		missing = unlike
	}
	if p := first(w.violations); p != "" {
		return result{problem: p, w: w}
	}
	return result{problem: fmt.Sprintf("not converged after %s: %s", w.now.Sub(start), missing), w: w}
}

func first(violations []string) string {
	if len(violations) == 0 {
		return ""
	}
	return "rule broken: " + violations[0]
}

// stage makes the worlds in which verbs are played.
type stage interface {
	// set makes what is there when a verb begins; each call of begin is such a world, in which nothing happened yet.
	set(v verb) (begin func() *world)
	// strike is called when a play is over.
	strike(w *world)
	// atOnce is how many plays go on at the same time.
	atOnce() int
	// part is n where only each n'th play of a verb is played, if nothing else is asked for.
	part(verb string) int
	// sameEachTime tells whether a play without a fault goes the same way each time, to the last call.
	sameEachTime() bool
}

// models are worlds in virtual time.
type models struct{}

func (models) set(v verb) func() *world {
	begin := setUp(v.from)
	return func() *world { return begin.clone() }
}

// setUp is a world in which something has happened already.
func setUp(from func(*world)) *world {
	w := newWorld()
	if from != nil {
		from(w)
	}
	w.trace = nil
	return w
}

func (models) strike(*world)      {}
func (models) part(string) int    { return 1 }
func (models) atOnce() int        { return runtime.GOMAXPROCS(0) }
func (models) sameEachTime() bool { return true }

// prepared is a verb with its beginning and its faultless play.
type prepared struct {
	verb
	stage  stage
	slots  chan struct{} // one is taken for each play
	begin  func() *world
	forks  *forks
	points []point // of every play without a fault
	came   []point // of any of them
	sound  result
}

// prepare plays a verb without a fault, twice: it has to go the same way, or at least to the same end. Points are those of both.
func prepare(s stage, v verb, slots chan struct{}) (*prepared, error) {
	p := &prepared{verb: v, stage: s, slots: slots, begin: s.set(v)}
	if s.sameEachTime() {
		p.forks = newForks()
	}
	var again result
	if s.sameEachTime() {
		if p.sound = p.once("", -1, false); p.sound.problem != "" {
			p.sound = p.once("", -1, true)
		}
		kept := p.forks
		p.forks = nil
		again = p.once("", -1, false)
		p.forks = kept
	} else {
		both := []*result{&p.sound, &again}
		spread(2, 2, func(i int) { *both[i] = p.once("", -1, false) })
	}
	if p.sound.problem != "" {
		return nil, fmt.Errorf("%s without a fault: %s", v.name, p.sound.tell())
	}
	if v.leads && !s.sameEachTime() {
		p.sound.end = nil // compared with nothing
	}
	if again.problem != "" {
		return nil, fmt.Errorf("%s without a fault, the second time: %s", v.name, again.tell())
	}
	if diff := compare(p.sound.end, again.end); diff != "" {
		return nil, fmt.Errorf("%s ends otherwise the second time:\n%s", v.name, diff)
	}
	p.points, p.came = p.sound.w.points, slices.Concat(p.sound.w.points, again.w.points)
	if !s.sameEachTime() {
		p.points = inBoth(p.points, again.w.points)
	} else if len(again.w.points) != len(p.points) {
		return nil, fmt.Errorf("%s goes another way the second time: %d points, then %d", v.name, len(p.points), len(again.w.points))
	}
	p.sound.w = nil
	return p, nil
}

// inBoth are the points of one play that came in another, too.
func inBoth(points, others []point) []point {
	came := map[string]bool{}
	for _, o := range others {
		came[o.site] = true
	}
	return slices.DeleteFunc(slices.Clone(points), func(p point) bool { return !came[p.site] })
}

// once plays the verb from its beginning with one fault.
func (p *prepared) once(f Fault, hit int, tracing bool) (r result) {
	p.slots <- struct{}{}
	defer func() { <-p.slots }()
	w := p.beginning(f, hit, tracing)
	defer p.stage.strike(w)
	limit, want, quiet := allowance+3*p.sound.took, p.sound.end, w.platform.pace().rest
	if f == "" {
		limit, want, quiet = 10*time.Minute, nil, w.platform.pace().long
	}
	r = w.run(p.done, want, quiet, int(limit.Seconds()))
	switch {
	case r.problem != "" || f == "" || w.fault == "" || !p.stage.sameEachTime():
		return r
	case r.missed:
		r.problem = "the fault was never met: the play isn't the same every time"
	case p.points[hit].site != w.points[hit].site:
		r.problem = fmt.Sprintf("the point is %s, and was %s: the play isn't the same every time", w.points[hit], p.points[hit])
	}
	return r
}

// beginning is where a play begins: for a process that is killed it is where it dies, unless the whole story is wanted.
func (p *prepared) beginning(f Fault, hit int, tracing bool) *world {
	if p.forks != nil && !tracing && (f == Before || f == After) {
		if f == Before {
			return p.forks.before[hit].fork()
		}
		return p.forks.after[hit].fork()
	}
	w := p.begin()
	w.fault, w.hit, w.script, w.varies = f, hit, p.play, p.varies
	if !p.stage.sameEachTime() {
		w.byChance, w.varies = true, p.varies || len(p.play) > 1
		tracing = true // what can't be played again is told at once
	}
	w.tracing = tracing
	if f != "" {
		w.site = p.points[hit].site
	} else if !tracing {
		w.forks = p.forks
	}
	return w
}

// tell is a problem with its story.
func (r result) tell() string { return r.problem + "\n" + r.w.story(80) }

// play is one point and fault of a verb.
type play struct {
	Verb  string
	Point int
	Fault Fault
}

func (p play) String() string { return fmt.Sprintf("%s/%d/%s", p.Verb, p.Point, p.Fault) }

// plays lists what is to be played: every write with every write's fault, and every first read of its kind after a write.
func (p *prepared) plays() (out []play) {
	met := map[string]bool{}
	for i, pt := range p.points {
		if !pt.read {
			for _, f := range writeFaults {
				if f == Late && !pt.lasting() {
					continue
				}
				out = append(out, play{p.name, i, f})
			}
			continue
		}
		read := pt.site
		if pt.Object == "KRaftCluster "+clusterName {
			read = pt.String() // a pass that begins with an error does nothing: once is enough
		}
		if !met[read] {
			met[read] = true
			out = append(out, play{p.name, i, Fails})
		}
	}
	return out
}
