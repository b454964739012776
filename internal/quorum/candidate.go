package quorum

import "math"

// becomeCandidate bumps the epoch and votes for itself, on disk before anyone is asked.
func (q *Quorum) becomeCandidate() {
	if q.election.Epoch == math.MaxInt32 {
		q.note(NoteError, "epoch %d is the last there is: no election is possible", q.election.Epoch)
		q.electionDeadline = q.now + q.electionTimeout()
		q.tally = q.newTally()
		q.tally.needed = math.MaxInt
		return
	}
	q.election = ElectionState{Epoch: q.election.Epoch + 1, LeaderID: None, Voted: q.local}
	q.leaderEndpoints = nil
	q.enter(Candidate)
	q.startCandidacy()
	q.persist(planted != ownVoteNotSynced)
}

func (q *Quorum) startCandidacy() {
	q.electionDeadline = q.now + q.electionTimeout()
	q.tally = q.newTally()
}

// pollCandidate: a lost tally does not end the candidacy, only the asking; the timer does, and leads back to a pre-vote.
func (q *Quorum) pollCandidate() {
	switch {
	case q.tally.won():
		q.becomeLeader()
	case q.electionDeadline <= q.now && q.shutdown == notShuttingDown && planted == loserCampaignsAgain:
		q.becomeCandidate()
	case q.electionDeadline <= q.now && q.shutdown == notShuttingDown:
		q.becomeProspective()
	default:
		q.askForVotes(false)
	}
}
