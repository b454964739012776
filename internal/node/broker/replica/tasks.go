package replica

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"path"
	"time"

	"github.com/kraft-dev/kraft-operator/internal/storage"
	"github.com/kraft-dev/kraft-operator/internal/uuid"
)

func nowMs() int64 { return time.Now().UnixMilli() }

// strayDirName is what Kafka names a replica's folder that isn't this broker's any more.
func strayDirName(tp storage.TopicPartition, unique uuid.UUID) string {
	name := storage.DeletedDirName(tp, unique)
	return name[:len(name)-len("-delete")] + "-stray"
}

// flushEvery is how often flush.ms is looked at.
const flushEvery = time.Second

// tasks runs what is to be done from time to time. Each pause is read anew, so that changed settings count.
func (m *Manager) tasks(ctx context.Context) {
	s := m.settings()
	lag := func(s Settings) time.Duration { return time.Duration(s.LagMaxMs) * time.Millisecond / 2 }
	jobs := []struct {
		every func(Settings) time.Duration
		do    func()
		at    time.Time
	}{
		{every: func(s Settings) time.Duration { return s.CheckpointEvery }, do: m.checkpointHighWatermarks},
		{every: lag, do: m.shrinkISRs},
		{every: func(s Settings) time.Duration { return s.RecoveryEvery }, do: m.checkpointRecovery},
		{every: func(s Settings) time.Duration { return s.RetentionEvery }, do: m.retention},
		{every: func(s Settings) time.Duration { return min(s.DeleteDelay, 30*time.Second) }, do: m.removeDoomed},
		{every: func(Settings) time.Duration { return flushEvery }, do: m.flushByTime},
	}
	now := time.Now()
	for i := range jobs {
		jobs[i].at = now.Add(jobs[i].every(s))
	}
	for {
		next := jobs[0].at
		for _, j := range jobs[1:] {
			if j.at.Before(next) {
				next = j.at
			}
		}
		timer := time.NewTimer(time.Until(next))
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case now = <-timer.C:
		}
		s = m.settings()
		for i := range jobs {
			if !jobs[i].at.After(now) {
				jobs[i].do()
				jobs[i].at = time.Now().Add(jobs[i].every(s))
			}
		}
	}
}

// checkpoint writes an offset checkpoint file if it would differ from what it holds.
func (m *Manager) checkpoint(file string, offset func(*Partition) (int64, bool)) error {
	at := map[storage.TopicPartition]int64{}
	for _, p := range m.all() {
		if o, ok := offset(p); ok {
			at[storage.TopicPartition{Topic: p.topic, Partition: p.index}] = o
		}
	}
	m.disk.Lock()
	defer m.disk.Unlock()
	if m.firstApply || (m.written[file] != nil && maps.Equal(m.written[file], at)) {
		return nil // before the first Apply the file says more than the partitions do
	}
	if err := storage.WriteOffsetCheckpoint(m.cfg.FS, m.cfg.Dir, file, at); err != nil {
		return fmt.Errorf("%s: %w", path.Join(m.cfg.Dir, file), err)
	}
	m.written[file] = at
	return nil
}

func highWatermark(p *Partition) (int64, bool) { return p.Status().HighWatermark, true }
func flushed(p *Partition) (int64, bool)       { return p.log.FlushedOffset(), true }

// logStart is checkpointed only where it isn't the first segment's base, from which it is found again.
func logStart(p *Partition) (int64, bool) {
	start := p.log.StartOffset()
	bases := p.log.SegmentBases()
	return start, len(bases) > 0 && start > bases[0]
}

func (m *Manager) checkpointHighWatermarks() {
	if err := m.checkpoint(storage.HighWatermarkFile, highWatermark); err != nil {
		m.fatal(err)
	}
}

func (m *Manager) checkpointRecovery() {
	err := errors.Join(m.checkpoint(storage.RecoveryPointFile, flushed), m.checkpoint(storage.LogStartOffsetFile, logStart))
	if err != nil {
		m.fatal(err)
	}
}

