package main

import (
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// ledger writes to the metadata log for as long as it runs and remembers what was acknowledged: client quotas, one a user, since they
// need no broker. The name of the user is the entry.
type ledger struct {
	w    *world
	done chan struct{}
	ends sync.WaitGroup

	quiet sync.Mutex // held while a write is under way, and by hold
	holds int
	mu    sync.Mutex
	acked []string
	addrs []string // of the voters
}

// hold waits for the write under way and keeps the next one back until as many calls of release. Both are for the main goroutine.
func (l *ledger) hold() {
	if l.holds++; l.holds == 1 {
		l.quiet.Lock()
	}
}

func (l *ledger) release() {
	if l.holds--; l.holds == 0 {
		l.quiet.Unlock()
	}
}

// One write each ledgerTick at most, which gets ledgerPatience to be answered: a paused node never answers.
const (
	ledgerTick     = 20 * time.Millisecond
	ledgerPatience = time.Second
)

func (w *world) openLedger() {
	w.ledger = &ledger{w: w, done: make(chan struct{})}
	w.ledger.ends.Add(1)
	w.votersMoved()
	go w.ledger.run()
}

// votersMoved tells the ledger where the voters are.
func (w *world) votersMoved() {
	w.ledger.mu.Lock()
	defer w.ledger.mu.Unlock()
	w.ledger.addrs = w.bootstrap()
}

// addr is one of the voters' addresses, another for each attempt that failed.
func (l *ledger) addr(attempt int) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.addrs[attempt%len(l.addrs)]
}

// stop ends the writing and waits for it; it may be called twice.
func (l *ledger) stop() {
	select {
	case <-l.done:
	default:
		close(l.done)
	}
	l.ends.Wait()
}

func (l *ledger) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.acked)
}

func (l *ledger) run() {
	defer l.ends.Done()
	tick := time.NewTicker(ledgerTick)
	defer tick.Stop()
	for i, at := 0, 0; ; {
		select {
		case <-l.done:
			return
		case <-tick.C:
		}
		user := fmt.Sprintf("ledger-%05d", i)
		l.quiet.Lock()
		err := setQuota(l.addr(at), user, float64(i+1))
		l.quiet.Unlock()
		if err == nil {
			l.mu.Lock()
			l.acked = append(l.acked, user)
			l.mu.Unlock()
			i++
			continue
		}
		at++ // what came of it is unknown: the same entry is written again elsewhere
	}
}

// setQuota sets producer_byte_rate of a user at one controller.
func setQuota(addr, user string, rate float64) error {
	req := newest(kmsg.NewPtrAlterClientQuotasRequest())
	entity := kmsg.NewAlterClientQuotasRequestEntryEntity()
	entity.Type, entity.Name = "user", kmsg.StringPtr(user)
	op := kmsg.NewAlterClientQuotasRequestEntryOp()
	op.Key, op.Value = "producer_byte_rate", rate
	entry := kmsg.NewAlterClientQuotasRequestEntry()
	entry.Entity, entry.Ops = append(entry.Entity, entity), append(entry.Ops, op)
	req.Entries = append(req.Entries, entry)
	resp, err := askWithin[*kmsg.AlterClientQuotasResponse](ledgerPatience, addr, req)
	if err != nil {
		return err
	}
	for _, e := range resp.Entries {
		if err := errorOf(e.ErrorCode, e.ErrorMessage); err != nil {
			return err
		}
	}
	if len(resp.Entries) != 1 {
		return fmt.Errorf("%d answers", len(resp.Entries))
	}
	return nil
}
