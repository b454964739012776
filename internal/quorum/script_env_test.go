package quorum_test

import (
	"encoding/binary"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kraft-dev/kraft-operator/internal/quorum"
	"github.com/kraft-dev/kraft-operator/internal/uuid"
)

func readFile(t *testing.T, name string) string {
	b, err := os.ReadFile(name)
	require.NoError(t, err)
	return string(b)
}

// env is a cluster under a script's hand: every message waits until it is delivered, every clock until it is moved.
type env struct {
	t           *testing.T
	nodes       map[int]*scriptNode
	ids         []int
	initial     quorum.VoterSet
	static      bool
	safe        bool
	controllers bool // observers are controllers
	join        bool // controllers add themselves
	chunk       int  // of FetchSnapshot
	wire        []envelope
	cut         map[[2]int]bool
	batches     []quorum.BatchInfo
	calls       map[uint64]envelope // open requests
	replyTo     uint64
	out         strings.Builder
	quiet       bool
}

// envelope is a message on its way.
type envelope struct {
	from, to    int
	correlation uint64
	message     quorum.Message
	host        string // the address it was sent to; "" for answers
	answer      bool
	life        int // of the node that asked
}

// scriptNode is a node whose disk is as fast as the script says.
type scriptNode struct {
	id        int
	directory uuid.UUID
	q         *quorum.Quorum
	up        bool
	life      int
	now       time.Duration
	slow      bool           // completions wait for "sync"
	due       []quorum.Event // what a slow disk has still to do
	reads     []quorum.Event // always done at once
	election  *quorum.ElectionState
	log       []int // indexes of env.batches, from the beginning of time; the first ones may be in a snapshot only
	snap      scriptSnapshots
	next      quorum.Offset
	epoch     quorum.Epoch
	observer  bool
	member    bool           // formatted with the 0-0 checkpoint of the initial voters
	address   string         // what comes after "node1" in its host name
	old       bool           // supports no kraft.version but 0
	self      []quorum.Event // what the driver has to hand back at once
}

func (n *scriptNode) host() string { return fmt.Sprintf("node%d%s", n.id, n.address) }

func directory(id, n int) uuid.UUID {
	return uuid.UUID{0: byte(id), 1: byte(n), 15: 0xff}
}

func newEnv(t *testing.T, voters, observers int, static, safe bool) *env {
	e := &env{t: t, nodes: map[int]*scriptNode{}, static: static, safe: safe, cut: map[[2]int]bool{}, calls: map[uint64]envelope{}}
	var set []quorum.Voter
	for id := 1; id <= voters+observers; id++ {
		n := &scriptNode{id: id, directory: directory(id, 1), observer: id > voters, member: id <= voters && !static}
		e.nodes[id] = n
		e.ids = append(e.ids, id)
		if n.observer {
			continue
		}
		v := quorum.Voter{Key: quorum.ReplicaKey{ID: quorum.NodeID(id), DirectoryID: n.directory}, Endpoints: scriptEndpoints(id)}
		v.Supported.Max = 1
		if static {
			v.Key.DirectoryID = uuid.Zero
		}
		set = append(set, v)
	}
	e.initial = quorum.NewVoterSet(set...)
	return e
}

func scriptEndpoints(id int) []quorum.Endpoint {
	return []quorum.Endpoint{{Listener: "CONTROLLER", Host: fmt.Sprintf("node%d", id), Port: 9093}}
}

func (e *env) controller(n *scriptNode) bool { return !n.observer || e.controllers }

func (e *env) printf(format string, args ...any) {
	if !e.quiet {
		fmt.Fprintf(&e.out, format+"\n", args...)
	}
}

func (e *env) start(id int) {
	n := e.nodes[id]
	cfg := quorum.DefaultConfig()
	cfg.ClusterID, cfg.NodeID, cfg.DirectoryID = "script", quorum.NodeID(id), n.directory
	if n.old {
		cfg.KRaftVersions.Max = 0
	}
	cfg.Listener, cfg.Controller, cfg.FormationSafe, cfg.AutoJoin = "CONTROLLER", e.controller(n), e.safe, e.join
	if cfg.Controller {
		cfg.Endpoints = []quorum.Endpoint{{Listener: "CONTROLLER", Host: n.host(), Port: 9093}}
	}
	if e.chunk > 0 {
		cfg.FetchSnapshotMaxBytes = int32(e.chunk)
	}
	n.snap.part = nil
	if e.static {
		cfg.StaticVoters = e.initial
	}
	for _, v := range e.initial.Voters() {
		cfg.BootstrapServers = append(cfg.BootstrapServers, quorum.Node{Host: v.Endpoints[0].Host, Port: v.Endpoints[0].Port})
	}
	q, err := quorum.New(cfg, n.election, e.logState(n), uint64(id))
	require.NoError(e.t, err)
	n.q, n.up, n.due = q, true, nil
	n.life++
	e.step(n, quorum.Start{})
}

