package quorum

import "fmt"

// pollFetch sends the next fetch: one at a time over all destinations, and only once everything it acknowledges is on
// disk (a replica that can never vote need not wait).
func (q *Quorum) pollFetch() {
	if q.role == Follower && !q.damaged.mayAsk(q.election.LeaderID, q.now) {
		return
	}
	if q.conns.fetching() || q.download != nil && q.pollDownload() || q.mustFlush() && q.log.flushed < q.log.end && planted != fetchBeforeFlush {
		return
	}
	to, ok := q.fetchTarget()
	if !ok {
		return
	}
	q.send(to, &FetchRequest{
		ClusterID: q.clusterID(), Replica: q.local, Epoch: q.election.Epoch,
		FetchOffset: q.log.end, LastFetchedEpoch: q.log.lastEpoch(),
		MaxWait: q.cfg.FetchMaxWait, MaxBytes: q.cfg.FetchMaxBytes, HighWatermark: q.hw,
	})
}

// fetchTarget is the leader; a bootstrap server while the leader is unknown, backing off, or did not answer in time.
func (q *Quorum) fetchTarget() (Node, bool) {
	if q.role != Follower {
		return q.readyBootstrap()
	}
	leader, ok := q.leaderNode()
	if ok && !q.follower.askAround && q.conns.ready(leader.ID) {
		q.follower.askedAround = false
		return leader, true
	}
	q.follower.askAround, q.follower.askedAround = false, true
	return q.readyBootstrap()
}

// leaderNode is where the leader that is followed is reached.
func (q *Quorum) leaderNode() (Node, bool) {
	e, ok := findEndpoint(q.leaderEndpoints, q.cfg.Listener)
	to, ok := q.routed(Node{ID: q.election.LeaderID, Host: e.Host, Port: e.Port}, ok)
	return to, ok && q.role == Follower
}

// onFetchTimeout: a leader that does not answer may have been replaced; a bootstrap server may know.
func (q *Quorum) onFetchTimeout(to Node) {
	if q.role == Follower && to.ID == q.election.LeaderID {
		q.follower.askAround = true
	}
}

// handleFetchResponse takes a leader's answer without error: cut, fetch a snapshot, or append.
func (q *Quorum) handleFetchResponse(req *FetchRequest, resp *FetchResponse) bool {
	if q.role != Follower || resp.Leader != (LeaderAndEpoch{q.election.LeaderID, q.election.Epoch}) {
		return false // success from one who does not lead
	}
	if req.FetchOffset != q.log.end {
		return false // cannot happen: one fetch at a time, and only fetches move a follower's log
	}
	if q.blank {
		return q.blankMeetsRecords(resp)
	}
	var ok bool
	switch {
	case resp.Diverging != nil && resp.Diverging.Epoch >= 0:
		q.abandonDownload()
		ok = q.truncate(*resp.Diverging)
	case resp.Snapshot != nil && (resp.Snapshot.Epoch >= 0 || resp.Snapshot.Offset >= 0):
		ok = q.redirected(*resp.Snapshot)
	default:
		q.abandonDownload() // the leader serves this log after all
		ok = q.appendFetched(resp)
	}
	if !ok {
		return false
	}
	q.leaderServed()
	q.leaderIsAt(resp.Leader, q.endpointIn(&resp.Answer))
	return true
}

// leaderServed: the leader answered a fetch of records or of a snapshot with success. Nothing else proves that it lives.
func (q *Quorum) leaderServed() {
	q.follower.fetchDeadline = q.now + q.cfg.FetchTimeout
	q.follower.lastFetch = q.now
	q.follower.hasFetched = true
	q.follower.leaderAnswered()
	q.follower.unreached = false
}

// truncate cuts what this log has and the leader's has not. Never anything committed: then one of the two has broken
// the protocol, and this one keeps its bytes.
func (q *Quorum) truncate(d OffsetAndEpoch) bool {
	to := q.log.truncationOffset(d)
	switch {
	case d.Offset < 0 || to >= q.log.end:
		q.note(NoteError, "leader %d says the log diverges at epoch %d, offset %d, but it ends at %d: nothing to cut",
			q.election.LeaderID, d.Epoch, d.Offset, q.log.end)
		return false
	case to < q.committedFloor() || to < q.log.start:
		q.note(NoteError, "leader %d of epoch %d wants the log cut at %d, below the high watermark %d: refused",
			q.election.LeaderID, q.election.Epoch, to, q.committedFloor())
		return false
	}
	q.note(NoteInfo, "cutting the log from %d to %d, where it diverges from leader %d", q.log.end, to, q.election.LeaderID)
	q.log.truncate(to)
	q.history.truncate(to)
	q.out.emit(Truncate{To: to})
	return true
}

// appendFetched appends what continues the log, and learns the high watermark. Batches of an epoch above this node's
// are dropped with all that follow: the leader was being replaced while it read (pitfall 25).
func (q *Quorum) appendFetched(resp *FetchResponse) bool {
	if resp.Corrupt {
		q.note(NoteWarn, "records from leader %d are damaged: dropped, to be fetched again", resp.Leader.LeaderID)
	}
	batches := resp.Batches
	for i, b := range batches {
		if b.Epoch > q.election.Epoch {
			batches = batches[:i]
			break
		}
	}
	if len(batches) > 0 {
		size := sizeOf(batches)
		if n := q.contiguous(batches, q.election.Epoch); n < len(batches) || size > len(resp.Data) {
			q.note(NoteError, "records from leader %d do not continue the log at offset %d, epoch %d: %s",
				resp.Leader.LeaderID, q.log.end, q.log.lastEpoch(), describe(batches))
			return false
		}
		q.appendBatches(batches, resp.Data[:size:size])
		if q.mustFlush() {
			q.flush()
		}
	}
	q.learnHighWatermark(resp.HighWatermark)
	return true
}

// learnHighWatermark takes the leader's word, as far as this log reaches. -1 says nothing, less than before is a bug.
func (q *Quorum) learnHighWatermark(hw Offset) {
	if planted == highWatermarkForgotten && hw < 0 {
		q.hw = hw
	}
	if planted != highWatermarkBeyondEnd {
		hw = min(hw, q.log.end)
	}
	switch {
	case hw < 0 || hw == q.hw:
	case hw < q.hw:
		q.note(NoteDebug, "leader %d says the high watermark is %d, it was %d already", q.election.LeaderID, hw, q.hw)
	default:
		q.hw = hw
		q.commit(hw)
	}
}

func describe(batches []BatchInfo) string {
	s := ""
	for i, b := range batches {
		if i == 3 {
			return fmt.Sprintf("%s … (%d batches)", s, len(batches))
		}
		s += fmt.Sprintf("[%d-%d epoch %d] ", b.Base, b.Last, b.Epoch)
	}
	return s
}
