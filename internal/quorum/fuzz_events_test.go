package quorum

import (
	"time"

	"github.com/kraft-dev/kraft-operator/internal/uuid"
)

func (z *fuzzer) event() Event {
	switch z.byte() % 15 {
	case 0:
		z.now = max(z.now, min(z.q.Deadline(), z.now+time.Hour))
		return Tick{}
	case 1, 2:
		return ElectionPersisted{Seq: z.seq}
	case 3:
		if len(z.flushes) > 0 {
			return Flushed{Seq: z.flushes[int(z.byte())%len(z.flushes)]}
		}
		return Flushed{Seq: uint64(z.small())}
	case 4:
		if len(z.reads) > 0 {
			return ReadDone{Token: z.reads[int(z.byte())%len(z.reads)].Token, Data: []byte{1}}
		}
		return ReadDone{Token: uint64(z.small())}
	case 5, 6:
		return z.answerToSend()
	case 7:
		if c := z.control; c != nil && z.byte()%4 != 0 {
			z.control = nil
			base := z.q.Status().LogEndOffset
			return Propose{Epoch: c.Epoch, Data: []byte{1}, Batches: []BatchInfo{
				{Base: base, Last: base + Offset(len(c.Records)) - 1, Epoch: c.Epoch, Size: 1, Control: c.Records}}}
		}
		return Propose{Epoch: z.q.Status().Epoch, Batches: z.batches(), Data: make([]byte, int(z.byte()%4))}
	case 8:
		switch z.byte() % 16 {
		case 0:
			return Shutdown{}
		case 1:
			return Resign{Epoch: Epoch(z.small())}
		case 2:
			return DirectoryReplaced{DirectoryID: uuid.UUID{0: 9}}
		case 3:
			return Start{}
		case 4, 5, 6:
			z.next++
			z.asked[z.next] = true
			return ReadIndex{Token: z.next}
		case 8, 9:
			z.next++
			z.asked[z.next] = true
			return UpgradeVersion{Token: z.next, Epoch: z.q.Status().Epoch, Level: int16(z.byte() % 3)}
		case 7:
			return Routes{Nodes: []Node{{ID: NodeID(z.small()), Host: "r", Port: 3}, {ID: 2, Host: "r", Port: 4}}[:z.byte()%3]}
		case 10, 11:
			z.next++
			z.open[z.next] = true
			return Request{ReplyTo: z.next, Listener: "CONTROLLER", Message: &TransferRequest{To: NodeID(1 + z.byte()%4)}}
		}
		return Tick{}
	case 9:
		return z.snapshotEvent()
	case 10:
		if z.installing != nil {
			return z.installed()
		}
	}
	z.next++
	z.open[z.next] = true
	return Request{ReplyTo: z.next, Listener: "CONTROLLER", Message: z.request(), BadPartition: z.byte()%16 == 15}
}

// snapshotEvent is what the driver and the state machine say of snapshots, right or wrong.
func (z *fuzzer) snapshotEvent() Event {
	s := z.q.Status()
	switch z.byte() % 4 {
	case 0:
		if len(z.snapshotReads) > 0 {
			r := z.snapshotReads[int(z.byte())%len(z.snapshotReads)]
			return SnapshotRead{Token: r.Token, Data: []byte{1}, Missing: z.byte()%4 == 0}
		}
		return SnapshotRead{Token: uint64(z.small())}
	case 1:
		return SnapshotInstalled{Token: uint64(z.small()) + 1<<40, OK: true}
	case 2:
		id := OffsetAndEpoch{max(s.HighWatermark, 0) - Offset(z.byte()%4), Epoch(z.small())}
		if e, ok := z.q.log.epochBefore(id.Offset); ok && z.byte()%8 > 0 {
			id.Epoch = e
		}
		return SnapshotCreated{SnapshotInfo{id, int64(z.byte() % 16)}}
	}
	if k := len(z.q.log.snapshots); k > 0 && z.byte()%8 > 0 {
		return CleanTo{z.q.log.snapshots[int(z.byte())%k].ID}
	}
	return CleanTo{OffsetAndEpoch{Offset(z.small()), Epoch(z.small())}}
}

