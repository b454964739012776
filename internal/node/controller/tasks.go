package controller

import (
	"time"

	"github.com/kraft-dev/kraft-operator/internal/metadata"
)

const (
	// maxElectionsPerRun bounds one run of the balancing tasks; with more to do they run again after taskAgain.
	maxElectionsPerRun = 1000
	taskAgain          = 10 * time.Millisecond
	// taskRetry is the wait after a task failed.
	taskRetry = 5 * time.Minute
)

// task is work that an active controller repeats. running is set while its records wait to be committed.
type task struct {
	name    string
	period  time.Duration
	run     func(tx *tx) (again bool, err error)
	next    time.Time
	running bool
}

type tasks struct{ all []*task }

// newTasks are those of one activation; a negative period leaves a task out.
func (c *core) newTasks(now time.Time) tasks {
	all := []*task{
		{name: "writeNoOpRecord", period: c.cfg.MaxIdleInterval, run: writeNoOp},
		{name: "maybeFenceStaleBroker", period: c.cfg.SessionTimeout / 8, run: fenceStale},
		{name: "electPreferred", period: c.cfg.LeaderImbalanceInterval, run: electPreferredLeaders},
		{name: "electUnclean", period: c.cfg.UncleanElectionInterval, run: electUncleanLeaders},
	}
	var on tasks
	for _, t := range all {
		if t.period > 0 {
			t.next = now.Add(t.period)
			on.all = append(on.all, t)
		}
	}
	return on
}

// deadline is when tick has something to do; zero is never.
func (c *core) deadline() time.Time {
	var first time.Time
	for _, t := range c.tasks.all {
		if !t.running && (first.IsZero() || t.next.Before(first)) {
			first = t.next
		}
	}
	return first
}

// tick runs the tasks that are due. One whose records aren't committed yet waits for them: an unavailable quorum gathers
// no pile of no-ops.
func (c *core) tick(now time.Time) {
	for _, t := range c.tasks.all {
		if !c.active() {
			return
		}
		if !t.running && !now.Before(t.next) {
			c.runTask(t, now)
		}
	}
}

func (c *core) runTask(t *task, now time.Time) {
	t.running = true
	wait := t.period
	c.write(t.name, now, func(tx *tx) error {
		again, err := t.run(tx)
		if again {
			wait = min(wait, taskAgain)
		}
		return err
	}, func(e *apiError) {
		t.running = false
		if e != nil && e != errNotController {
			c.log.Error("Periodic task failed", "task", t.name, "err", e)
			wait = max(wait, taskRetry)
		}
		t.next = now.Add(wait)
	})
}

// writeNoOp keeps the log moving, which is also how a deposed leader notices (KIP-835).
func writeNoOp(tx *tx) (bool, error) {
	tx.emit(metadata.NewNoOpRecord())
	return false, nil
}

// fenceStale fences one broker whose session has expired; one at a time, so that each sees what the one before did.
func fenceStale(tx *tx) (bool, error) {
	id, ok := tx.hb.stale(tx.now)
	if !ok {
		return false, nil
	}
	tx.fenceBroker(id)
	tx.onPrepared(func(int64) { tx.hb.touch(id, true, -1) })
	return true, nil
}
