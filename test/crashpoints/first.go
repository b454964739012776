package crashpoints

import (
	"fmt"
	"runtime"
	"strings"

	"github.com/go-logr/logr"
	ctrl "sigs.k8s.io/controller-runtime"
)

// Found is the first play of a verb that broke a rule, or didn't converge.
type Found struct {
	Where string // verb/point/fault; verb alone: without a fault
	What  string // the rule, or what is missing
	Plays int    // how many were played up to it
}

// First plays a verb, without a fault and then point by point, until something is wrong; at most so many plays. It
// returns nil where nothing is.
func First(name string, most int) (found *Found) {
	ctrl.SetLogger(logr.Discard())
	for _, v := range verbs() {
		if v.name == name {
			return firstOf(v, most)
		}
	}
	panic("no verb is called " + name)
}

func firstOf(v verb, most int) (found *Found) {
	p, err := prepareSafely(v)
	if err != nil {
		return &Found{Where: v.name, What: line(err.Error())}
	}
	plays := p.plays()
	plays = plays[:min(most, len(plays))]
	for at := 0; at < len(plays); at += runtime.GOMAXPROCS(0) {
		some := plays[at:min(len(plays), at+runtime.GOMAXPROCS(0))]
		problems := make([]string, len(some))
		spread(len(some), len(some), func(i int) { problems[i] = p.once(some[i].Fault, some[i].Point, false).problem })
		for i, problem := range problems {
			if problem != "" {
				return &Found{Where: some[i].String(), What: line(problem), Plays: at + i + 1}
			}
		}
	}
	return nil
}

// prepareSafely is prepare with a beginning that may fail.
func prepareSafely(v verb) (p *prepared, err error) {
	defer func() {
		if bad := recover(); bad != nil {
			err = fmt.Errorf("%v", bad)
		}
	}()
	return prepare(models{}, v, make(chan struct{}, runtime.GOMAXPROCS(0)))
}

func line(text string) string {
	first, _, _ := strings.Cut(text, "\n")
	return first
}
