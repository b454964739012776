package quorum

import (
	"slices"
	"time"
)

// leaderState lives as long as one leadership.
type leaderState struct {
	epochStart Offset // of this epoch's LeaderChange
	replicas   replicas

	checkQuorum  Instant         // resign then, unless a majority fetches before
	fetched      map[NodeID]bool // voters seen fetching since the timer was restarted
	lastMajority Instant

	beginTick Instant         // when BeginQuorumEpoch is due again
	begin     map[NodeID]bool // voters to be told now

	observersNext Instant // parked observers are not woken before
	observersDue  bool    // and then they are
	observersAt   Offset  // the log's end at their last round

	handover         bool // no more writes: resign when a voter has everything, or at handoverDeadline
	handoverDeadline Instant

	transfer *transfer       // transfer.go
	reads    readState       // read_index.go
	change   *voterChange    // voter_change.go
	proposed []ControlRecord // asked for and not yet back: no other change may begin
	votersAt Offset          // of the voters record that replicas follows
	told     VoterSet        // kraft.version 0: the static voters as they describe themselves
}

func (l *leaderState) deadlines(soonest func(Instant)) {
	soonest(l.checkQuorum)
	soonest(l.beginTick)
	if l.observersDue {
		soonest(l.observersNext)
	}
	if l.handover {
		soonest(l.handoverDeadline)
	}
	if l.change != nil {
		soonest(l.change.deadline)
	}
	if l.transfer != nil {
		soonest(l.transfer.deadline)
	}
	if len(l.reads.pending) > 0 {
		soonest(l.reads.pending[0].deadline)
	}
}

// becomeLeader takes office: "leader = self" goes to disk first, everything else waits for it in the outbox.
func (q *Quorum) becomeLeader() {
	granting := q.tally.granting()
	epoch := q.election.Epoch
	q.election = ElectionState{Epoch: epoch, LeaderID: q.local.ID, Voted: NoReplica}
	q.leaderEndpoints = q.cfg.Endpoints
	q.hw = UnknownOffset // until a record of this epoch is committed (pitfall 8)
	q.enter(Leader)
	q.persist(planted != leaderNotSynced)
	q.leader = &leaderState{
		epochStart:    q.log.end,
		replicas:      newReplicas(q.voters()),
		checkQuorum:   q.now + q.checkQuorumTimeout(),
		lastMajority:  q.now,
		fetched:       map[NodeID]bool{},
		beginTick:     q.now,
		begin:         map[NodeID]bool{},
		observersNext: q.now,
	}
	if q.shutdown != notShuttingDown && planted != electedWhileLeaving { // by votes that were under way when it began to leave
		q.leave()
	}
	q.leader.votersAt, _ = q.history.votersOffset()
	q.leader.told, _ = q.voters().updatedByID(q.selfAsVoter())
	q.note(NoteInfo, "leader of epoch %d from offset %d, elected by %v of %v", epoch, q.log.end, granting, q.tally.voters)
	q.failParked() // left from an earlier leadership
	q.appendControl(q.firstRecords(granting))
}

// firstRecords begin an epoch: LeaderChange, and the voter set where the log does not hold it as it is now.
func (q *Quorum) firstRecords(granting []NodeID) []ControlRecord {
	voters := q.voters()
	records := []ControlRecord{{LeaderChange: &LeaderChange{LeaderID: q.local.ID, Voters: voters.IDs(), GrantingVoters: granting}}}
	level := q.history.kraftVersion()
	if level < 1 {
		return records
	}
	updated, changed := q.withOwnEntry(voters)
	if changed || q.history.fromBootstrap() {
		records = append(records, ControlRecord{KRaftVersion: &level}, ControlRecord{Voters: &updated})
	}
	return records
}

// withOwnEntry puts this node's endpoints and versions into its voter entry, if they differ.
func (q *Quorum) withOwnEntry(set VoterSet) (VoterSet, bool) {
	if len(q.cfg.Endpoints) == 0 {
		return set, false
	}
	return set.Updated(q.selfAsVoter())
}

// appendControl appends one control batch of this epoch.
func (q *Quorum) appendControl(records []ControlRecord) {
	base, epoch := q.log.end, q.election.Epoch
	q.history.addBatch(base, records)
	q.log.append(epoch, base+Offset(len(records)))
	q.out.emit(Append{Base: base, End: q.log.end, Epoch: epoch, Control: records})
	q.flush()
	q.afterLeaderAppend()
}

// propose appends what the accumulator drained, if this node still leads in the epoch it was meant for.
func (q *Quorum) propose(p Propose) {
	if q.role != Leader || p.Epoch != q.election.Epoch || q.leader.handover && planted != writesInHandover {
		q.out.emit(ProposeRejected{Epoch: p.Epoch})
		return
	}
	if n := q.contiguous(p.Batches, p.Epoch); n == 0 || n < len(p.Batches) || sizeOf(p.Batches) != len(p.Data) {
		q.note(NoteError, "proposed batches do not continue the log at offset %d in epoch %d: %s", q.log.end, p.Epoch, describe(p.Batches))
		q.out.emit(ProposeRejected{Epoch: p.Epoch})
		return
	}
	if !q.controlAllowed(p.Batches) {
		q.note(NoteError, "a control batch was proposed that was not asked for: %s", describe(p.Batches))
		q.out.emit(ProposeRejected{Epoch: p.Epoch})
		return
	}
	q.appendBatches(p.Batches, p.Data)
	if slices.ContainsFunc(p.Batches, func(b BatchInfo) bool { return b.Control != nil }) {
		q.controlAppended()
	}
	q.flush()
	q.afterLeaderAppend()
}

