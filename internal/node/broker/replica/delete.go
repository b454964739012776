package replica

import (
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
)

// deleteWait is a DeleteRecords of one partition that waits for its followers to move their log start (KIP-107).
type deleteWait struct {
	offset int64
	timer  *time.Timer
	over   atomic.Bool
	done   func(low int64, err error)
}

func (d *deleteWait) end(low int64, err error) {
	if d.over.CompareAndSwap(false, true) {
		if d.timer != nil {
			d.timer.Stop()
		}
		d.done(low, err)
	}
}

// finish ends a wait that left its partition's list.
func (d *deleteWait) finish(p *Partition) {
	p.mu.Lock()
	err := p.checkLeaderLocked(-1)
	low := p.state.LowWatermark(p.m.cfg.Eligible)
	p.mu.Unlock()
	if err != nil {
		low = -1
	}
	d.end(low, err)
}

// DeleteRecords moves the log start to offset (-1: the high watermark), and calls done once with the low watermark when every live
// replica has followed, or with an error.
//
// Errors: NOT_LEADER_OR_FOLLOWER, OFFSET_OUT_OF_RANGE past the high watermark, POLICY_VIOLATION on a topic that is not deleted from,
// REQUEST_TIMED_OUT.
func (p *Partition) DeleteRecords(offset int64, timeout time.Duration, done func(low int64, err error)) {
	d := &deleteWait{done: done}
	var fx effects
	p.mu.Lock()
	err := p.deleteLocked(d, offset)
	if err == nil && p.state.LowWatermark(p.m.cfg.Eligible) < d.offset {
		d.timer = time.AfterFunc(timeout, func() { p.expireDelete(d) })
		p.deletes = append(p.deletes, d)
	} else if err == nil {
		fx.deletes = append(fx.deletes, d)
	}
	p.mu.Unlock()
	if err != nil {
		d.end(-1, err)
		return
	}
	p.run(fx)
}

func (p *Partition) deleteLocked(d *deleteWait, offset int64) error {
	if err := p.checkLeaderLocked(-1); err != nil {
		return err
	}
	hw := p.state.HighWatermark()
	if offset == -1 {
		offset = hw
	}
	d.offset = offset
	switch {
	case !p.config.Log.Delete:
		return kerr.PolicyViolation
	case offset < 0 || offset > hw:
		return kerr.OffsetOutOfRange
	}
	if err := p.log.AdvanceStart(offset); err != nil {
		return p.diskError("log start", err)
	}
	p.state.SetLogStart(p.log.StartOffset())
	return nil
}

func (p *Partition) expireDelete(d *deleteWait) {
	p.mu.Lock()
	for i, w := range p.deletes {
		if w == d {
			p.deletes = append(p.deletes[:i], p.deletes[i+1:]...)
			break
		}
	}
	p.mu.Unlock()
	d.end(-1, kerr.RequestTimedOut)
}

// lowWatermarkLocked collects the DeleteRecords that the followers have caught up with.
func (p *Partition) lowWatermarkLocked(fx *effects) {
	if len(p.deletes) == 0 {
		return
	}
	low := p.state.LowWatermark(p.m.cfg.Eligible)
	kept := p.deletes[:0]
	for _, d := range p.deletes {
		if low >= d.offset {
			fx.deletes = append(fx.deletes, d)
		} else {
			kept = append(kept, d)
		}
	}
	p.deletes = kept
}