func (z *fuzzer) installed() Event {
	ev := SnapshotInstalled{Token: z.installing.Token, OK: z.byte()%4 > 0, Size: z.installing.Size}
	if ev.OK {
		z.start, z.end = z.installing.ID.Offset, z.installing.ID.Offset
		if z.byte()%2 == 0 {
			set := NewVoterSet(Voter{Key: z.key()}, Voter{Key: ReplicaKey{1, uuid.UUID{0: 1}}})
			ev.Control = []ControlAt{{z.end - 1, ControlRecord{Voters: &set}}}
		}
	}
	z.installing = nil
	return ev
}

func (z *fuzzer) answerToSend() Event {
	if len(z.sent) == 0 {
		return Response{Correlation: uint64(z.small()), Message: &VoteResponse{}}
	}
	s := z.sent[len(z.sent)-1]
	if z.byte()%2 == 0 {
		s = z.sent[int(z.byte())%len(z.sent)]
	}
	if z.byte()%8 == 0 {
		return SendFailed{Correlation: s.Correlation, Failure: SendFailure(z.byte() % 4)}
	}
	a := Answer{TopError: ErrorCode(z.byte() % 2 * 104), Error: ErrorCode(z.byte()%4*2 + 72), Leader: z.leader(), Endpoint: Node{ID: 2, Host: "n2"}}
	if z.byte()%2 == 0 {
		a.TopError, a.Error = NoError, NoError
		a.Leader.Epoch = z.q.Status().Epoch
		if z.byte()%4 > 0 {
			a.Leader.LeaderID = z.q.Status().LeaderID
		}
	}
	a.Endpoint.ID = a.Leader.LeaderID
	switch m := s.Message.(type) {
	case *VoteRequest:
		return Response{s.Correlation, &VoteResponse{a, m.PreVote || z.byte()%2 == 0}}
	case *FetchRequest:
		if st := z.q.Status(); z.byte()%4 == 0 {
			id := &OffsetAndEpoch{st.LogEndOffset + Offset(z.byte()%4), max(st.Epoch-Epoch(z.byte()%2), 0)}
			return Response{s.Correlation, &FetchResponse{Answer: a, HighWatermark: Offset(z.small()), Snapshot: id}}
		}
		b := z.batches()
		return Response{s.Correlation, &FetchResponse{Answer: a, HighWatermark: Offset(z.small()), Diverging: z.at(), Snapshot: z.at(),
			Batches: b, Data: make([]byte, max(0, min(64, sizeOf(b)))), Corrupt: z.byte()%8 == 0}}
	case *FetchSnapshotRequest:
		resp := &FetchSnapshotResponse{Answer: a, ID: m.ID, Size: int64(z.byte() % 32), Position: m.Position, Data: make([]byte, int(z.byte()%16))}
		switch z.byte() % 8 {
		case 0:
			resp.ID = OffsetAndEpoch{Offset(z.small()), Epoch(z.small())}
		case 1:
			resp.Position, resp.Size = z.small(), z.small()
		case 2:
			resp.Error = SnapshotNotFound
		case 3, 4:
			resp.Size = m.Position + int64(len(resp.Data))
		}
		return Response{s.Correlation, resp}
	case *BeginQuorumEpochRequest:
		return Response{s.Correlation, &BeginQuorumEpochResponse{a}}
	case *ApiVersionsRequest:
		return Response{s.Correlation, &ApiVersionsResponse{ErrorCode(z.byte() % 2 * 35), []*VersionRange{nil, {0, 1}, {0, 1}, {2, 1}}[z.byte()%4]}}
	case *UpdateVoterRequest:
		return Response{s.Correlation, &UpdateVoterResponse{a}}
	case *AddVoterRequest:
		return Response{s.Correlation, &AddVoterResponse{Error: a.Error}}
	case *RemoveVoterRequest:
		return Response{s.Correlation, &RemoveVoterResponse{Error: a.Error}}
	}
	return Response{s.Correlation, &EndQuorumEpochResponse{a}}
}

