package quorum

import "time"

// fetchInProgress is a fetch that waits: parked for news, or for its read.
type fetchInProgress struct {
	request  Request
	fetch    *FetchRequest
	deadline Instant // parked: answer by then
	voter    bool
}

// maxParked bounds what a request may ask to wait.
const maxParked = time.Minute

// observerShare stretches the linger of many parked fetches to so much for each: 1,000 answers a second; maxObserversLinger bounds it.
const (
	observerShare      = time.Millisecond
	maxObserversLinger = 250 * time.Millisecond
)

// handleFetch serves followers and observers. Its offset is the acknowledgement of everything below.
func (q *Quorum) handleFetch(r Request, m *FetchRequest) {
	if top := q.checkRequest(r, m.ClusterID); top != NoError {
		q.reply(r, q.fetchAnswer(r.Listener, top, NoError))
		return
	}
	if m.MaxWait < 0 || m.FetchOffset < 0 || m.LastFetchedEpoch < 0 || m.LastFetchedEpoch > m.Epoch {
		q.reply(r, q.fetchAnswer(r.Listener, NoError, InvalidRequest))
		return
	}
	if planted == countedUnchecked && q.checkLeader(m.Epoch) == NoError {
		q.recordFetch(m)
	}
	f := fetchInProgress{request: r, fetch: m, deadline: q.now + min(m.MaxWait, maxParked)}
	if !q.validateFetch(&f) {
		return
	}
	if m.Replica.ID >= 0 && m.Replica.ID == q.local.ID {
		q.note(NoteError, "a fetch by replica %s, which is this node's own id", m.Replica)
		q.reply(r, q.fetchAnswer(r.Listener, NoError, UnknownServerError))
		return
	}
	q.recordFetch(m)
	f.voter = q.leader.replicas.set.Contains(m.Replica)
	q.serveFetch(f, m.MaxWait == 0)
}

// validateFetch answers a fetch that can't be served: not here, or not from this offset. It runs again whenever
// a fetch wakes and when its read is done, because other events came between.
func (q *Quorum) validateFetch(f *fetchInProgress) bool {
	if err := q.checkLeader(f.fetch.Epoch); err != NoError {
		q.reply(f.request, q.fetchAnswer(f.request.Listener, NoError, err))
		return false
	}
	diverging, snapshot := q.log.checkFetchOffset(f.fetch.FetchOffset, f.fetch.LastFetchedEpoch)
	if diverging == nil && snapshot == nil {
		return true
	}
	resp := q.fetchAnswer(f.request.Listener, NoError, NoError)
	resp.Diverging, resp.Snapshot = diverging, snapshot
	q.reply(f.request, resp)
	return false
}

// recordFetch counts a valid fetch: progress, high watermark, check-quorum. Diverging fetches and redirects to a snapshot
// don't get here (pitfall 18).
func (q *Quorum) recordFetch(m *FetchRequest) {
	if m.Replica.ID < 0 {
		return
	}
	p := q.leader.replicas.find(m.Replica)
	if m.FetchOffset < p.end {
		q.note(NoteWarn, "replica %s fetches from %d, it had %d before", m.Replica, m.FetchOffset, p.end)
	}
	p.fetch(q.now, m.FetchOffset, q.log.end)
	q.countForCheckQuorum(m.Replica)
	if planted == readByFetch && q.leader.reads.acked != nil {
		q.leader.reads.acked[m.Replica.ID] = q.leader.reads.round
		q.completeReads()
	}
	delete(q.leader.begin, m.Replica.ID)
	q.advanceHighWatermark()
}

// serveFetch reads, answers or parks a fetch that is valid now.
func (q *Quorum) serveFetch(f fetchInProgress, atOnce bool) {
	switch {
	case !atOnce && q.waitsForRound(&f):
		q.leader.observersDue = true
		q.park(f)
	case f.fetch.FetchOffset < q.log.end:
		q.readToken++
		q.reads[q.readToken] = f
		q.out.emit(Read{Token: q.readToken, From: f.fetch.FetchOffset, MaxBytes: max(f.fetch.MaxBytes, 0)})
	case atOnce || q.hw > f.fetch.HighWatermark:
		q.reply(f.request, q.fetchAnswer(f.request.Listener, NoError, NoError))
	default:
		q.park(f)
	}
}

// waitsForRound: an observer that has all that the last round of answers to observers brought waits for the next round, though there are
// records for it. Else it would come back for each few of them under load. A voter that has every record waits for it, too, though the high
// watermark has moved on: of two followers the slower one's fetch comes just after the other's has committed the record that both have, and
// an answer of its own would double what a record costs. The next record brings both. One that knows of no high watermark yet is told.
func (q *Quorum) waitsForRound(f *fetchInProgress) bool {
	l := q.leader
	if q.now >= l.observersNext || f.fetch.FetchOffset < l.observersAt {
		return false
	}
	if f.voter {
		return f.fetch.FetchOffset >= q.log.end && f.fetch.HighWatermark >= 0 && q.hasNews(f)
	}
	return q.hasNews(f)
}

