package quorum_test

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/kraft-dev/kraft-operator/internal/quorum"
)

func electionString(s quorum.ElectionState) string {
	out := fmt.Sprintf("epoch %d", s.Epoch)
	if s.LeaderID >= 0 {
		out += fmt.Sprintf(", leader %d", s.LeaderID)
	}
	if s.Voted.Known() {
		out += fmt.Sprintf(", voted %d", s.Voted.ID)
	}
	return out
}

func controlString(records []quorum.ControlRecord) string {
	var kinds []string
	for _, r := range records {
		switch {
		case r.LeaderChange != nil:
			kinds = append(kinds, fmt.Sprintf("LeaderChange of %d, granted by %v", r.LeaderChange.LeaderID, r.LeaderChange.GrantingVoters))
		case r.KRaftVersion != nil:
			kinds = append(kinds, fmt.Sprintf("KRaftVersion %d", *r.KRaftVersion))
		case r.Voters != nil:
			kinds = append(kinds, "KRaftVoters "+votersString(*r.Voters))
		}
	}
	if kinds == nil {
		return ""
	}
	return ": " + strings.Join(kinds, ", ")
}

// votersString names voters by id; one on its second disk has a mark.
func votersString(s quorum.VoterSet) string {
	var names []string
	for _, v := range s.Voters() {
		names = append(names, keyString(v.Key))
	}
	return fmt.Sprint(names)
}

func keyString(k quorum.ReplicaKey) string {
	if k.DirectoryID.IsZero() {
		return fmt.Sprint(k.ID)
	}
	return fmt.Sprint(k.ID) + strings.Repeat("'", int(k.DirectoryID[1])-1)
}

func refusalString(code quorum.ErrorCode, text string) string {
	if text == "" {
		return code.String()
	}
	return fmt.Sprintf("%s: %s", code, directoryIDs.ReplaceAllString(text, ""))
}

// directoryIDs are of no interest in a story.
var directoryIDs = regexp.MustCompile("@[-_A-Za-z0-9]{22}")

func (e *env) printChange(n *scriptNode, before, after quorum.Status) {
	if before.Role != after.Role || before.Epoch != after.Epoch || before.LeaderID != after.LeaderID || before.Voter != after.Voter {
		e.printf("  %d  is %s", n.id, roleString(after))
	}
}

func roleString(s quorum.Status) string {
	out := fmt.Sprintf("%s in epoch %d", s.Role, s.Epoch)
	if s.Role == quorum.Follower {
		out = fmt.Sprintf("follower of %d in epoch %d", s.LeaderID, s.Epoch)
	}
	if !s.Voter {
		out += ", observing"
	}
	return out
}

func (e *env) state(id int) string {
	n := e.nodes[id]
	if !n.up {
		return fmt.Sprintf("%d  down", id)
	}
	s := n.q.Status()
	hw := "unknown"
	if s.HighWatermark >= 0 {
		hw = fmt.Sprint(s.HighWatermark)
	}
	start := ""
	if s.LogStartOffset > 0 {
		start = fmt.Sprintf("log start %d, ", s.LogStartOffset)
	}
	return fmt.Sprintf("%d  %-32s %slog end %d, flushed %d, high watermark %s", id, roleString(s), start, s.LogEndOffset, s.Flushed, hw)
}

func answerString(a *quorum.Answer) string {
	if a.TopError != quorum.NoError {
		return a.TopError.String()
	}
	leader := fmt.Sprintf("epoch %d", a.Leader.Epoch)
	if a.Leader.LeaderID >= 0 {
		leader = fmt.Sprintf("leader %d at %s, epoch %d", a.Leader.LeaderID, a.Endpoint.Host, a.Leader.Epoch)
	}
	if a.Error != quorum.NoError {
		return fmt.Sprintf("%s (%s)", a.Error, leader)
	}
	return "ok (" + leader + ")"
}

