package quorum

import "time"

// random is splitmix64: a seed in the state, so that a replica's whole life is a function of its events.
type random struct{ state uint64 }

func (r *random) next() uint64 {
	r.state += 0x9e3779b97f4a7c15
	z := r.state
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// below returns a number in [0, n), 0 if n is not positive.
func (r *random) below(n int64) int64 {
	if n <= 0 {
		return 0
	}
	return int64(r.next() % uint64(n))
}

// electionTimeout is uniform in [T, 2T); 0 stays 0, for tests that want no randomness (as in Kafka).
func (q *Quorum) electionTimeout() time.Duration {
	t := q.cfg.ElectionTimeout
	return t + time.Duration(q.rng.below(int64(t)))
}

// endJitter spreads the followers of a leader that resigned: up to a twentieth of the election timeout.
func (q *Quorum) endJitter() time.Duration {
	return time.Duration(q.rng.below(int64(q.cfg.ElectionTimeout / 20)))
}
