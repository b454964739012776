package server

import (
	"sync"
	"time"
)

// rateLimit lets n events through per period; the rest are dropped.
type rateLimit struct {
	mu     sync.Mutex
	n      int
	period time.Duration
	since  time.Time
	used   int
}

func newRateLimit(n int, period time.Duration) *rateLimit {
	return &rateLimit{n: n, period: period}
}

func (r *rateLimit) allow() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if now := time.Now(); now.Sub(r.since) >= r.period {
		r.since, r.used = now, 0
	}
	r.used++
	return r.used <= r.n
}
