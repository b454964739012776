package quorum

import (
	"testing"
	"time"

	"github.com/kraft-dev/kraft-operator/internal/uuid"
)

// FuzzStep feeds a replica arbitrary events, as a hostile network or a confused driver could. Invariants: it does not
// panic; the epoch, the reported high watermark and the persisted sequence never fall; the high watermark stays within
// the log; nothing flushed lies beyond it; appended ranges are contiguous; a log is replaced only by a snapshot that
// has more, and nothing touches it meanwhile; its start is a snapshot's end; each request is answered at most once; the deadline
// lies in the future.
func FuzzStep(f *testing.F) {
	f.Add([]byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15})
	f.Add([]byte("\x01\x02\x05snapshots that come and go, and go again"))
	f.Add([]byte("votes and fetches and begins and ends, in no order at all"))
	f.Fuzz(func(t *testing.T, data []byte) {
		z := &fuzzer{t: t, data: data, open: map[uint64]bool{}}
		z.run()
	})
}

type fuzzer struct {
	t    *testing.T
	data []byte
	q    *Quorum
	now  Instant
	end  Offset
	hw   Offset
	seq  uint64
	open map[uint64]bool
	next uint64

	control *ProposeControl // asked for and not yet handed back

	start         Offset
	installing    *InstallSnapshot
	part          int64 // bytes of the download
	snapshotReads []ReadSnapshot

	sent    []Send
	reads   []Read
	flushes []uint64
}

func (z *fuzzer) byte() byte {
	if len(z.data) == 0 {
		return 0
	}
	b := z.data[0]
	z.data = z.data[1:]
	return b
}

// small is a number near 0, or an extreme one.
func (z *fuzzer) small() int64 {
	switch b := z.byte(); {
	case b < 200:
		return int64(b%16) - 2
	case b < 220:
		return 1<<31 - 1
	case b < 230:
		return 1<<63 - 1
	case b < 240:
		return -1 << 63
	default:
		return int64(b)
	}
}

func (z *fuzzer) key() ReplicaKey {
	return ReplicaKey{ID: NodeID(z.small()), DirectoryID: uuid.UUID{0: z.byte() % 3}}
}

func (z *fuzzer) leader() LeaderAndEpoch {
	return LeaderAndEpoch{LeaderID: NodeID(z.small()), Epoch: Epoch(z.small())}
}

func (z *fuzzer) at() *OffsetAndEpoch {
	if z.byte()%2 == 0 {
		return nil
	}
	return &OffsetAndEpoch{Offset: Offset(z.small()), Epoch: Epoch(z.small())}
}

func (z *fuzzer) run() {
	cfg := DefaultConfig()
	cfg.NodeID, cfg.DirectoryID = 1, uuid.UUID{0: 1}
	cfg.Endpoints = []Endpoint{{"CONTROLLER", "n1", 1}}
	cfg.Listener, cfg.Controller = "CONTROLLER", true
	flags := z.byte()
	cfg.FormationSafe, cfg.AutoJoin = flags%2 == 0, flags%4 < 2
	cfg.BootstrapServers = []Node{{Host: "b", Port: 2}}
	var voters []Voter
	for i := range 1 + int(z.byte()%4) {
		voters = append(voters, Voter{Key: ReplicaKey{NodeID(i + 1), uuid.UUID{0: 1}}, Endpoints: []Endpoint{{"CONTROLLER", "n", uint16(i)}}})
	}
	set, level := NewVoterSet(voters...), int16(1)
	q, err := New(cfg, nil, LogState{Control: []ControlAt{
		{-1, ControlRecord{KRaftVersion: &level}}, {-1, ControlRecord{Voters: &set}}}}, uint64(z.byte()))
	if err != nil {
		z.t.Fatal(err)
	}
	z.q, z.hw = q, UnknownOffset
	z.step(Start{})
	for len(z.data) > 0 {
		z.now += time.Duration(z.byte()) * 10 * time.Millisecond
		z.step(z.event())
	}
}

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
			return ReadIndex{Token: z.next}
		case 8:
			z.next++
			return UpgradeVersion{Token: z.next, Epoch: z.q.Status().Epoch, Level: int16(z.byte() % 3)}
		case 7:
			return Routes{Nodes: []Node{{ID: NodeID(z.small()), Host: "r", Port: 3}}}
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

