package sim

import (
	"fmt"
	"strings"

	"github.com/kraft-dev/kraft-operator/internal/quorum"
)

func (w *world) traceStep(n *node, ev quorum.Event, before quorum.Status, fx quorum.Effects) {
	after := n.q.Status()
	w.tracef("n%d %s", n.id, describeEvent(ev))
	if before.Role != after.Role || before.Epoch != after.Epoch || before.LeaderID != after.LeaderID ||
		before.HighWatermark != after.HighWatermark || before.LogEndOffset != after.LogEndOffset {
		w.tracef("   = %s epoch %d leader %d hw %d end %d flushed %d", after.Role, after.Epoch, after.LeaderID,
			after.HighWatermark, after.LogEndOffset, after.Flushed)
	}
	for _, e := range fx {
		w.tracef("   > %s", describeEffect(e))
	}
}

func describeEvent(ev quorum.Event) string {
	switch ev := ev.(type) {
	case quorum.Request:
		return fmt.Sprintf("request #%d %s", ev.ReplyTo, describeMessage(ev.Message))
	case quorum.Response:
		return fmt.Sprintf("response ~%d %s", ev.Correlation, describeMessage(ev.Message))
	}
	return describeProposal(ev)
}

func describeEffect(e quorum.Effect) string {
	switch e := e.(type) {
	case quorum.Note:
		return "note: " + e.Text
	case quorum.Send:
		return fmt.Sprintf("send ~%d to %s(%d) %s", e.Correlation, e.To.Host, e.To.ID, describeMessage(e.Message))
	case quorum.Reply:
		return fmt.Sprintf("reply #%d %s", e.ReplyTo, describeMessage(e.Message))
	case quorum.WriteSnapshot:
		return fmt.Sprintf("write %d bytes of snapshot %s from %d", len(e.Data), e.ID, e.Position)
	case quorum.ProposeControl:
		return fmt.Sprintf("propose %s in epoch %d", describeControl(e.Records), e.Epoch)
	case quorum.Append:
		return fmt.Sprintf("append [%d,%d) epoch %d", e.Base, e.End, e.Epoch)
	}
	return fmt.Sprintf("%T%+v", e, e)
}

func describeControl(records []quorum.ControlRecord) string {
	var parts []string
	for _, r := range records {
		switch {
		case r.LeaderChange != nil:
			parts = append(parts, fmt.Sprintf("leader %d", r.LeaderChange.LeaderID))
		case r.KRaftVersion != nil:
			parts = append(parts, fmt.Sprintf("kraft.version %d", *r.KRaftVersion))
		case r.Voters != nil:
			parts = append(parts, fmt.Sprintf("voters %s", r.Voters))
		}
	}
	return strings.Join(parts, ", ")
}

func describeMessage(m quorum.Message) string {
	switch m := m.(type) {
	case *quorum.FetchResponse:
		s := fmt.Sprintf("FetchResponse %s/%s leader %+v hw %d bytes %d", m.TopError, m.Error, m.Leader, m.HighWatermark, len(m.Data))
		if m.Diverging != nil {
			s += fmt.Sprintf(" diverging %+v", *m.Diverging)
		}
		if m.Snapshot != nil {
			s += fmt.Sprintf(" snapshot %s", *m.Snapshot)
		}
		return s
	case *quorum.FetchSnapshotRequest:
		return fmt.Sprintf("FetchSnapshotRequest replica %d epoch %d snapshot %s from %d", m.Replica.ID, m.Epoch, m.ID, m.Position)
	case *quorum.FetchSnapshotResponse:
		return fmt.Sprintf("FetchSnapshotResponse %s/%s leader %+v snapshot %s from %d, %d bytes of %d", m.TopError, m.Error, m.Leader, m.ID, m.Position, len(m.Data), m.Size)
	case *quorum.FetchRequest:
		return fmt.Sprintf("FetchRequest replica %d epoch %d offset %d/%d hw %d", m.Replica.ID, m.Epoch, m.FetchOffset, m.LastFetchedEpoch, m.HighWatermark)
	case *quorum.BeginQuorumEpochRequest:
		return fmt.Sprintf("BeginQuorumEpoch to %s leader %+v", m.Voter, m.Leader)
	case *quorum.EndQuorumEpochRequest:
		return fmt.Sprintf("EndQuorumEpoch leader %+v successors %v", m.Leader, m.Successors)
	case *quorum.AddVoterRequest:
		return fmt.Sprintf("AddVoterRequest %s at %v, ack when committed %v", m.Voter, m.Endpoints, m.AckWhenCommitted)
	case *quorum.RemoveVoterRequest:
		return fmt.Sprintf("RemoveVoterRequest %s", m.Voter)
	case *quorum.UpdateVoterRequest:
		return fmt.Sprintf("UpdateVoterRequest %s at %v, epoch %d", m.Voter.Key, m.Voter.Endpoints, m.Epoch)
	case *quorum.VoteRequest:
		return fmt.Sprintf("VoteRequest pre %v candidate %d epoch %d log %d/%d", m.PreVote, m.Candidate.ID, m.Epoch, m.LastOffset, m.LastOffsetEpoch)
	}
	return fmt.Sprintf("%T%+v", m, m)
}

func describeProposal(ev quorum.Event) string {
	if p, ok := ev.(quorum.Propose); ok {
		return fmt.Sprintf("propose %d batches in epoch %d", len(p.Batches), p.Epoch)
	}
	if r, ok := ev.(quorum.SnapshotInstalled); ok {
		return fmt.Sprintf("snapshot installed %d: %v, %d bytes, %d control records", r.Token, r.OK, r.Size, len(r.Control))
	}
	if r, ok := ev.(quorum.ReadDone); ok {
		return fmt.Sprintf("read %d: %d bytes", r.Token, len(r.Data))
	}
	if r, ok := ev.(quorum.SnapshotRead); ok {
		return fmt.Sprintf("snapshot read %d: %d bytes, missing %v", r.Token, len(r.Data), r.Missing)
	}
	return fmt.Sprintf("%T%+v", ev, ev)
}