// appendBatches takes batches that continue the log.
func (q *Quorum) appendBatches(batches []BatchInfo, data []byte) {
	base := q.log.end
	for _, b := range batches {
		q.history.addBatch(b.Base, b.Control)
		q.log.append(b.Epoch, b.Last+1)
	}
	q.out.emit(Append{Base: base, End: q.log.end, Epoch: batches[len(batches)-1].Epoch, Batches: batches, Data: data})
}

// contiguous counts the leading batches that continue the log with epochs not above maxEpoch and not falling.
func (q *Quorum) contiguous(batches []BatchInfo, maxEpoch Epoch) int {
	next, epoch := q.log.end, q.log.lastEpoch()
	for i, b := range batches {
		if b.Base != next || b.Last < b.Base || b.Epoch < epoch || b.Epoch > maxEpoch || b.Size < 0 || b.Last > maxOffset {
			return i
		}
		next, epoch = b.Last+1, b.Epoch
	}
	return len(batches)
}

func sizeOf(batches []BatchInfo) (n int) {
	for _, b := range batches {
		n += b.Size
	}
	return n
}

func (q *Quorum) afterLeaderAppend() {
	if at, _ := q.history.votersOffset(); at != q.leader.votersAt {
		q.useVoters()
	}
	q.wakeForNews()
}

// recordLeaderOffset counts the leader's own bytes: those that are on its disk.
func (q *Quorum) recordLeaderOffset() {
	p := q.leader.replicas.find(q.local)
	p.end = q.log.flushed
	if planted == unflushedCounted {
		p.end = q.log.end
	}
	q.advanceHighWatermark()
}

func (q *Quorum) pollLeader() {
	l := q.leader
	if l.checkQuorum <= q.now {
		if q.checkQuorumNeeds() == 0 { // alone, it is the majority
			q.restartCheckQuorum()
			return
		}
		q.note(NoteWarn, "resigning from epoch %d: no majority has fetched for %s", q.election.Epoch, q.checkQuorumTimeout())
		q.becomeResigned(q.successors())
		return
	}
	q.expireVoterChange()
	if q.votedOut() && !l.handover && planted != votedOutLeads {
		q.note(NoteInfo, "not among the committed voters %s: handing over epoch %d", q.voters(), q.election.Epoch)
		q.leave()
	}
	q.pollTransfer()
	if l.handover && (q.successorReady() || l.handoverDeadline <= q.now) {
		q.handOver()
		return
	}
	q.pollReads()
	q.sendBegins()
	q.wakeObserversIfDue()
}

func (q *Quorum) checkQuorumTimeout() time.Duration { return q.cfg.FetchTimeout * 3 / 2 }

// checkQuorumNeeds is how many voters besides this one make a majority with it.
func (q *Quorum) checkQuorumNeeds() int {
	set := q.voters()
	n := set.Majority()
	if set.Contains(q.local) {
		n--
	}
	return n
}

// countForCheckQuorum notes that a voter is alive and follows.
func (q *Quorum) countForCheckQuorum(key ReplicaKey) {
	l := q.leader
	if !l.replicas.set.Contains(key) || key.ID == q.local.ID {
		return
	}
	l.fetched[key.ID] = true
	if len(l.fetched) >= q.checkQuorumNeeds() {
		q.restartCheckQuorum()
	}
}

func (q *Quorum) restartCheckQuorum() {
	l := q.leader
	clear(l.fetched)
	l.checkQuorum = q.now + q.checkQuorumTimeout()
	l.lastMajority = q.now
}

// successors are the other voters, most caught up first, unknown last; ties by id, then directory id.
func (q *Quorum) successors() []ReplicaKey {
	var others []*progress
	for _, v := range q.leader.replicas.set.Voters() {
		if v.Key.ID != q.local.ID {
			others = append(others, q.leader.replicas.voters[v.Key.ID])
		}
	}
	slices.SortStableFunc(others, func(a, b *progress) int {
		if a.end != b.end {
			return int(b.end - a.end)
		}
		return compareKeys(a.key, b.key)
	})
	keys := make([]ReplicaKey, len(others))
	for i, p := range others {
		keys[i] = p.key
	}
	return keys
}

// successorReady reports whether another voter has the whole log on its disk.
func (q *Quorum) successorReady() bool {
	for id, p := range q.leader.replicas.voters {
		if t := q.leader.transfer; t != nil && id != t.to {
			continue
		}
		if id != q.local.ID && p.end >= q.log.end {
			return true
		}
	}
	return false
}
