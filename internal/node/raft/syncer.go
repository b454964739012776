package raft

import (
	"context"
	"sync"
)

// syncer carries out one kind of slow, durable work beside the loop. Requests that come while one is carried out are
// combined: only the newest is done, and reporting its number reports all below.
type syncer struct {
	work func() error // used when a request brings none of its own
	done func(seq uint64)
	fail func(error)

	mu   sync.Mutex
	seq  uint64
	next func() error
	wake chan struct{}
}

func newSyncer(work func() error, done func(uint64), fail func(error)) *syncer {
	return &syncer{work: work, done: done, fail: fail, wake: make(chan struct{}, 1)}
}

// request asks for seq; work nil is the syncer's own.
func (s *syncer) request(seq uint64, work func() error) {
	s.mu.Lock()
	s.seq, s.next = seq, work
	s.mu.Unlock()
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// run works until ctx ends. The first error ends it: a disk that failed once is not asked again.
func (s *syncer) run(ctx context.Context) {
	for {
		select {
		case <-s.wake:
		case <-ctx.Done():
			return
		}
		s.mu.Lock()
		seq, work := s.seq, s.next
		s.mu.Unlock()
		if work == nil {
			work = s.work
		}
		if err := work(); err != nil {
			s.fail(err)
			return
		}
		s.done(seq)
	}
}