// batches mostly continue the log.
func (z *fuzzer) batches() (out []BatchInfo) {
	base := z.q.Status().LogEndOffset
	for range z.byte() % 3 {
		b := BatchInfo{Base: base, Last: base + Offset(z.byte()%3), Epoch: z.q.Status().Epoch, Size: 1}
		if z.byte()%8 == 0 {
			b = BatchInfo{Base: Offset(z.small()), Last: Offset(z.small()), Epoch: Epoch(z.small()), Size: int(z.byte()) - 8}
		}
		if z.byte()%8 == 0 {
			set := NewVoterSet(Voter{Key: z.key()}, Voter{Key: z.key()})
			b.Control = []ControlRecord{{Voters: &set}}
		}
		out = append(out, b)
		base = b.Last + 1
	}
	return out
}

// cluster is mostly what an old version says: nothing.
func (z *fuzzer) cluster() *string {
	if b := z.byte(); b < 32 {
		return &[]string{"mine", "another"}[b%2]
	}
	return nil
}

func (z *fuzzer) request() Message {
	switch z.byte() % 8 {
	case 7:
		id := OffsetAndEpoch{Offset(z.small()), Epoch(z.small())}
		if k := len(z.q.log.snapshots); k > 0 && z.byte()%4 > 0 {
			id = z.q.log.snapshots[int(z.byte())%k].ID
		}
		return &FetchSnapshotRequest{ClusterID: z.cluster(), Replica: z.key(), Epoch: z.q.Status().Epoch + Epoch(z.byte()%8/7), ID: id, Position: z.small(), MaxBytes: int32(z.small())}
	case 0, 1:
		return &VoteRequest{ClusterID: z.cluster(), Voter: z.key(), Candidate: z.key(), Epoch: Epoch(z.small()), LastOffsetEpoch: Epoch(z.small()), LastOffset: Offset(z.small()), PreVote: z.byte()%2 == 0}
	case 2:
		return &BeginQuorumEpochRequest{ClusterID: z.cluster(), Voter: z.key(), Leader: z.leader(), Endpoints: []Endpoint{{"CONTROLLER", "x", 1}}[:z.byte()%2]}
	case 3:
		return &EndQuorumEpochRequest{ClusterID: z.cluster(), Leader: z.leader(), Successors: []ReplicaKey{z.key(), z.key()}[:z.byte()%3]}
	case 4, 5:
		return &FetchRequest{ClusterID: z.cluster(), Replica: z.key(), Epoch: Epoch(z.small()), FetchOffset: Offset(z.small()), LastFetchedEpoch: Epoch(z.small()),
			MaxWait: time.Duration(z.small()), MaxBytes: int32(z.small()), HighWatermark: Offset(z.small())}
	}
	endpoints := []Endpoint{{"CONTROLLER", "x", 1}}[:min(1, z.byte()%4)]
	switch z.byte() % 5 {
	case 4:
		return &TransferRequest{To: NodeID(z.small())}
	case 0:
		return &AddVoterRequest{ClusterID: z.cluster(), Voter: z.key(), Endpoints: endpoints, AckWhenCommitted: z.byte()%2 == 0}
	case 1:
		return &RemoveVoterRequest{ClusterID: z.cluster(), Voter: z.key()}
	case 2:
		return &DescribeQuorumRequest{}
	}
	return &UpdateVoterRequest{ClusterID: z.cluster(), Epoch: Epoch(z.small()), Voter: Voter{Key: z.key(), Endpoints: endpoints, Supported: VersionRange{0, int16(z.byte() % 3)}}}
}
