package partition

import (
	"github.com/twmb/franz-go/pkg/kerr"
)

// EffectiveMinISR is min.insync.replicas, at most the number of replicas.
func (s *State) EffectiveMinISR(minISR int) int {
	return min(minISR, max(len(s.assigned.Replicas), 1))
}

// UnderMinISR reports whether the committed ISR is smaller than min.insync.replicas.
func (s *State) UnderMinISR(minISR int) bool {
	return len(s.assigned.ISR) < s.EffectiveMinISR(minISR)
}

// AdvanceHighWatermark raises a leader's high watermark to what every replica that matters has, and reports whether it rose.
//
// The replicas that matter are the maximal ISR, and followers that are about to join it (caught up in time and eligible):
// otherwise a follower that follows closely could chase the high watermark for ever. It never falls, and it stands still
// while the ISR is under min.insync.replicas (KIP-966).
func (s *State) AdvanceHighWatermark(nowMs int64, l Limits, eligible Eligibility) bool {
	if s.role != Leader || s.UnderMinISR(l.MinISR) {
		return false
	}
	hw := s.leo
	for id, p := range s.progress {
		if p.LogEndOffset >= hw {
			continue
		}
		if s.inMaximalISR(id) || (p.caughtUp(s.leo, nowMs, l.LagMaxMs) && s.eligibleFollower(id, eligible)) {
			hw = p.LogEndOffset
		}
	}
	if hw <= s.hw {
		return false
	}
	s.hw = hw
	return true
}

// FollowHighWatermark takes the leader's high watermark as a fetch answer told it, at most the local log end. Reports whether it moved.
func (s *State) FollowHighWatermark(leaderHW int64) bool {
	hw := max(min(leaderHW, s.leo), s.logStart)
	if hw == s.hw {
		return false
	}
	s.hw = hw
	return true
}

// CheckAppend says whether a leader may take records with these required acks (-1: all).
//
// Errors: NOT_ENOUGH_REPLICAS for acks=all under min.insync.replicas.
func (s *State) CheckAppend(acks int16, minISR int) error {
	if acks == -1 && s.UnderMinISR(minISR) {
		return kerr.NotEnoughReplicas
	}
	return nil
}

// Committed says whether everything below required is committed, and with which error an acks=all append then ends.
func (s *State) Committed(required int64, minISR int) (done bool, err error) {
	if s.hw < required {
		return false, nil
	}
	if len(s.MaximalISR()) < s.EffectiveMinISR(minISR) {
		return true, kerr.NotEnoughReplicasAfterAppend
	}
	return true, nil
}
