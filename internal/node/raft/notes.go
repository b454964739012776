package raft

import "time"

const (
	// noteInterval is the shortest time between two equal notes in the log: an engine that retries may repeat one at its pace.
	noteInterval = time.Second
	// maxNotes bounds the texts that are remembered. A text beyond them is logged each time.
	maxNotes = 256
)

// notes lets each text through once a noteInterval. The zero value is ready; one goroutine uses it.
type notes struct {
	seen map[string]*seenNote
}

type seenNote struct {
	logged     time.Time
	suppressed int // since then
}

// pass says whether a text may be logged now, and how many equal ones were held back since it last was.
func (n *notes) pass(text string, now time.Time) (suppressed int, ok bool) {
	if s := n.seen[text]; s != nil {
		if now.Sub(s.logged) < noteInterval {
			s.suppressed++
			return 0, false
		}
		suppressed = s.suppressed
		s.logged, s.suppressed = now, 0
		return suppressed, true
	}
	if len(n.seen) >= maxNotes {
		n.forget(now)
	}
	if len(n.seen) < maxNotes {
		if n.seen == nil {
			n.seen = map[string]*seenNote{}
		}
		n.seen[text] = &seenNote{logged: now}
	}
	return 0, true
}

// forget drops the texts that may be logged again anyway.
func (n *notes) forget(now time.Time) {
	for text, s := range n.seen {
		if now.Sub(s.logged) >= noteInterval {
			delete(n.seen, text)
		}
	}
}
