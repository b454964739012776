package quorum

import "time"

// Voter changes (KIP-853). At most one is under way, and neighbouring sets differ by at most one voter, so that any
// majority of one shares a voter with any majority of the other. A new set is in force as soon as its record is
// in the log, committed or not, here and on every follower; truncation brings the one before back (history.go).
//
// The record of a change takes an offset like any other, so it goes the way of all proposals: ProposeControl asks
// the driver for it, the accumulator gives the offset, Propose brings it back. Until it is back no other change may
// begin, whatever became of the one who asked: a change that was computed from the set before must not follow it.

// voterChange is an AddRaftVoter or RemoveRaftVoter under way on the leader.
type voterChange struct {
	request  Request // unanswered, unless answered is set
	answered bool
	remove   bool

	voter            Voter // supported versions unknown until probed
	ackWhenCommitted bool
	probe            uint64  // correlation of the ApiVersions request; 0: none is outstanding
	offset           Offset  // of the KRaftVoters record; UnknownOffset until it is in the log
	deadline         Instant // REQUEST_TIMED_OUT then, though the record may still commit
}

// refusal says why a change can't be begun. The zero value allows it.
type refusal struct {
	code ErrorCode
	text string
}

// changeRefused applies the checks that all changes share, in Kafka's order.
func (q *Quorum) changeRefused() refusal {
	q.expireVoterChange()
	at, known := q.history.votersOffset()
	switch {
	case planted == changesOverlap && q.leader.change == nil && q.leader.proposed == nil && q.history.kraftVersion() > 0:
		return refusal{}
	case q.leader.change != nil || q.leader.proposed != nil:
		return refusal{RequestTimedOut, "another change of the voters is under way"}
	case q.hw < 0:
		return refusal{RequestTimedOut, "the leader has not committed a record of its epoch yet"}
	case q.history.kraftVersion() < 1:
		return refusal{UnsupportedVersion, "kraft.version is 0: the voters are those of controller.quorum.voters, until kraft.version is upgraded to 1"}
	case !known || at >= q.hw:
		return refusal{RequestTimedOut, "the last change of the voters is not committed yet"}
	}
	return refusal{}
}

// checkChange is the leader-only check of AddRaftVoter and RemoveRaftVoter, which name no epoch. A leader that hands over
// begins nothing it could not see through.
func (q *Quorum) checkChange(clusterID *string) refusal {
	switch {
	case clusterID != nil && q.cfg.ClusterID != "" && *clusterID != q.cfg.ClusterID:
		return refusal{InconsistentClusterID, "cluster id " + *clusterID + " is not " + q.cfg.ClusterID}
	case q.role != Leader:
		return refusal{NotLeaderOrFollower, ""}
	case q.shutdown != notShuttingDown || q.leader.handover:
		return refusal{BrokerNotAvailable, "the leader is handing over"}
	}
	return refusal{}
}

// proposeVoters asks for the record of a new set.
func (q *Quorum) proposeVoters(set VoterSet) { q.proposeControl(ControlRecord{Voters: &set}) }

func (q *Quorum) proposeControl(records ...ControlRecord) {
	q.leader.proposed = records
	q.out.emit(ProposeControl{Epoch: q.election.Epoch, Records: records})
}

// controlAllowed: the only control batch a leader takes from outside is the one it has asked for.
func (q *Quorum) controlAllowed(batches []BatchInfo) bool {
	asked := q.leader.proposed
	for _, b := range batches {
		if b.Control == nil {
			continue
		}
		if asked == nil || !sameControl(asked, b.Control) || int64(b.Last-b.Base) != int64(len(asked)-1) {
			return false
		}
		asked = nil
	}
	return true
}

func sameControl(a, b []ControlRecord) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		switch {
		case a[i].Voters != nil && b[i].Voters != nil && a[i].Voters.Equal(*b[i].Voters):
		case a[i].KRaftVersion != nil && b[i].KRaftVersion != nil && *a[i].KRaftVersion == *b[i].KRaftVersion:
		default:
			return false
		}
	}
	return true
}

// controlAppended notes the offset of the change's record, and honours the new set at once.
func (q *Quorum) controlAppended() {
	l := q.leader
	l.proposed = nil
	c := l.change
	if c == nil || c.offset >= 0 || c.probe != 0 {
		return
	}
	c.offset, _ = q.history.votersOffset()
	if !c.ackWhenCommitted || planted == changeAnsweredEarly {
		q.answerChange(c, refusal{})
	}
}

// useVoters makes the leader count by the set in force: progress, check-quorum, who is told of it, whose parked fetch is a voter's.
func (q *Quorum) useVoters() {
	l, set := q.leader, q.voters()
	l.votersAt, _ = q.history.votersOffset()
	before := l.replicas.set
	l.replicas.update(set)
	if before.SameKeys(set) {
		return
	}
	for i := range q.parked {
		q.parked[i].voter = set.Contains(q.parked[i].fetch.Replica)
	}
	for id := range l.begin {
		if _, ok := set.ByID(id); !ok {
			delete(l.begin, id)
		}
	}
	// The members changed after the last round began: it would count voters that are gone, or miss new ones that have
	// had no time. It begins anew; this puts resignation off once a change, and changes need a majority.
	clear(l.fetched)
	clear(l.reads.sent)
	clear(l.reads.acked)
	l.checkQuorum = q.now + q.checkQuorumTimeout()
	q.advanceHighWatermark()
}

// completeVoterChange answers the change whose record is committed.
func (q *Quorum) completeVoterChange() {
	c := q.leader.change
	if c == nil || c.offset < 0 || c.offset >= q.hw {
		return
	}
	q.leader.change = nil
	q.answerChange(c, refusal{})
}

// votedOut reports a leader that the committed voter set does not contain any more. Until then it leads on, counting the
// others only.
func (q *Quorum) votedOut() bool {
	at, known := q.history.votersOffset()
	return known && at < q.hw && !q.isVoter()
}

// expireVoterChange gives up waiting; the record may be in the log and may commit.
func (q *Quorum) expireVoterChange() {
	if c := q.leader.change; c != nil && c.deadline <= q.now {
		q.abortChange(refusal{RequestTimedOut, c.stage()})
	}
}

func (c *voterChange) stage() string {
	switch {
	case c.probe != 0:
		return "the new voter did not answer in time"
	case c.offset < 0:
		return "the record of the change was not written in time; it may still be: look before trying again"
	}
	return "the change was not committed in time; it may still be: look before trying again"
}

func (q *Quorum) abortChange(r refusal) {
	if c := q.leader.change; c != nil {
		q.leader.change = nil
		q.answerChange(c, r)
	}
}

func (q *Quorum) answerChange(c *voterChange, r refusal) {
	switch {
	case c.answered:
	case c.remove:
		q.reply(c.request, &RemoveVoterResponse{Error: r.code, Text: r.text})
	default:
		q.reply(c.request, &AddVoterResponse{Error: r.code, Text: r.text})
	}
	c.answered = true
}

// leaveChange ends a change with the leadership. Its record may still commit under the next leader.
func (q *Quorum) leaveChange() {
	text := "the leader has changed; the change may still be committed: look before trying again"
	if c := q.leader.change; c != nil && c.probe != 0 {
		text = "the leader has changed; nothing was written"
	}
	q.abortChange(refusal{NotLeaderOrFollower, text})
	q.endTransfer(NotLeaderOrFollower, "the leader has changed")
	q.failReads()
}

// caughtUpWithin is how long ago a replica that was caught up once may have fetched last, to be added.
const caughtUpWithin = time.Hour