func (z *fuzzer) request() Message {
	switch z.byte() % 8 {
	case 7:
		id := OffsetAndEpoch{Offset(z.small()), Epoch(z.small())}
		if k := len(z.q.log.snapshots); k > 0 && z.byte()%4 > 0 {
			id = z.q.log.snapshots[int(z.byte())%k].ID
		}
		return &FetchSnapshotRequest{Replica: z.key(), Epoch: z.q.Status().Epoch + Epoch(z.byte()%8/7), ID: id, Position: z.small(), MaxBytes: int32(z.small())}
	case 0, 1:
		return &VoteRequest{Voter: z.key(), Candidate: z.key(), Epoch: Epoch(z.small()), LastOffsetEpoch: Epoch(z.small()), LastOffset: Offset(z.small()), PreVote: z.byte()%2 == 0}
	case 2:
		return &BeginQuorumEpochRequest{Voter: z.key(), Leader: z.leader(), Endpoints: []Endpoint{{"CONTROLLER", "x", 1}}[:z.byte()%2]}
	case 3:
		return &EndQuorumEpochRequest{Leader: z.leader(), Successors: []ReplicaKey{z.key(), z.key()}[:z.byte()%3]}
	case 4, 5:
		return &FetchRequest{Replica: z.key(), Epoch: Epoch(z.small()), FetchOffset: Offset(z.small()), LastFetchedEpoch: Epoch(z.small()),
			MaxWait: time.Duration(z.small()), MaxBytes: int32(z.small()), HighWatermark: Offset(z.small())}
	}
	endpoints := []Endpoint{{"CONTROLLER", "x", 1}}[:min(1, z.byte()%4)]
	switch z.byte() % 5 {
	case 4:
		return &TransferRequest{To: NodeID(z.small())}
	case 0:
		return &AddVoterRequest{Voter: z.key(), Endpoints: endpoints, AckWhenCommitted: z.byte()%2 == 0}
	case 1:
		return &RemoveVoterRequest{Voter: z.key()}
	case 2:
		return &DescribeQuorumRequest{}
	}
	return &UpdateVoterRequest{Epoch: Epoch(z.small()), Voter: Voter{Key: z.key(), Endpoints: endpoints, Supported: VersionRange{0, int16(z.byte() % 3)}}}
}

func (z *fuzzer) step(ev Event) {
	before := z.q.Status()
	fx := z.q.Step(z.now, ev)
	for _, e := range fx {
		z.effect(e)
	}
	s := z.q.Status()
	switch {
	case s.Epoch < before.Epoch:
		z.t.Fatalf("epoch %d after %d", s.Epoch, before.Epoch)
	case s.LogStartOffset < before.LogStartOffset || s.LogStartOffset > s.LogEndOffset:
		z.t.Fatalf("log [%d,%d) after [%d,%d)", s.LogStartOffset, s.LogEndOffset, before.LogStartOffset, before.LogEndOffset)
	case s.HighWatermark > s.LogEndOffset || s.Flushed > s.LogEndOffset:
		z.t.Fatalf("high watermark %d, flushed %d, log end %d", s.HighWatermark, s.Flushed, s.LogEndOffset)
	case z.q.Deadline() <= z.now:
		z.t.Fatalf("deadline %s is not after %s", z.q.Deadline(), z.now)
	}
}

func (z *fuzzer) effect(e Effect) {
	switch e := e.(type) {
	case Append, Truncate, Flush, Read, DropPrefix, WriteSnapshot, InstallSnapshot:
		if z.installing != nil {
			z.t.Fatalf("%T while snapshot %s is being installed", e, z.installing.ID)
		}
	}
	switch e := e.(type) {
	case WriteSnapshot:
		if e.Position != 0 && e.Position != z.part {
			z.t.Fatalf("write at %d of %d bytes", e.Position, z.part)
		}
		z.part = e.Position + int64(len(e.Data))
	case AbandonSnapshot:
		z.part = -1
	case InstallSnapshot:
		if e.Size != z.part || e.ID.Offset < z.hw {
			z.t.Fatalf("install %+v with %d bytes, high watermark %d", e, z.part, z.hw)
		}
		z.installing, z.part = &e, -1
	case DropPrefix:
		if e.Start.Offset <= z.start || e.Start.Offset > z.hw {
			z.t.Fatalf("drop up to %s, start %d, high watermark %d", e.Start, z.start, z.hw)
		}
		z.start = e.Start.Offset
	case ReadSnapshot:
		if e.Position < 0 || e.MaxBytes <= 0 || e.MaxBytes > maxSnapshotChunk {
			z.t.Fatalf("%+v", e)
		}
		z.snapshotReads = append(z.snapshotReads, e)
	case PersistElection:
		if e.Seq < z.seq {
			z.t.Fatalf("PersistElection %d after %d", e.Seq, z.seq)
		}
		z.seq = e.Seq
	case Append:
		if e.Base != z.end || e.End <= e.Base {
			z.t.Fatalf("append [%d,%d) to a log that ends at %d", e.Base, e.End, z.end)
		}
		z.end = e.End
	case ProposeControl:
		if z.control != nil && z.control.Epoch == e.Epoch {
			z.t.Fatalf("a second control batch is asked for in epoch %d", e.Epoch)
		}
		z.control = &e
	case Truncate:
		if e.To >= z.end || e.To < z.hw || e.To < z.start {
			z.t.Fatalf("truncate a log of %d to %d, high watermark %d", z.end, e.To, z.hw)
		}
		z.end = e.To
	case Committed:
		if e.HighWatermark <= z.hw || e.HighWatermark > z.end {
			z.t.Fatalf("committed %d after %d, log end %d", e.HighWatermark, z.hw, z.end)
		}
		z.hw = e.HighWatermark
	case Reply:
		if !z.open[e.ReplyTo] {
			z.t.Fatalf("request %d is answered twice", e.ReplyTo)
		}
		delete(z.open, e.ReplyTo)
	case Send:
		z.sent = append(z.sent, e)
	case Read:
		z.reads = append(z.reads, e)
	case Flush:
		z.flushes = append(z.flushes, e.Seq)
	}
}
