package storage

import "errors"

// DeleteOldSegments applies retention by time and size to segments that end at or below highWatermark, rolling the active
// one if it is due, and returns how many went. Topics that are only compacted lose nothing here but what lies below the
// start offset.
func (l *Log) DeleteOldSegments(nowMs, highWatermark int64) (int, error) {
	l.wmu.Lock()
	defer l.wmu.Unlock()
	if err := l.writable(); err != nil {
		return 0, err
	}
	cfg := l.cfg
	total, err := l.dropBelow(l.start, nowMs+cfg.DeleteDelayMs)
	if err != nil || !cfg.Delete {
		return total, err
	}
	size := l.Size()
	n, err := l.dropWhile(nowMs, highWatermark, &cfg, func(s *segment) bool {
		tooOld := cfg.RetentionMs >= 0 && nowMs-s.largestMs() > cfg.RetentionMs
		tooMuch := cfg.RetentionBytes >= 0 && size-s.size.Load() >= cfg.RetentionBytes
		size -= s.size.Load()
		return tooOld || tooMuch
	})
	return total + n, err
}

// dropWhile drops segments from the oldest on while due says so.
func (l *Log) dropWhile(nowMs, highWatermark int64, cfg *LogConfig, due func(*segment) bool) (int, error) {
	n := 0
	for i, s := range l.segments {
		next := l.end
		if i+1 < len(l.segments) {
			next = l.segments[i+1].base
		}
		if next > highWatermark || s.size.Load() == 0 || !due(s) {
			break
		}
		n++
	}
	if n == len(l.segments) { // everything: an empty segment takes over the end offset
		if err := l.roll(nowMs); err != nil {
			return 0, err
		}
	}
	return n, l.dropOldest(n, nowMs+cfg.DeleteDelayMs)
}

// RemovePending really removes files that left the log DeleteDelayMs ago (for those of truncations and of AdvanceStart
// the time begins with the first call). It returns how many segments are still waiting.
func (l *Log) RemovePending(nowMs int64) (int, error) {
	l.flushMu.Lock()
	defer l.flushMu.Unlock()
	l.mu.Lock()
	var now, later []*segment
	for _, s := range l.pending {
		switch {
		case s.removeAtMs == 0: // its time begins with the first look
			s.removeAtMs = nowMs + l.cfg.DeleteDelayMs
			fallthrough
		case s.removeAtMs > nowMs:
			later = append(later, s)
		default:
			now = append(now, s)
		}
	}
	l.pending = later
	l.mu.Unlock()
	var err error
	for _, s := range now {
		err = errors.Join(err, s.remove())
	}
	return len(later), err
}