func (e *env) logState(n *scriptNode) (s quorum.LogState) {
	level := int16(1)
	if n.member {
		s.Control = []quorum.ControlAt{
			{Offset: -1, Record: quorum.ControlRecord{KRaftVersion: &level}},
			{Offset: -1, Record: quorum.ControlRecord{Voters: &e.initial}},
		}
	}
	e.snapshotState(n, &s)
	for _, i := range n.log[n.snap.first:] {
		b := e.batches[i]
		if k := len(s.Epochs); k == 0 || s.Epochs[k-1].Epoch < b.Epoch {
			s.Epochs = append(s.Epochs, quorum.EpochStart{Epoch: b.Epoch, Start: b.Base})
		}
		for i, r := range b.Control {
			s.Control = append(s.Control, quorum.ControlAt{Offset: b.Base + quorum.Offset(i), Record: r})
		}
		s.EndOffset = b.Last + 1
	}
	return s
}

// step feeds one event, prints what became of it, and carries the effects out.
func (e *env) step(n *scriptNode, ev quorum.Event) {
	before := n.q.Status()
	fx := n.q.Step(n.now, ev)
	e.printChange(n, before, n.q.Status())
	for _, f := range fx {
		e.carryOut(n, f)
	}
	for len(n.self) > 0 {
		ev := n.self[0]
		n.self = n.self[1:]
		e.step(n, ev)
	}
	for len(n.reads) > 0 {
		ev := n.reads[0]
		n.reads = n.reads[1:]
		e.step(n, ev)
	}
	if !n.slow {
		e.sync(n)
	}
}

// sync lets the disk finish what it was asked.
func (e *env) sync(n *scriptNode) {
	for n.up && len(n.due) > 0 {
		ev := n.due[0]
		n.due = n.due[1:]
		e.step(n, ev)
	}
}

func (e *env) carryOut(n *scriptNode, f quorum.Effect) {
	switch f := f.(type) {
	case quorum.PersistElection:
		e.printf("  %d  writes quorum-state: %s", n.id, electionString(f.State))
		state := f.State
		n.election = &state
		n.due = append(n.due, quorum.ElectionPersisted{Seq: f.Seq})
	case quorum.Append:
		e.append(n, f)
	case quorum.ProposeControl:
		last := n.next + quorum.Offset(len(f.Records)) - 1
		e.batches = append(e.batches, quorum.BatchInfo{Base: n.next, Last: last, Epoch: f.Epoch, Size: 4, Control: f.Records})
		i := len(e.batches) - 1
		n.next = last + 1
		n.self = append(n.self, quorum.Propose{Epoch: f.Epoch, Batches: e.batches[i:], Data: binary.BigEndian.AppendUint32(nil, uint32(i))})
	case quorum.Truncate:
		e.printf("  %d  cuts its log at %d", n.id, f.To)
		k := len(n.log)
		for k > 0 && e.batches[n.log[k-1]].Base >= f.To {
			k--
		}
		n.log = n.log[:k]
	case quorum.Flush:
		n.due = append(n.due, quorum.Flushed(f))
	case quorum.ReadSnapshot, quorum.WriteSnapshot, quorum.AbandonSnapshot, quorum.InstallSnapshot, quorum.DropPrefix:
		e.carryOutSnapshot(n, f)
	case quorum.Read:
		var data []byte
		for _, i := range n.log[n.snap.first:] {
			if e.batches[i].Last >= f.From {
				data = binary.BigEndian.AppendUint32(data, uint32(i))
			}
		}
		n.reads = append(n.reads, quorum.ReadDone{Token: f.Token, Data: data})
	case quorum.Send:
		e.send(n, f)
	case quorum.Reply:
		c := e.calls[f.ReplyTo]
		delete(e.calls, f.ReplyTo)
		if c.from == 0 {
			e.printf("%d answers: %s", n.id, e.messageString(f.Message))
			return
		}
		e.wire = append(e.wire, envelope{from: n.id, to: c.from, correlation: c.correlation, message: f.Message, answer: true, life: c.life})
	case quorum.VersionUpgraded:
		e.printf("%d answers: changed %v, %s", n.id, f.Changed, refusalString(f.Error, f.Text))
	case quorum.ReadReady:
		e.printf("  %d  lets the read see all below %d", n.id, f.Offset)
	case quorum.ReadFailed:
		e.printf("  %d  fails the read: %s", n.id, f.Error)
	case quorum.Committed:
		e.printf("  %d  commits up to %d", n.id, f.HighWatermark)
	case quorum.LeaderChanged:
		n.epoch, n.next = f.Epoch, f.NextOffset
	case quorum.ProposeRejected:
		e.printf("  %d  rejects the proposal for epoch %d", n.id, f.Epoch)
	case quorum.ReplaceDirectory:
		n.directory = directory(n.id, int(n.directory[1])+1)
		e.printf("  %d  takes a new directory id", n.id)
		n.due = append(n.due, quorum.DirectoryReplaced{DirectoryID: n.directory})
	case quorum.ShutdownComplete:
		e.printf("  %d  may stop", n.id)
	case quorum.Note:
		if f.Level >= quorum.NoteWarn {
			e.printf("  %d  says: %s", n.id, f.Text)
		}
	}
}