// retention removes old segments and forgets silent producers.
func (m *Manager) retention() {
	now := nowMs()
	for _, p := range m.all() {
		p.mu.Lock()
		if p.gone {
			p.mu.Unlock()
			continue
		}
		n, err := p.log.DeleteOldSegments(now, p.state.HighWatermark())
		p.state.SetLogStart(p.log.StartOffset())
		p.log.ExpireProducers(now)
		p.mu.Unlock()
		if err != nil {
			m.fatal(fmt.Errorf("%s: retention: %w", p, err))
			return
		}
		if n > 0 {
			m.cfg.Logger.Info("Old segments removed", "partition", p.String(), "segments", n, "logStartOffset", p.log.StartOffset())
		}
	}
}

// removeDoomed removes files and folders whose readers have had their time.
func (m *Manager) removeDoomed() {
	now := nowMs()
	for _, p := range m.all() {
		if _, err := p.log.RemovePending(now); err != nil {
			m.cfg.Logger.Warn("Removing old files", "partition", p.String(), "cause", err)
		}
	}
	m.disk.Lock()
	defer m.disk.Unlock()
	kept := m.doomed[:0]
	for _, d := range m.doomed {
		if d.atMs > now {
			kept = append(kept, d)
		} else if err := m.destroy(d); err != nil {
			m.cfg.Logger.Warn("Removing a deleted partition", "folder", d.dir, "cause", err)
			kept = append(kept, d)
		}
	}
	m.doomed = kept
}

func (m *Manager) destroy(d doomed) error {
	if d.log != nil {
		if err := d.log.Abandon(); err != nil && !errors.Is(err, storage.ErrClosed) {
			return err
		}
	}
	return m.cfg.FS.RemoveAll(d.dir)
}

// flushByTime makes logs durable whose flush.ms has passed since the last time.
func (m *Manager) flushByTime() {
	now := nowMs()
	for _, p := range m.all() {
		p.mu.Lock()
		due := p.config.FlushMs >= 0 && p.unflushed > 0 && now-p.lastFlush >= p.config.FlushMs && !p.gone
		p.mu.Unlock()
		if due {
			p.flush()
		}
	}
}

// Close ends every partition: what waits is answered NOT_LEADER_OR_FOLLOWER, logs are made durable and closed, the checkpoints and the
// clean shutdown marker written. Run and StopFollowing must have ended, and no request may be on its way.
func (m *Manager) Close() error {
	var errs []error
	parts := m.all()
	for _, p := range parts {
		p.retire()
	}
	hw := m.checkpoint(storage.HighWatermarkFile, highWatermark)
	for _, p := range parts {
		if err := p.log.Flush(); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", p, err))
		}
	}
	errs = append(errs, hw, m.checkpoint(storage.RecoveryPointFile, flushed), m.checkpoint(storage.LogStartOffsetFile, logStart))
	for _, p := range parts {
		if err := p.log.Close(); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", p, err))
		}
	}
	m.disk.Lock()
	defer m.disk.Unlock()
	for _, d := range m.doomed {
		if err := m.destroy(d); err != nil {
			errs = append(errs, err)
		}
	}
	m.doomed = nil
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("closing the logs: %w", err)
	}
	if m.firstApply { // nothing was opened, so the marker that was there, or its absence, still says the truth
		return nil
	}
	epoch := m.cfg.BrokerEpoch()
	if err := storage.WriteCleanShutdown(m.cfg.FS, m.cfg.Dir, epoch); err != nil {
		return fmt.Errorf("clean shutdown marker: %w", err)
	}
	return nil
}

// newUUID makes a folder's name unique. The system's source of randomness doesn't fail.
func newUUID() uuid.UUID {
	id, err := uuid.New(rand.Reader)
	if err != nil {
		panic(err)
	}
	return id
}
