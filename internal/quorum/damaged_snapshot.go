package quorum

import (
	"fmt"
	"time"
)

// damagedSnapshot is a leader's snapshot that did not arrive whole. It may have been damaged on its way, so it is fetched again; but
// if the leader's own copy is, that would go on for ever, so each time it takes longer. Another leader's copy, or a newer
// snapshot, is fetched at once.
type damagedSnapshot struct {
	leader NodeID
	id     OffsetAndEpoch
	times  int     // in a row
	until  Instant // not begun again before
	askAt  Instant // nothing is asked of that leader before: it would send this log to the snapshot again
}

// damagedBackoffMax bounds the wait for another download of a damaged snapshot.
const damagedBackoffMax = 30 * time.Second

// damagedBackoff doubles from half a fetch timeout, with the upper half of it random.
func (q *Quorum) damagedBackoff(times int) time.Duration {
	d := q.cfg.FetchTimeout / 2
	for range min(times-1, 16) {
		d = min(2*d, damagedBackoffMax)
	}
	return d/2 + time.Duration(q.rng.below(int64(d-d/2)))
}

// downloadDamaged notes a download that came to nothing, and says what can be done.
func (q *Quorum) downloadDamaged(level NoteLevel, leader NodeID, id OffsetAndEpoch, problem string) {
	d := &q.damaged
	if d.leader != leader || d.id != id {
		*d = damagedSnapshot{leader: leader, id: id}
	}
	d.times++
	wait := q.damagedBackoff(d.times)
	d.until = q.now + wait
	text := fmt.Sprintf("snapshot %s from leader %d: %s; fetching it again in %s", id, leader, problem, wait.Round(time.Millisecond))
	if d.times > 2 {
		text += fmt.Sprintf(". That was %d times: the copy on node %d's disk must be damaged. Hand leadership to another voter, which has a copy of its own "+
			"(kraftd quorum transfer), then replace replica %d", d.times, leader, leader)
	}
	q.note(level, "%s", text)
}

// waitsForSnapshot: a leader sends this log to a snapshot that was damaged a short while ago. It is asked again now and then, for it
// may lead no more, or have a newer one.
func (q *Quorum) waitsForSnapshot(id OffsetAndEpoch) bool {
	d := &q.damaged
	if d.leader != q.election.LeaderID || d.id != id || q.now >= d.until || planted == damagedAtOnce {
		return false
	}
	d.askAt = min(d.until, q.now+q.cfg.FetchTimeout/2)
	return true
}

// mayAsk is false while the leader's only answer would be a damaged snapshot.
func (d *damagedSnapshot) mayAsk(leader NodeID, now Instant) bool {
	return d.leader != leader || now >= d.askAt
}
