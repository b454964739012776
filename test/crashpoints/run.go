package crashpoints

import (
	"fmt"
	"time"
)

// How long all has to be well before a play ends, and how much longer than without a fault it may take.
const (
	rest      = 2 * time.Second
	longRest  = 12 * time.Second // of the play without a fault: one more look at a cluster that is well
	allowance = 90 * time.Second
)

// result is how a play ended.
type result struct {
	problem string // "" when it converged and broke no rule
	took    time.Duration
	end     map[string]string // the state at its end, normalised
	w       *world
}

// run plays the script until done and as want says, which may be nil; at most so many seconds.
func (w *world) run(done func(*world) string, want map[string]string, seconds int) result {
	defer w.close()
	limit := w.now.Add(time.Duration(seconds) * time.Second)
	var wellSince, wellFirst time.Time
	missing, unlike := "", ""
	var end map[string]string
	start, compared, quiet := w.now, 0, rest
	if want == nil {
		quiet = longRest
	}
	for w.now.Before(limit) && len(w.violations) == 0 {
		w.tickAll()
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

// prepared is a verb with its beginning and its faultless play.
type prepared struct {
	verb
	begin  *world
	forks  *forks
	points []point
	readAt []int
	sound  result
}

// prepare plays a verb without a fault, twice: it has to go the same way.
func prepare(v verb) (*prepared, error) {
	p := &prepared{verb: v, begin: newWorld()}
	if v.from != nil {
		p.begin = v.from()
	}
	p.forks = newForks()
	p.sound = p.once("", -1, false)
	if p.sound.problem != "" {
		return nil, fmt.Errorf("%s without a fault: %s", v.name, p.once("", -1, true).tell())
	}
	p.points, p.readAt = p.sound.w.points, p.sound.w.readAt
	kept := p.forks
	p.forks = nil
	again := p.once("", -1, false)
	p.forks = kept
	if diff := compare(p.sound.end, again.end); diff != "" || len(again.w.points) != len(p.points) {
		return nil, fmt.Errorf("%s goes another way the second time: %d points, then %d\n%s", v.name, len(p.points), len(again.w.points), diff)
	}
	p.sound.w, p.begin.trace = nil, nil
	return p, nil
}

// once plays the verb from its beginning with one fault.
func (p *prepared) once(f Fault, hit int, tracing bool) result {
	w := p.beginning(f, hit, tracing)
	limit := allowance + 3*p.sound.took
	want := p.sound.end
	if f == "" {
		limit, want = 10*time.Minute, nil
	}
	r := w.run(p.done, want, int(limit.Seconds()))
	switch {
	case r.problem != "" || f == "" || w.fault == "":
		return r
	case !w.struck:
		r.problem = "the fault was never met: the play isn't the same every time"
	case p.points[hit] != w.points[hit]:
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
	w := p.begin.clone()
	w.fault, w.hit, w.tracing, w.script, w.varies = f, hit, tracing, p.play, p.varies
	if f == "" && !tracing {
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
	type read struct {
		point
		after int
	}
	met := map[read]bool{}
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
		r := read{pt, p.readAt[i]}
		if pt.Object == "KRaftCluster "+clusterName {
			r.after = 0 // a pass that begins with an error does nothing: once is enough
		}
		if !met[r] {
			met[r] = true
			out = append(out, play{p.name, i, Fails})
		}
	}
	return out
}
