package crashpoints

import (
	"fmt"
	"io"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/go-logr/logr"
	ctrl "sigs.k8s.io/controller-runtime"
)

// Main plays what only asks for (verb, verb/point or verb/point/fault; "" all), of that every so-many-th play, and writes what
// came of it. It reports whether everything converged.
func Main(out io.Writer, only string, every, lines int) bool {
	ctrl.SetLogger(logr.Discard())
	start := time.Now()
	list := slices.DeleteFunc(verbs(), func(v verb) bool { return only != "" && v.name != strings.Split(only, "/")[0] })
	if len(list) == 0 {
		fmt.Fprintf(out, "no verb is called %s\n", only)
		return false
	}
	ready, ok := prepareAll(out, list)
	points, converged := 0, 0
	for _, p := range ready {
		plays := slices.DeleteFunc(p.plays(), func(x play) bool { return !chosen(x, only) })
		if every > 1 {
			plays = thinned(plays, every)
		}
		bad := p.playAll(plays)
		points += len(plays)
		converged += len(plays) - len(bad)
		writes := 0
		for _, pt := range p.points {
			if !pt.read {
				writes++
			}
		}
		fmt.Fprintf(out, "verb=%s writes=%d points=%d converged=%d virtual=%s\n", p.name, writes, len(plays), len(plays)-len(bad), p.sound.took.Round(10*time.Millisecond))
		for i, x := range bad {
			if i == most && only == "" {
				fmt.Fprintf(out, "  and %d more\n", len(bad)-most)
				break
			}
			p.explain(out, x, lines)
		}
	}
	fmt.Fprintf(out, "took=%s\n", time.Since(start).Round(time.Second/10))
	fmt.Fprintf(out, "points=%d converged=%d\n", points, converged)
	return ok && converged == points && points > 0
}

// most bounds how many plays of a verb are told.
const most = 3

func chosen(x play, only string) bool {
	return only == "" || only == x.Verb || only == x.String() || strings.HasPrefix(x.String(), only+"/")
}

// thinned keeps each n'th play.
func thinned(plays []play, n int) (out []play) {
	for i := n - 1; i < len(plays); i += n {
		out = append(out, plays[i])
	}
	return out
}

func prepareAll(out io.Writer, list []verb) ([]*prepared, bool) {
	ready := make([]*prepared, len(list))
	errs := make([]error, len(list))
	spread(len(list), func(i int) { ready[i], errs[i] = prepare(list[i]) })
	ok := true
	for _, err := range errs {
		if err != nil {
			ok = false
			fmt.Fprintln(out, err)
		}
	}
	return slices.DeleteFunc(ready, func(p *prepared) bool { return p == nil }), ok
}

// playAll plays on every processor and returns what didn't converge.
func (p *prepared) playAll(plays []play) (bad []play) {
	problems := make([]string, len(plays))
	spread(len(plays), func(i int) { problems[i] = p.once(plays[i].Fault, plays[i].Point, false).problem })
	for i, problem := range problems {
		if problem != "" {
			bad = append(bad, plays[i])
		}
	}
	return bad
}

// explain plays once more, and tells.
func (p *prepared) explain(out io.Writer, x play, lines int) {
	r := p.once(x.Fault, x.Point, true)
	fmt.Fprintf(out, "--- %s: %s\n%s\n%s\nagain: make crashpoints RUN=%s\n", x, p.points[x.Point], r.w.story(lines), r.problem, strconv.Quote(x.String()))
}

// spread does n things on all processors.
func spread(n int, do func(int)) {
	var wg sync.WaitGroup
	next := make(chan int)
	for range runtime.GOMAXPROCS(0) {
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