func (e *env) append(n *scriptNode, f quorum.Append) {
	if f.Control != nil {
		e.batches = append(e.batches, quorum.BatchInfo{Base: f.Base, Last: f.End - 1, Epoch: f.Epoch, Size: 4, Control: f.Control})
		n.log = append(n.log, len(e.batches)-1)
	}
	for i := range f.Batches {
		n.log = append(n.log, int(binary.BigEndian.Uint32(f.Data[4*i:])))
	}
	kinds := ""
	for _, i := range n.log {
		if b := e.batches[i]; b.Base >= f.Base {
			kinds += controlString(b.Control)
		}
	}
	e.printf("  %d  appends %d to %d of epoch %d%s", n.id, f.Base, f.End-1, f.Epoch, kinds)
}

func (e *env) propose(n *scriptNode, count int, epoch quorum.Epoch) {
	e.batches = append(e.batches, quorum.BatchInfo{Base: n.next, Last: n.next + quorum.Offset(count) - 1, Epoch: epoch, Size: 4})
	i := len(e.batches) - 1
	n.next += quorum.Offset(count)
	e.step(n, quorum.Propose{Epoch: epoch, Batches: e.batches[i:], Data: binary.BigEndian.AppendUint32(nil, uint32(i))})
}

func (e *env) send(n *scriptNode, f quorum.Send) {
	var to int
	_, err := fmt.Sscanf(f.To.Host, "node%d", &to)
	require.NoError(e.t, err)
	e.wire = append(e.wire, envelope{from: n.id, to: to, host: f.To.Host, correlation: f.Correlation, message: f.Message, life: n.life})
}

// deliver carries messages between the given nodes (all, if none are) until nothing is on its way.
func (e *env) deliver(between map[int]bool) {
	for range 500 {
		i := 0
		for i < len(e.wire) && len(between) > 0 && !(between[e.wire[i].from] && between[e.wire[i].to]) {
			i++
		}
		if i == len(e.wire) {
			return
		}
		m := e.wire[i]
		e.wire = append(e.wire[:i:i], e.wire[i+1:]...)
		e.deliverOne(m)
	}
	e.printf("still talking after 500 messages")
}

func (e *env) deliverOne(m envelope) {
	to := e.nodes[m.to]
	if !to.up || e.cut[[2]int{m.from, m.to}] || m.answer && to.life != m.life || !m.answer && m.host != to.host() {
		if !m.answer {
			e.printf("%d → %d  lost: %s", m.from, m.to, e.messageString(m.message))
			if from := e.nodes[m.from]; from.up && from.life == m.life {
				e.step(from, quorum.SendFailed{Correlation: m.correlation, Failure: quorum.Disconnected})
			}
		}
		return
	}
	e.printf("%d → %d  %s", m.from, m.to, e.messageString(m.message))
	if m.answer {
		e.step(to, quorum.Response{Correlation: m.correlation, Message: e.parse(m.message)})
		return
	}
	if _, ok := m.message.(*quorum.ApiVersionsRequest); ok { // answered beside the engine
		e.wire = append(e.wire, envelope{from: m.to, to: m.from, correlation: m.correlation, answer: true, life: m.life,
			message: &quorum.ApiVersionsResponse{KRaftVersion: to.versions()}})
		return
	}
	e.replyTo++
	e.calls[e.replyTo] = m
	e.step(to, quorum.Request{ReplyTo: e.replyTo, Listener: "CONTROLLER", Message: m.message})
}

func (e *env) parse(m quorum.Message) quorum.Message {
	f, ok := m.(*quorum.FetchResponse)
	if !ok {
		return m
	}
	c := *f
	for data := c.Data; len(data) > 0; data = data[4:] {
		c.Batches = append(c.Batches, e.batches[binary.BigEndian.Uint32(data)])
	}
	return &c
}

func (n *scriptNode) versions() *quorum.VersionRange {
	if n.old {
		return nil
	}
	return &quorum.VersionRange{Min: 0, Max: 1}
}
