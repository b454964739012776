package partition

import (
	"errors"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
)

// Member is a member of a proposed ISR with the broker epoch that makes it so; -1: not known (KIP-903).
type Member struct {
	ID    int32
	Epoch int64
}

// ISRChange is a proposed ISR, what AlterPartition asks of the controller. It always says RECOVERED: a leader elected
// uncleanly has nothing left to recover once it serves (KIP-704), and only then may its ISR grow.
type ISRChange struct {
	LeaderEpoch, PartitionEpoch int32
	Members                     []Member
	grows                       bool
}

// Pending reports whether an ISR change waits for its answer or for new metadata. At most one does.
func (s *State) Pending() bool { return s.pending != nil }

// MaximalISR is the committed ISR and, while an expansion is pending, the broker that would join. The high watermark
// never passes any of these, whichever way the change ends.
func (s *State) MaximalISR() []int32 {
	if s.pending == nil || !s.pending.grows {
		return s.assigned.ISR
	}
	ids := make([]int32, 0, len(s.pending.Members))
	for _, m := range s.pending.Members {
		ids = append(ids, m.ID)
	}
	return ids
}

func (s *State) inMaximalISR(id int32) bool {
	if slices.Contains(s.assigned.ISR, id) {
		return true
	}
	return s.pending != nil && s.pending.grows &&
		slices.ContainsFunc(s.pending.Members, func(m Member) bool { return m.ID == id })
}

// eligibleFollower reports whether a follower may join the ISR: the broker that last fetched is the one registered now.
func (s *State) eligibleFollower(id int32, eligible Eligibility) bool {
	epoch, ok := eligible(id)
	if !ok {
		return false
	}
	p := s.progress[id]
	return p != nil && (p.BrokerEpoch == None || p.BrokerEpoch == epoch)
}

// Expand proposes to add a follower that has caught up: its log end is at the high watermark or past it and past the
// start of this leader's epoch. Returns nil when there is nothing to propose.
func (s *State) Expand(broker int32, eligible Eligibility) *ISRChange {
	p := s.progress[broker]
	if s.role != Leader || s.pending != nil || p == nil || slices.Contains(s.assigned.ISR, broker) {
		return nil
	}
	if p.LogEndOffset < s.hw || p.LogEndOffset < s.epochStart || !s.eligibleFollower(broker, eligible) {
		return nil
	}
	return s.propose(append(slices.Clone(s.assigned.ISR), broker), true)
}

// Shrink proposes to remove the members that have not been at the leader's log end for lagMaxMs. Returns nil when there
// is nothing to propose. The leader itself always stays.
func (s *State) Shrink(nowMs int64, lagMaxMs int64) *ISRChange {
	if s.role != Leader || s.pending != nil {
		return nil
	}
	left := make([]int32, 0, len(s.assigned.ISR))
	for _, id := range s.assigned.ISR {
		if id != s.local {
			if p := s.progress[id]; p == nil || !p.caughtUp(s.leo, nowMs, lagMaxMs) {
				continue
			}
		}
		left = append(left, id)
	}
	if len(left) == len(s.assigned.ISR) {
		return nil
	}
	return s.propose(left, false)
}

func (s *State) propose(ids []int32, grows bool) *ISRChange {
	c := &ISRChange{
		LeaderEpoch:    s.assigned.LeaderEpoch,
		PartitionEpoch: s.assigned.PartitionEpoch,
		Members:        make([]Member, 0, len(ids)),
		grows:          grows,
	}
	for _, id := range ids {
		epoch := int64(None)
		if id == s.local {
			epoch = s.localEpoch
		} else if p := s.progress[id]; p != nil {
			epoch = p.BrokerEpoch
		}
		c.Members = append(c.Members, Member{ID: id, Epoch: epoch})
	}
	s.pending = c
	return c
}

// ISRAnswer is the controller's answer for one partition of an AlterPartition request.
type ISRAnswer struct {
	Err                         error // nil or a *kerr.Error
	Leader                      int32
	LeaderEpoch, PartitionEpoch int32
	ISR                         []int32
	RecoveryState               int8
}

// ISROutcome says what to do after an answer.
type ISROutcome int8

const (
	// ISRIgnored: the change is no longer the pending one, or the answer is older than the metadata that was applied.
	ISRIgnored ISROutcome = iota
	// ISRApplied: the committed ISR is the answer's. The high watermark may advance.
	ISRApplied
	// ISRReset: refused for a reason that may pass; the committed ISR stands and a new change may be proposed.
	ISRReset
	// ISRRetry: the same change is to be sent again.
	ISRRetry
	// ISRAwaitMetadata: refused because the controller's state is newer. Nothing is proposed until it arrives.
	ISRAwaitMetadata
)

// ISRAnswered applies the controller's answer to the pending change c.
func (s *State) ISRAnswered(c *ISRChange, a ISRAnswer) ISROutcome {
	if s.pending != c {
		return ISRIgnored
	}
	switch {
	case a.Err == nil:
		if a.LeaderEpoch < s.assigned.LeaderEpoch || a.PartitionEpoch < s.assigned.PartitionEpoch || a.LeaderEpoch > s.assigned.LeaderEpoch {
			return ISRAwaitMetadata
		}
		s.assigned.ISR, s.assigned.PartitionEpoch = slices.Clone(a.ISR), a.PartitionEpoch
		s.assigned.LeaderRecoveryState = a.RecoveryState
		s.pending = nil
		return ISRApplied
	case isAny(a.Err, kerr.OperationNotAttempted, kerr.IneligibleReplica):
		s.pending = nil
		return ISRReset
	case isAny(a.Err, kerr.UnknownTopicOrPartition, kerr.UnknownTopicID, kerr.FencedLeaderEpoch, kerr.InvalidUpdateVersion,
		kerr.InvalidRequest, kerr.NewLeaderElected):
		return ISRAwaitMetadata
	}
	return ISRRetry
}

func isAny(err error, of ...error) bool {
	return slices.ContainsFunc(of, func(e error) bool { return errors.Is(err, e) })
}
