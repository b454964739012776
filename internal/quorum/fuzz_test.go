package quorum

import (
	"testing"
	"time"

	"github.com/kraft-dev/kraft-operator/internal/uuid"
)

// FuzzStep feeds a replica arbitrary events, as a hostile network or a confused driver could. Invariants: it does not
// panic; the epoch, the reported high watermark and the persisted sequence never fall; the high watermark stays within
// the log; nothing flushed lies beyond it; appended ranges are contiguous; a log is replaced only by a snapshot that
// has more, and nothing touches it meanwhile; its start is a snapshot's end; each request, linearizable read and upgrade is
// answered at most once, a read only from what is committed; the deadline lies in the future. The replica is new or has a past,
// votes or observes, by static voters or by records.
func FuzzStep(f *testing.F) {
	f.Add([]byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15})
	f.Add([]byte("\x01\x02\x05snapshots that come and go, and go again"))
	f.Add([]byte("\x40\x01reads, transfers, routes and upgrades of a lone voter, then two"))
	f.Add([]byte("\x30\x02a past with a snapshot, a vote and a leader that was"))
	f.Add([]byte("votes and fetches and begins and ends, in no order at all"))
	f.Fuzz(func(t *testing.T, data []byte) {
		z := &fuzzer{t: t, data: data, open: map[uint64]bool{}, asked: map[uint64]bool{}}
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

	asked map[uint64]bool // reads and upgrades without an answer

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
	if flags&4 != 0 {
		cfg.ClusterID = "mine"
	}
	if flags&8 != 0 { // an observer
		cfg.DirectoryID = uuid.UUID{0: 7}
	}
	var voters []Voter
	for i := range 1 + int(z.byte()%4) {
		voters = append(voters, Voter{Key: ReplicaKey{NodeID(i + 1), uuid.UUID{0: 1}}, Endpoints: []Endpoint{{"CONTROLLER", "n", uint16(i)}}})
	}
	var log LogState
	set, level := NewVoterSet(voters...), int16(1)
	if flags&64 != 0 {
		cfg.StaticVoters = staticSet(voters)
	} else {
		log.Control = []ControlAt{{-1, ControlRecord{KRaftVersion: &level}}, {-1, ControlRecord{Voters: &set}}}
	}
	var election *ElectionState
	if flags&48 != 0 {
		election = z.past(&log, flags&32 != 0)
	}
	q, err := New(cfg, election, log, uint64(z.byte()))
	if err != nil {
		z.t.Fatal(err)
	}
	z.q, z.hw, z.start, z.end = q, UnknownOffset, log.StartOffset, log.EndOffset
	z.step(Start{})
	for len(z.data) > 0 {
		z.now += time.Duration(z.byte()) * 10 * time.Millisecond
		z.step(z.event())
	}
}

// staticSet is how controller.quorum.voters names voters: without directory ids.
func staticSet(voters []Voter) VoterSet {
	var static []Voter
	for _, v := range voters {
		v.Key.DirectoryID = uuid.UUID{}
		static = append(static, v)
	}
	return NewVoterSet(static...)
}

// past is what an earlier life left: a log, perhaps one that begins at a snapshot, and a quorum-state, right or behind.
func (z *fuzzer) past(log *LogState, snapshot bool) *ElectionState {
	epoch := Epoch(z.byte() % 4)
	log.EndOffset = Offset(1 + z.byte()%8)
	log.Epochs = []EpochStart{{epoch, 0}}
	if snapshot {
		log.StartOffset = log.EndOffset / 2
		log.Epochs[0].Start = log.StartOffset
		if log.StartOffset > 0 {
			log.Snapshots = []SnapshotInfo{{OffsetAndEpoch{log.StartOffset, epoch}, 9}}
		}
	}
	e := &ElectionState{Epoch: epoch + Epoch(z.byte()%3) - 1, LeaderID: NodeID(z.byte()%4) - 1, Voted: NoReplica}
	if e.Epoch < 0 {
		return nil
	}
	if z.byte()%2 == 0 {
		e.Voted = ReplicaKey{NodeID(z.byte() % 4), uuid.UUID{0: z.byte() % 2}}
	}
	return e
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
	case ReadReady:
		if !z.asked[e.Token] || e.Offset < 0 || e.Offset > z.hw {
			z.t.Fatalf("read %d (open %v) is to see all below %d, committed is %d", e.Token, z.asked[e.Token], e.Offset, z.hw)
		}
		delete(z.asked, e.Token)
	case ReadFailed:
		z.answered(e.Token)
	case VersionUpgraded:
		z.answered(e.Token)
	case Send:
		z.sent = append(z.sent, e)
	case Read:
		z.reads = append(z.reads, e)
	case Flush:
		z.flushes = append(z.flushes, e.Seq)
	}
}

func (z *fuzzer) answered(token uint64) {
	if !z.asked[token] {
		z.t.Fatalf("%d is answered twice", token)
	}
	delete(z.asked, token)
}