func (e *env) messageString(m quorum.Message) string {
	switch m := m.(type) {
	case *quorum.VoteRequest:
		kind := "Vote"
		if m.PreVote {
			kind = "Vote, pre"
		}
		return fmt.Sprintf("%s: candidate %d, epoch %d, log ends at %d with epoch %d", kind, m.Candidate.ID, m.Epoch, m.LastOffset, m.LastOffsetEpoch)
	case *quorum.VoteResponse:
		if m.TopError != quorum.NoError || m.Error != quorum.NoError {
			return "Vote answer: " + answerString(&m.Answer)
		}
		return fmt.Sprintf("Vote answer: granted %v, %s", m.Granted, answerString(&m.Answer))
	case *quorum.BeginQuorumEpochRequest:
		return fmt.Sprintf("BeginQuorumEpoch: leader %d, epoch %d", m.Leader.LeaderID, m.Leader.Epoch)
	case *quorum.BeginQuorumEpochResponse:
		return "BeginQuorumEpoch answer: " + answerString(&m.Answer)
	case *quorum.EndQuorumEpochRequest:
		var ids []quorum.NodeID
		for _, k := range m.Successors {
			ids = append(ids, k.ID)
		}
		return fmt.Sprintf("EndQuorumEpoch: leader %d, epoch %d, successors %v", m.Leader.LeaderID, m.Leader.Epoch, ids)
	case *quorum.EndQuorumEpochResponse:
		return "EndQuorumEpoch answer: " + answerString(&m.Answer)
	case *quorum.FetchRequest:
		return fmt.Sprintf("Fetch: replica %d, epoch %d, from %d after epoch %d, high watermark %d", m.Replica.ID, m.Epoch, m.FetchOffset, m.LastFetchedEpoch, m.HighWatermark)
	case *quorum.FetchResponse:
		return e.fetchString(m)
	case *quorum.FetchSnapshotRequest:
		return fmt.Sprintf("FetchSnapshot: replica %d, epoch %d, snapshot %s from byte %d", m.Replica.ID, m.Epoch, m.ID, m.Position)
	case *quorum.FetchSnapshotResponse:
		out := "FetchSnapshot answer: " + answerString(&m.Answer)
		if m.TopError != quorum.NoError || m.Error != quorum.NoError {
			return out
		}
		return out + fmt.Sprintf(", snapshot %s, bytes %d to %d of %d", m.ID, m.Position, m.Position+int64(len(m.Data))-1, m.Size)
	case *quorum.DescribeQuorumResponse:
		return describeString(m)
	case *quorum.AddVoterRequest:
		return fmt.Sprintf("AddRaftVoter: %s, acknowledged when committed %v", keyString(m.Voter), m.AckWhenCommitted)
	case *quorum.AddVoterResponse:
		return "AddRaftVoter answer: " + refusalString(m.Error, m.Text)
	case *quorum.RemoveVoterRequest:
		return "RemoveRaftVoter: " + keyString(m.Voter)
	case *quorum.RemoveVoterResponse:
		return "RemoveRaftVoter answer: " + refusalString(m.Error, m.Text)
	case *quorum.TransferResponse:
		return "transfer answer: " + refusalString(m.Error, m.Text)
	case *quorum.ApiVersionsRequest:
		return "ApiVersions"
	case *quorum.ApiVersionsResponse:
		if m.KRaftVersion == nil {
			return "ApiVersions answer: no kraft.version"
		}
		return fmt.Sprintf("ApiVersions answer: kraft.version %d to %d", m.KRaftVersion.Min, m.KRaftVersion.Max)
	case *quorum.UpdateVoterRequest:
		return fmt.Sprintf("UpdateRaftVoter: %s at %s, kraft.version %d to %d, epoch %d", keyString(m.Voter.Key), m.Voter.Endpoints[0].Host,
			m.Voter.Supported.Min, m.Voter.Supported.Max, m.Epoch)
	case *quorum.UpdateVoterResponse:
		return "UpdateRaftVoter answer: " + answerString(&m.Answer)
	}
	return fmt.Sprintf("%T", m)
}

func (e *env) fetchString(m *quorum.FetchResponse) string {
	out := "Fetch answer: " + answerString(&m.Answer)
	if m.Error != quorum.NoError || m.TopError != quorum.NoError {
		return out
	}
	parsed := e.parse(m).(*quorum.FetchResponse)
	if k := len(parsed.Batches); k > 0 {
		out += fmt.Sprintf(", records %d to %d", parsed.Batches[0].Base, parsed.Batches[k-1].Last)
	}
	if m.Diverging != nil {
		out += fmt.Sprintf(", diverging at %d of epoch %d", m.Diverging.Offset, m.Diverging.Epoch)
	}
	if m.Snapshot != nil {
		out += fmt.Sprintf(", snapshot %d-%d", m.Snapshot.Offset, m.Snapshot.Epoch)
	}
	return out + fmt.Sprintf(", high watermark %d", m.HighWatermark)
}

func describeString(m *quorum.DescribeQuorumResponse) string {
	out := "DescribeQuorum answer: " + answerString(&m.Answer)
	if m.Error != quorum.NoError {
		return out
	}
	out += fmt.Sprintf(", high watermark %d", m.HighWatermark)
	line := func(kind string, r quorum.ReplicaState) {
		out += fmt.Sprintf("\n  %s %s: log end %d, fetched %s ago, caught up %s ago", kind, keyString(r.Key), r.LogEndOffset, age(r.LastFetch), age(r.LastCaughtUp))
	}
	for _, r := range m.Voters {
		line("voter", r)
	}
	for _, r := range m.Observers {
		line("observer", r)
	}
	return out
}

func age(d interface{ Milliseconds() int64 }) string {
	if d == quorum.UnknownAge {
		return "never"
	}
	return fmt.Sprintf("%dms", d.Milliseconds())
}
