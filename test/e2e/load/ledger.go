// Package load drives a cluster with clients that keep books: every record that was acknowledged is
// read back and counted, and the longest time without an acknowledgement is measured.
package load

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Ledger holds what the cluster acknowledged, by producer name and sequence number. The zero value is ready.
type Ledger struct {
	mu     sync.Mutex
	acked  map[string]*sequences
	failed int64
	first  error

	latest  time.Time     // acknowledgement
	longest time.Duration // without one
	gaps    []Gap
}

// Gap is a time without an acknowledgement.
type Gap struct {
	From time.Time
	Took time.Duration
}

// longGap is what is worth a look: a gap of the cluster, not of the machine's scheduler. At most mostGaps are kept.
const (
	longGap  = 80 * time.Millisecond
	mostGaps = 1000
)

// sequences is a set of small integers as a bitmap: a million records cost 125 kB.
type sequences struct {
	bits []uint64
	n    int64
}

func (s *sequences) add(i int64) bool {
	for int(i/64) >= len(s.bits) {
		s.bits = append(s.bits, 0)
	}
	if s.bits[i/64]&(1<<(i%64)) != 0 {
		return false
	}
	s.bits[i/64] |= 1 << (i % 64)
	s.n++
	return true
}

func (s *sequences) has(i int64) bool {
	return s != nil && i >= 0 && int(i/64) < len(s.bits) && s.bits[i/64]&(1<<(i%64)) != 0
}

// Start begins the clock that measures gaps.
func (l *Ledger) Start(now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.latest = now
}

// Acked books one acknowledged record.
func (l *Ledger) Acked(producer string, seq int64, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.acked == nil {
		l.acked = map[string]*sequences{}
	}
	s := l.acked[producer]
	if s == nil {
		s = &sequences{}
		l.acked[producer] = s
	}
	s.add(seq)
	l.gapLocked(now)
	if !l.latest.IsZero() {
		l.latest = now
	}
}

func (l *Ledger) gapLocked(now time.Time) {
	if l.latest.IsZero() {
		return
	}
	gap := now.Sub(l.latest)
	l.longest = max(l.longest, gap)
	if gap > longGap && len(l.gaps) < mostGaps {
		l.gaps = append(l.gaps, Gap{From: l.latest, Took: gap})
	}
}

// LongGaps are the gaps that are worth a look, in order.
func (l *Ledger) LongGaps() []Gap {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.gaps)
}

// Stop ends the clock: what is still without an acknowledgement counts as a gap up to now.
func (l *Ledger) Stop(now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.gapLocked(now)
	l.latest = time.Time{}
}

// Failed books a record that the client gave up on: it may or may not be in the log.
func (l *Ledger) Failed(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.failed++
	if l.first == nil {
		l.first = err
	}
}

// Total counts acknowledged records of all producers.
func (l *Ledger) Total() (n int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range l.acked {
		n += s.n
	}
	return n
}

// Missing counts what l holds and other doesn't: acknowledged records that a consumer hasn't seen.
func (l *Ledger) Missing(other *Ledger) (n int64) {
	other.mu.Lock()
	seen := make(map[string]sequences, len(other.acked))
	for producer, s := range other.acked {
		seen[producer] = sequences{bits: slices.Clone(s.bits)}
	}
	other.mu.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	for producer, s := range l.acked {
		found := seen[producer]
		for i := range int64(len(s.bits) * 64) {
			if s.has(i) && !found.has(i) {
				n++
			}
		}
	}
	return n
}

// last is the largest sequence number of a producer, -1 when there is none.
func (l *Ledger) last(producer string) int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.acked[producer]
	if s == nil {
		return -1
	}
	for i := int64(len(s.bits)*64) - 1; i >= 0; i-- {
		if s.has(i) {
			return i
		}
	}
	return -1
}

// Failures returns how many records failed, and the first error.
func (l *Ledger) Failures() (int64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.failed, l.first
}

// LongestGap is the longest time between two acknowledgements from Start to Stop.
func (l *Ledger) LongestGap() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.longest
}

// Audit compares a ledger with what was read back.
type Audit struct {
	Acked, Lost, Duplicated int64
	Unknown                 int64 // records in the topic that no ledger knows: unacknowledged, or another's
}

// String is the closing line of the demo and of the end-to-end tests.
func (a Audit) String() string {
	return fmt.Sprintf("acked=%d lost=%d duplicated=%d", a.Acked, a.Lost, a.Duplicated)
}

// Clean tells whether nothing acknowledged was lost or stands twice.
func (a Audit) Clean() bool { return a.Lost == 0 && a.Duplicated == 0 }

// Audit checks values read back (one call a record, any order) against the ledger; done returns the result.
func (l *Ledger) Audit() (seen func(value []byte), done func() Audit) {
	found := map[string]*sequences{}
	var a Audit
	seen = func(value []byte) {
		producer, seq, err := ParseValue(value)
		if err != nil {
			a.Unknown++
			return
		}
		s := found[producer]
		if s == nil {
			s = &sequences{}
			found[producer] = s
		}
		if !s.add(seq) {
			a.Duplicated++
		}
	}
	done = func() Audit {
		l.mu.Lock()
		defer l.mu.Unlock()
		for producer, s := range l.acked {
			a.Acked += s.n
			f := found[producer]
			for i := range int64(len(s.bits) * 64) {
				if s.has(i) && !f.has(i) {
					a.Lost++
				}
			}
		}
		for producer, f := range found {
			for i := range int64(len(f.bits) * 64) {
				if f.has(i) && !l.acked[producer].has(i) {
					a.Unknown++
				}
			}
		}
		return a
	}
	return seen, done
}

// Value is a record's value: producer name, a colon, the sequence number, padding.
func Value(producer string, seq int64, size int) []byte {
	b := append([]byte(producer), ':')
	b = strconv.AppendInt(b, seq, 10)
	b = append(b, ' ')
	for len(b) < size {
		b = append(b, 'x')
	}
	return b
}

// ParseValue reads what Value wrote.
func ParseValue(v []byte) (producer string, seq int64, err error) {
	head, _, _ := strings.Cut(string(v[:min(len(v), 128)]), " ")
	producer, num, ok := strings.Cut(head, ":")
	if !ok {
		return "", 0, fmt.Errorf("value %.40q: no producer", v)
	}
	seq, err = strconv.ParseInt(num, 10, 64)
	if err != nil || seq < 0 || seq > 1<<32 {
		return "", 0, fmt.Errorf("value %.40q: sequence number %q", v, num)
	}
	return producer, seq, nil
}
