package quorum

// snapshotRead is a FetchSnapshot whose bytes are being read.
type snapshotRead struct {
	request  Request
	fetch    *FetchSnapshotRequest
	snapshot SnapshotInfo
}

// maxSnapshotChunk bounds what one request can make a leader read. A smaller piece than asked for is a piece all the same:
// the next request begins where it ended.
const maxSnapshotChunk int32 = 8 << 20

// handleFetchSnapshot serves a piece of a complete snapshot to a replica that is behind the log's start (KIP-630).
func (q *Quorum) handleFetchSnapshot(r Request, m *FetchSnapshotRequest) {
	if top := q.checkCluster(m.ClusterID); top != NoError {
		q.reply(r, &FetchSnapshotResponse{Answer: q.answer(r.Listener, top, NoError)})
		return
	}
	fail := func(err ErrorCode) { q.reply(r, &FetchSnapshotResponse{Answer: q.answer(r.Listener, NoError, err)}) }
	if r.BadPartition {
		fail(UnknownTopicOrPartition)
		return
	}
	if err := q.checkLeader(m.Epoch); err != NoError {
		fail(err)
		return
	}
	info, ok := q.log.snapshot(m.ID)
	switch {
	case !ok:
		fail(SnapshotNotFound)
		return
	case m.Position < 0 || m.Position >= info.Size:
		fail(PositionOutOfRange)
		return
	}
	// Whoever fetches a snapshot follows this leader, though its log doesn't grow: without this a leader would resign
	// while a majority catches up (pitfall 28). What the replica has acknowledged stays as it is.
	if planted != downloadNotCounted {
		q.countForCheckQuorum(m.Replica)
	}
	read := snapshotRead{request: r, fetch: m, snapshot: info}
	n := min(m.MaxBytes, maxSnapshotChunk)
	if n <= 0 {
		q.answerSnapshot(read, nil)
		return
	}
	q.readToken++
	q.snapshotReads[q.readToken] = read
	q.out.emit(ReadSnapshot{Token: q.readToken, ID: m.ID, Position: m.Position, MaxBytes: n})
}

// onSnapshotRead answers with the bytes, if this node still leads in the epoch it was asked in. That the snapshot
// was dropped from the log meanwhile does no harm: bytes that were read are its bytes.
func (q *Quorum) onSnapshotRead(ev SnapshotRead) {
	read, ok := q.snapshotReads[ev.Token]
	if !ok {
		return
	}
	delete(q.snapshotReads, ev.Token)
	err := q.checkLeader(read.fetch.Epoch)
	if err == NoError && ev.Missing {
		err = SnapshotNotFound
		if _, listed := q.log.snapshot(read.fetch.ID); listed {
			q.note(NoteError, "snapshot %s is not on disk any more, and nobody asked for that", read.fetch.ID)
		}
	}
	if err != NoError {
		q.reply(read.request, &FetchSnapshotResponse{Answer: q.answer(read.request.Listener, NoError, err)})
		return
	}
	q.answerSnapshot(read, ev.Data)
}

func (q *Quorum) answerSnapshot(read snapshotRead, data []byte) {
	q.reply(read.request, &FetchSnapshotResponse{
		Answer: q.answer(read.request.Listener, NoError, NoError),
		ID:     read.snapshot.ID, Size: read.snapshot.Size, Position: read.fetch.Position, Data: data,
	})
}