func (q *Quorum) park(f fetchInProgress) {
	q.parked = append(q.parked, f)
	q.parkedUntil = min(q.parkedUntil, f.deadline)
}

// onReadDone answers a fetch with its records, if it may still be answered so.
func (q *Quorum) onReadDone(ev ReadDone) {
	f, ok := q.reads[ev.Token]
	if !ok {
		return
	}
	delete(q.reads, ev.Token)
	if planted != readUnchecked && !q.validateFetch(&f) {
		return
	}
	resp := q.fetchAnswer(f.request.Listener, NoError, NoError)
	resp.Data = ev.Data
	q.replyTo(f.request, resp, f.voter)
}

func (q *Quorum) fetchAnswer(listener string, top, err ErrorCode) *FetchResponse {
	resp := &FetchResponse{Answer: q.answer(listener, top, err), HighWatermark: UnknownOffset, LogStartOffset: UnknownOffset}
	if top == NoError && err == NoError {
		resp.HighWatermark, resp.LogStartOffset = q.hw, q.log.start
	}
	return resp
}

// wake takes out of the parked fetches those that match, and serves them anew. It runs for every record that is appended, over
// a hundred observers that mostly stay where they are: nothing is copied before the first that matches.
func (q *Quorum) wake(match func(*fetchInProgress) bool) {
	var woken []fetchInProgress
	kept := 0
	for i := range q.parked {
		if match(&q.parked[i]) {
			woken = append(woken, q.parked[i])
			continue
		}
		if kept < i {
			q.parked[kept] = q.parked[i]
		}
		kept++
	}
	clear(q.parked[kept:])
	q.parked = q.parked[:kept]
	for _, f := range woken {
		if planted == parkedUnchecked || q.validateFetch(&f) {
			q.serveFetch(f, true)
		}
	}
}

// hasNews reports whether a parked fetch would get something: records, or a high watermark it does not know (KIP-1166).
func (q *Quorum) hasNews(f *fetchInProgress) bool {
	return f.fetch.FetchOffset < q.log.end || q.hw > f.fetch.HighWatermark
}

// wakeForNews answers voters at once when there are records for them, for they commit. Observers, and voters for whom there is only a
// higher high watermark, are answered at once after a quiet spell, else at most once per linger: so a hundred observers cost little, and
// a commit costs one exchange with each voter, whose next records bring the high watermark.
func (q *Quorum) wakeForNews() {
	if len(q.parked) == 0 {
		return
	}
	q.wake(func(f *fetchInProgress) bool { return f.voter && f.fetch.FetchOffset < q.log.end })
	q.leader.observersDue = true
	q.wakeObserversIfDue()
}

// After a quiet spell two rounds may follow each other: one brings the record, the next that it is committed.
//
// A linger is stretched where there are many of them, so that they cost the leader no more than so many answers a second: it is the same
// for a hundred brokers and for a thousand, and they hear the news a little later.
func (q *Quorum) wakeObserversIfDue() {
	l := q.leader
	if !l.observersDue || q.now < l.observersNext {
		return
	}
	l.observersDue = false
	l.observersAt = q.log.end
	before := len(q.parked)
	q.wake(q.hasNews)
	if woken := before - len(q.parked); woken > 0 {
		linger := max(q.cfg.AppendLinger, min(time.Duration(woken)*observerShare, maxObserversLinger))
		l.observersNext = max(l.observersNext, q.now-linger) + linger
	}
}

// expireParked answers fetches whose wait is over, with what is true now.
func (q *Quorum) expireParked() {
	if q.now < q.parkedUntil {
		return
	}
	q.wake(func(f *fetchInProgress) bool { return f.deadline <= q.now })
	q.parkedUntil = Never
	for i := range q.parked {
		q.parkedUntil = min(q.parkedUntil, q.parked[i].deadline)
	}
}

// failParked answers all parked fetches once their server is a follower. Until then, after a resignation, they stay parked:
// so their senders hear of the successor, with its address, at once.
func (q *Quorum) failParked() {
	q.wake(func(*fetchInProgress) bool { return true })
}

// releaseFetch answers what a replica has parked here, now that it asks for votes. It has forgotten that fetch, and its answer would hold up
// the vote's: answers leave a connection in the order of their requests. A successor would be without the vote of the leader that has just
// made way for it, for as long as a fetch may wait.
func (q *Quorum) releaseFetch(of NodeID) {
	q.wake(func(f *fetchInProgress) bool { return f.fetch.Replica.ID == of })
}
