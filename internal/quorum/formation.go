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
//     so that merely hearing of an epoch does not look like having taken part (persist).
//   - So when a blank voter meets a candidate with records, or any leader, its own part in the formation is lost. It
//     grants nothing (mayGrant), and on learning of a leader it takes a new directory id and observes.
//
// A blank voter can't become unblank by helping a latecomer whose log is still empty: some voter has a record
// and refuses that latecomer its pre-vote, so it never asks for a vote.

// replaceDirectory gives up this disk's identity: it is not the disk that voted.
func (q *Quorum) replaceDirectory(l LeaderAndEpoch) {
	q.note(NoteWarn, "node %d leads epoch %d, but this voter's disk is blank: it was lost and formatted again. "+
		"Taking a new directory id in place of %s, to observe", l.LeaderID, l.Epoch, q.local.DirectoryID)
	q.replacing = true
	q.enter(Unattached)
	q.electionDeadline = Never
	q.out.emit(ReplaceDirectory{})
}

func (q *Quorum) onDirectoryReplaced(id uuid.UUID) {
	if !q.replacing {
		return
	}
	q.replacing, q.blank = false, false
	q.local.DirectoryID = id
	q.cfg.DirectoryID = id
}
