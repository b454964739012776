package snapshots

import "time"

// trigger decides when a snapshot is due, by Kafka's rules: so many bytes of batches since the last one, or so much time. It reads no
// clock; now is monotonic.
type trigger struct {
	maxBytes int64         // metadata.log.max.record.bytes.between.snapshots
	interval time.Duration // metadata.log.max.snapshot.interval.ms; 0 is off

	bytes int64
	last  time.Duration // when the counters were reset
}

// reset begins to count anew: a snapshot was begun or loaded.
func (t *trigger) reset(now time.Duration) { t.bytes, t.last = 0, now }

// committed counts batches and says why a snapshot is due, "" if none is. An image that isn't aligned, or a snapshot still being
// written, puts it off: nothing is reset, and the next batch asks again.
func (t *trigger) committed(now time.Duration, bytes int64, aligned, busy bool) (reason string) {
	t.bytes += bytes
	switch {
	case !aligned || busy:
		return ""
	case t.bytes >= t.maxBytes:
		reason = "bytes"
	case t.interval > 0 && now-t.last >= t.interval:
		reason = "interval"
	default:
		return ""
	}
	t.reset(now)
	return reason
}
