package quorum

import "github.com/kraft-dev/kraft-operator/internal/uuid"

// Formation and amnesia.
//
// Every initial voter starts from the same 0-0 checkpoint, so a disk that is wiped and formatted again looks like a
// voter that never took part. It must not vote: what it promised and acknowledged is forgotten. With FormationSafe
// it is found out without any clock:
//
//   - A log that is empty campaigns only with everybody's pre-votes and wins only with everybody's votes
//     (newTally). So once a first record exists, every initial voter had voted, and had that vote on disk.
//   - A voter is blank while it has neither quorum-state nor log. It keeps quorum-state unwritten until it votes,
//     so that merely hearing of an epoch or a leader does not look like having taken part (persist).
//   - So when a blank voter meets a log that is not empty, its own part in the formation is lost. It grants
//     nothing to a candidate with records (mayGrant), and when a leader shows it records it takes a new directory
//     id and observes.
//
// A blank voter can't become unblank by helping a latecomer whose log is still empty: some voter has a record
// and refuses that latecomer its pre-vote, so it never asks for a vote. It may have asked for pre-votes before there was a record, and ask for
// votes long after (it was stopped meanwhile, or restarts as a candidate): so a blank voter votes only for whom it gave a pre-vote in
// this very life, in the epoch before (blankPromised). And as long as no one has a record, the word
// that somebody leads is not enough to give up an identity: that leader's disk may be the one that was lost, and
// forming again takes all of them.

// blankMeetsRecords gives up this disk's identity, on proof that it is not the disk that voted.
func (q *Quorum) blankMeetsRecords(resp *FetchResponse) bool {
	if len(resp.Batches) == 0 && resp.Snapshot == nil && resp.HighWatermark <= 0 {
		return false
	}
	if planted == blankKeepsName {
		q.blank = false
		return false
	}
	q.note(NoteWarn, "leader %d of epoch %d has records, but this voter's disk is blank: it was lost and formatted again. "+
		"Taking a new directory id in place of %s, to observe", resp.Leader.LeaderID, resp.Leader.Epoch, q.local.DirectoryID)
	q.replacing = true
	q.election.LeaderID, q.leaderEndpoints = None, nil // found again under the new id
	q.enter(Unattached)
	q.electionDeadline = Never
	q.out.emit(ReplaceDirectory{})
	return true
}

// blankPromise remembers a pre-vote that was given.
func (q *Quorum) blankPromise(m *VoteRequest) {
	if q.promised == nil {
		q.promised = map[ReplicaKey]Epoch{}
	}
	q.promised[m.Candidate] = m.Epoch
}

// blankPromised: this vote is asked for on the strength of a pre-vote that this disk gave, not one that stood here before.
func (q *Quorum) blankPromised(m *VoteRequest) bool {
	epoch, ok := q.promised[m.Candidate]
	return ok && epoch == m.Epoch-1
}

func (q *Quorum) onDirectoryReplaced(id uuid.UUID) {
	if !q.replacing {
		return
	}
	q.replacing, q.blank = false, false
	q.local.DirectoryID = id
	q.cfg.DirectoryID = id
}
