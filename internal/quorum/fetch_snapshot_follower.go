package quorum

import "fmt"

// download is a snapshot on its way from the leader. It ends with the role it began in, unless it is being installed:
// that can't be taken back, so the node waits for it and meanwhile only votes.
type download struct {
	id       OffsetAndEpoch
	from     NodeID
	size     int64 // as the first answer said; 0 before
	position int64 // bytes written
	token    uint64
}

// installing reports that the log is about to be replaced. Until it is, nothing touches the log and no election is begun:
// a leader would append to a log that goes away. Votes are given by the log as it is, which is all that
// this node ever acknowledged.
func (q *Quorum) installing() bool { return q.download != nil && q.download.token != 0 }

// redirected begins to fetch a snapshot, because this log is no prefix of what the leader still has. A leader redirects only
// a log that ends before the snapshot, or in another history, and never one that has committed more.
func (q *Quorum) redirected(id OffsetAndEpoch) bool {
	switch {
	case q.download != nil:
		return true // found by asking around that the leader lives; the download goes on
	case id.Offset <= 0 || id.Offset > maxOffset || id.Epoch < 0 || id.Epoch > q.election.Epoch:
		q.note(NoteError, "leader %d of epoch %d says to fetch snapshot %s: there is no such id", q.election.LeaderID, q.election.Epoch, id)
		return false
	case id.Offset < q.committedFloor():
		q.note(NoteError, "leader %d of epoch %d says to fetch snapshot %s, below the high watermark %d: refused",
			q.election.LeaderID, q.election.Epoch, id, q.committedFloor())
		return false
	case !aheadOf(id, q.log.end, q.log.lastEpoch()):
		q.note(NoteError, "leader %d of epoch %d says to fetch snapshot %s, which this log of %d, epoch %d, contains: refused",
			q.election.LeaderID, q.election.Epoch, id, q.log.end, q.log.lastEpoch())
		return false
	}
	if q.waitsForSnapshot(id) {
		return true
	}
	q.note(NoteInfo, "fetching snapshot %s from leader %d: the log ends at %d, epoch %d", id, q.election.LeaderID, q.log.end, q.log.lastEpoch())
	q.download = &download{id: id, from: q.election.LeaderID}
	return true
}

// pollDownload asks the leader for the next piece, when it is ready. False: it is time to ask around first whether it still
// leads.
func (q *Quorum) pollDownload() bool {
	to, ok := q.leaderNode()
	if !ok || q.follower.askAround {
		return false
	}
	if q.conns.ready(to.ID) {
		q.send(to, &FetchSnapshotRequest{
			ClusterID: q.clusterID(), Replica: q.local, Epoch: q.election.Epoch,
			ID: q.download.id, Position: q.download.position, MaxBytes: q.cfg.FetchSnapshotMaxBytes,
		})
	}
	return true
}

// handleFetchSnapshotResponse takes a piece. A snapshot that the leader has cleaned away meanwhile is nothing bad: the next
// fetch will name another.
func (q *Quorum) handleFetchSnapshotResponse(req *FetchSnapshotRequest, resp *FetchSnapshotResponse) bool {
	d := q.download
	if q.role != Follower || resp.Leader != (LeaderAndEpoch{q.election.LeaderID, q.election.Epoch}) ||
		d == nil || d.token != 0 || req.ID != d.id || req.Position != d.position {
		return false
	}
	if resp.Error != NoError || resp.ID.Offset < 0 || resp.ID.Epoch < 0 {
		q.note(NoteInfo, "leader %d does not have snapshot %s (%s): going back to its log", q.election.LeaderID, d.id, resp.Error)
		q.abandonDownload()
		q.leaderServed()
		return false
	}
	if problem := d.check(req, resp); problem != "" {
		q.downloadDamaged(NoteError, q.election.LeaderID, d.id, fmt.Sprintf("asked from byte %d, %s", d.position, problem))
		q.abandonDownload()
		return false
	}
	q.out.emit(WriteSnapshot{ID: d.id, Position: d.position, Data: resp.Data})
	d.size = resp.Size
	d.position += int64(len(resp.Data))
	q.leaderServed()
	if d.position == d.size {
		q.installToken++
		d.token = q.installToken
		q.note(NoteInfo, "installing snapshot %s of %d bytes", d.id, d.size)
		q.out.emit(InstallSnapshot{Token: d.token, ID: d.id, Size: d.size})
	}
	return true
}

// check compares a piece with what was asked for, and says what is wrong with it.
func (d *download) check(req *FetchSnapshotRequest, resp *FetchSnapshotResponse) string {
	n := int64(len(resp.Data))
	switch {
	case resp.ID != d.id:
		return fmt.Sprintf("it sends snapshot %s", resp.ID)
	case resp.Position != d.position:
		return fmt.Sprintf("it sends bytes from %d", resp.Position)
	case resp.Size <= 0 || d.size != 0 && resp.Size != d.size:
		return fmt.Sprintf("its size is %d, it was %d", resp.Size, d.size)
	case n == 0 || n > int64(req.MaxBytes) || n > resp.Size-d.position:
		return fmt.Sprintf("it sends %d bytes of at most %d, the whole has %d", n, req.MaxBytes, resp.Size)
	}
	return ""
}

// abandonDownload drops what was fetched so far, unless it is being installed.
func (q *Quorum) abandonDownload() {
	if q.download == nil || q.installing() {
		return
	}
	if q.download.position > 0 {
		q.out.emit(AbandonSnapshot{ID: q.download.id})
	}
	q.download = nil
}

// onSnapshotInstalled goes on from the snapshot, whoever leads now. Everything in it was committed, so its end is the high
// watermark. A damaged one leaves all as it was, to be fetched again after a while.
func (q *Quorum) onSnapshotInstalled(ev SnapshotInstalled) {
	if !q.installing() || ev.Token != q.download.token {
		return
	}
	id, from := q.download.id, q.download.from
	q.download = nil
	if q.role == Follower && !q.follower.leaderResigned {
		q.follower.fetchDeadline = q.now + q.cfg.FetchTimeout // this disk took the time, not the leader
	}
	if !ev.OK {
		q.downloadDamaged(NoteWarn, from, id, "it is damaged")
		return
	}
	q.damaged = damagedSnapshot{leader: None}
	q.log.restartAt(SnapshotInfo{ID: id, Size: ev.Size})
	if planted != installKeepsVoters {
		q.history = newHistory(q.cfg.StaticVoters, ev.Control)
	}
	q.hw = id.Offset
	q.note(NoteInfo, "the log begins at snapshot %s", id)
	q.commit(id.Offset)
}
