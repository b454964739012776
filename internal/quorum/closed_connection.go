package quorum

import "time"

// A closed connection is a hint. A process that died leaves closed sockets, which says more than silence: no need to
// wait for the fetch timeout. But one closed connection may be a hiccup, so the redial must be refused as well; and it may be
// this node's own trouble, so a pre-vote decides, which others grant only if they were refused themselves. A round that is
// lost restores the follower as it was: its old deadline and its memory.

const (
	refusalsThatCount = 2                     // the connection that broke, and the redial
	earlySpread       = 95 * time.Millisecond // over the voters, by rank
	earlyAtLeast      = 5 * time.Millisecond
	earlyAgain        = 50 * time.Millisecond // and up to twice that
)

// leaderRefused notes a connection to the leader that was refused or reset.
func (q *Quorum) leaderRefused() {
	f := &q.follower
	f.refusals++
	if f.refusals >= refusalsThatCount && f.earlyAt == 0 {
		f.earlyAt = q.now + q.earlyJitter()
	}
}

// leaderGone reports whether this follower has seen for itself that nobody listens where the leader was.
func (f *followerState) leaderGone() bool { return f.refusals >= refusalsThatCount }

// leaderAnswered forgets all hints.
func (f *followerState) leaderAnswered() { f.refusals, f.earlyAt = 0, 0 }

// yieldEarly gives way to another whose early pre-vote was granted: two at once would split the vote.
func (f *followerState) yieldEarly(q *Quorum) {
	if f.earlyAt > 0 {
		f.earlyAt = q.now + q.earlyRetry()
	}
}

func (q *Quorum) earlyRetry() time.Duration {
	return earlyAgain + time.Duration(q.rng.below(int64(earlyAgain)))
}

// earlyJitter keeps voters apart: each rank has a window of its own, and leaves half of it empty.
func (q *Quorum) earlyJitter() time.Duration {
	voters := q.voters()
	window := int64(earlySpread) / int64(max(voters.Len(), 1))
	rank := int64(0)
	for i, id := range voters.IDs() {
		if id == q.local.ID {
			rank = int64(i)
		}
	}
	return earlyAtLeast + time.Duration(rank*window+q.rng.below(window/2))
}

// campaignEarly asks for pre-votes before the fetch timeout: a short round, over by then at the latest. A voter whose port
// is closed counts as a refusal, or the dead leader's missing answer would keep a lost round open.
func (q *Quorum) campaignEarly() {
	before := q.follower
	q.becomeProspective()
	q.early = &before
	q.electionDeadline = min(q.now+q.cfg.ElectionTimeout/4, before.fetchDeadline)
}

// resumeFollowing goes back after a lost early round; false if this was no early round.
func (q *Quorum) resumeFollowing() bool {
	early := q.early
	if early == nil {
		return false
	}
	q.enter(Follower)
	q.follower = *early
	if planted == earlyRoundForgets {
		q.follower.fetchDeadline = q.now + q.cfg.FetchTimeout
	}
	q.follower.earlyAt = q.now + q.earlyRetry()
	return true
}
