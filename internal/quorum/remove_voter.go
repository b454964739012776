package quorum

import "fmt"

// handleRemoveVoter removes a voter by its exact key. The leader may remove itself: it leads on, without counting itself,
// until that is committed, and then resigns (pollLeader).
func (q *Quorum) handleRemoveVoter(r Request, m *RemoveVoterRequest) {
	set, refused := q.removeVoterRefused(m)
	if refused.code != NoError {
		q.reply(r, &RemoveVoterResponse{Error: refused.code, Text: refused.text})
		return
	}
	q.leader.change = &voterChange{
		request: r, remove: true, voter: Voter{Key: m.Voter}, ackWhenCommitted: true,
		offset: UnknownOffset, deadline: q.now + q.cfg.RequestTimeout,
	}
	q.note(NoteInfo, "removing voter %s from %s", m.Voter, q.voters())
	q.proposeVoters(set)
}

func (q *Quorum) removeVoterRefused(m *RemoveVoterRequest) (set VoterSet, r refusal) {
	if r = q.checkChange(m.ClusterID); r.code != NoError {
		return set, r
	}
	if m.Voter.ID < 0 || m.Voter.DirectoryID.IsZero() {
		return set, refusal{InvalidRequest, fmt.Sprintf("voter %s: a node id and a directory id are needed", m.Voter)}
	}
	if r = q.changeRefused(); r.code != NoError {
		return set, r
	}
	voters := q.voters()
	v, ok := voters.ByID(m.Voter.ID)
	switch {
	case !ok || v.Key != m.Voter:
		return set, refusal{VoterNotFound, fmt.Sprintf("%s is not among the voters %s", m.Voter, voters)}
	case voters.Len() < 2:
		return set, refusal{VoterNotFound, fmt.Sprintf("%s is the only voter", m.Voter)}
	}
	return voters.Without(m.Voter), refusal{}
}
