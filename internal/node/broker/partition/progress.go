package partition

import (
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
)

// Progress is what a leader knows of one follower.
type Progress struct {
	LogEndOffset   int64 // its fetch offset, -1 until it fetched in this leader's time
	LogStartOffset int64
	BrokerEpoch    int64 // from the fetch's replica state (KIP-903), -1 when not sent
	lastCaughtUpMs int64
	lastFetchMs    int64
	lastFetchLEO   int64 // the leader's log end offset at its last fetch
}

// CaughtUp reports whether the follower was at the leader's log end within the last lagMaxMs.
func (p *Progress) caughtUp(leo, nowMs, lagMaxMs int64) bool {
	return p.LogEndOffset == leo || nowMs-p.lastCaughtUpMs <= lagMaxMs
}

// trackReplicas makes progress entries match the assignment. reset forgets what the followers had, as at the start of a
// leader epoch; members of the ISR then count as caught up now. newLeader also forgets their offsets.
func (s *State) trackReplicas(nowMs int64, reset, newLeader bool) {
	for id := range s.progress {
		if !slices.Contains(s.assigned.Replicas, id) {
			delete(s.progress, id)
		}
	}
	for _, id := range s.assigned.Replicas {
		if id == s.local {
			continue
		}
		p := s.progress[id]
		if p == nil {
			p = &Progress{LogEndOffset: None, LogStartOffset: None, BrokerEpoch: None}
			s.progress[id] = p
		} else if !reset {
			continue
		}
		if newLeader {
			p.LogEndOffset, p.LogStartOffset, p.lastFetchMs, p.lastFetchLEO = None, None, 0, 0
		}
		p.lastCaughtUpMs = 0
		if slices.Contains(s.assigned.ISR, id) {
			p.lastCaughtUpMs = nowMs
		}
	}
}

// Fetched notes a follower's fetch from offset, which acknowledges everything below it.
//
// Errors: UNKNOWN_LEADER_EPOCH when the broker is not in the assignment: the follower may know a newer one than this leader.
func (s *State) Fetched(nowMs int64, broker int32, offset, logStart, brokerEpoch int64) error {
	p := s.progress[broker]
	if p == nil || s.role != Leader {
		return kerr.UnknownLeaderEpoch
	}
	if p.BrokerEpoch != None && brokerEpoch != None && brokerEpoch < p.BrokerEpoch {
		return kerr.NotLeaderForPartition // a fetch of an earlier life of that broker, arriving late (KIP-903)
	}
	switch {
	case offset >= s.leo:
		p.lastCaughtUpMs = max(p.lastCaughtUpMs, nowMs)
	case offset >= p.lastFetchLEO:
		p.lastCaughtUpMs = max(p.lastCaughtUpMs, p.lastFetchMs)
	}
	p.LogEndOffset, p.LogStartOffset = offset, logStart
	p.lastFetchMs, p.lastFetchLEO = nowMs, s.leo
	p.BrokerEpoch = brokerEpoch
	return nil
}

// Follower returns what is known of a follower, and whether it is in the assignment of a partition that this broker leads.
func (s *State) Follower(broker int32) (Progress, bool) {
	p := s.progress[broker]
	if p == nil {
		return Progress{}, false
	}
	return *p, true
}

// LowWatermark is the least log start offset of the live replicas: what DeleteRecords waits for (KIP-107).
// A follower that has not fetched yet holds it back at -1.
func (s *State) LowWatermark(eligible Eligibility) int64 {
	low := s.logStart
	for id, p := range s.progress {
		if _, ok := eligible(id); ok {
			low = min(low, p.LogStartOffset)
		}
	}
	return low
}
