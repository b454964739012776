package crashpoints

import (
	"context"
	"fmt"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// Fault is what happens to the operator at a point.
type Fault string

// The faults. A write or a request that changes something gets all but the last, a read the last alone.
const (
	Before  Fault = "before"  // killed; the call is never made
	After   Fault = "after"   // killed; the call is made
	Applied Fault = "applied" // the call is made, a change of the voters two seconds late, but the answer is a timeout
	Frozen  Fault = "frozen"  // stops before the call, and makes it and all the rest of its pass after the next process has gone on for a few writes
	Late    Fault = "late"    // the same after all has converged; of the calls that could do something then
	Fails   Fault = "fails"   // a read isn't answered
)

var writeFaults = []Fault{Before, After, Applied, Frozen, Late}

// point is a call of the operator that a fault can hit.
type point struct {
	Verb, Object string
	read         bool
	admin        bool
	// site tells a point from all others of a play, also of one that goes another way: of a write which one of its kind it
	// is, of a read after which write it comes. Names by content are left out.
	site string
}

// siteOf numbers a call.
func (w *world) siteOf(p point) string {
	call := withoutHashes(p.String())
	if p.read {
		return call + " after " + w.last
	}
	w.counts[call]++
	w.last = fmt.Sprintf("%s #%d", call, w.counts[call])
	return w.last
}

// lasting tells whether a call that comes far too late could still do something: a status carries the resource version it
// was read with, an annotation the pod's UID, and what is merely applied again the next process has applied itself.
func (p point) lasting() bool {
	switch {
	case p.admin, p.Verb == "delete", p.Verb == "evict", p.Verb == "create":
		return true
	case p.Verb == "status":
		return false
	}
	kind, _, _ := strings.Cut(p.Object, " ")
	return kind == "StatefulSet" || kind == "ConfigMap" || kind == "PersistentVolumeClaim" || kind == "PodDisruptionBudget"
}

func (p point) String() string { return p.Verb + " " + p.Object }

// effect is a call that was carried out: answer hands the caller what the API says, unless the answer is lost.
type effect struct {
	answer func()
	err    error
}

func failed(err error) effect { return effect{err: err} }

// call makes a call of a manager, or what the fault makes of it.
func (m *manager) call(ctx context.Context, p point, do func() effect) error {
	w := m.w
	defer w.platform.enter(ctx, m)()
	if !p.read {
		w.platform.look(p)
	}
	if w.faulty != m || w.struck {
		return m.make(p, do)
	}
	n := len(w.points)
	p.site = w.siteOf(p)
	w.points = append(w.points, p)
	if w.forks != nil && !p.read {
		w.forks.before[n] = w.fork()
		err := m.make(p, do)
		w.forks.after[n] = w.fork()
		return err
	}
	if w.fault == "" || p.site != w.site {
		return m.make(p, do)
	}
	w.struck = true
	w.note("%s: %s: %s", m.name, p, w.fault)
	switch w.fault {
	case Before:
		panic(killed{})
	case After:
		_ = m.make(p, do)
		panic(killed{})
	case Frozen, Late:
		m.freeze()
		w.note("%s wakes: %s", m.name, p)
		return m.make(p, do)
	case Applied:
		if p.admin {
			m.effect(p, func() effect { return w.platform.later(timeout, do) })
			w.platform.elapse(timeout / 2)
			return uncertain(p)
		}
		err := m.effect(p, do).err
		w.platform.elapse(timeout / 2)
		if err == nil {
			err = apierrors.NewTimeoutError(p.String(), 0)
		}
		return err
	case Fails:
		w.platform.elapse(timeout)
		if p.admin {
			return uncertain(p)
		}
		return apierrors.NewTimeoutError(p.String(), 0)
	}
	panic("no such fault: " + string(w.fault))
}

func (m *manager) make(p point, do func() effect) error {
	e := m.effect(p, do)
	if e.err == nil && e.answer != nil {
		e.answer()
	}
	return e.err
}

func (m *manager) effect(p point, do func() effect) effect {
	e := do()
	if !p.read {
		m.w.writes++
		if m.w.tracing {
			m.w.note("%s: %s%s", m.name, p, outcome(e.err))
		}
	}
	return e
}

func outcome(err error) string {
	if err == nil {
		return ""
	}
	return fmt.Sprintf(": %v", err)
}
