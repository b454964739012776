package quorum_test

import (
	"strconv"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"github.com/kraft-dev/kraft-operator/internal/quorum"
	"github.com/kraft-dev/kraft-operator/internal/uuid"
)

// TestScripts plays testdata/*: each file is a lesson on one part of KRaft. Commands:
//
//	cluster voters=3 [observers=1] [static] [safe] [controllers] [join] [chunk=12]   nodes 1, 2, …; voters first
//	                       safe: FormationSafe; controllers: observers are controllers; join: auto.join.enable
//	                       chunk: bytes of a snapshot asked for at once (a batch takes 4 of them, head and foot 4 each)
//	start [ids]            open the disks
//	elect id               move that node's clock until it is elected, delivering everything
//	expire id              move that node's clock until its role changes
//	advance ms [ids]       move the clocks
//	deliver [ids]          carry messages (among these nodes) until none is on its way
//	lose                   forget all messages on their way
//	cut from to / heal     a link loses everything, one way
//	slow id / sync id / fast id     hold back, then complete, what the disk was asked
//	upgrade id level [validate]     of kraft.version
//	read id                a linearizable read
//	routes [ids]           tell them where all nodes are now
//	replace id             end a node; a new disk under a new directory id takes its place
//	move id                the node has another address from its next start on
//	downgrade id           from its next start on it supports kraft.version 0 alone
//	crash id / wipe id     end a node; lose its disk (formatted again as it was)
//	propose id n [epoch=e] a batch of n records
//	shutdown id / resign id
//	snapshot id offset [epoch=e]    the state machine has made one
//	clean id offset [epoch=e]       the log is to begin at one
//	damage id              the next download of that node has a flipped bit
//	rot id offset          a snapshot's file vanishes from that disk
//	spoil id offset        a snapshot's file has a flipped bit on that disk
//	halfway id             that node dies, the next time it installs, when the snapshot has its name and the log is old
//	header id offset       what the header of a snapshot ending there would say
//	request id KIND key=value …     a request by hand, and the answer
//	state                  all nodes
//	voters [ids]           the voter set in force on each
//
// quiet hides the story of one command. Rewrite with: go test ./internal/quorum -run TestScripts -rewrite, then read the diff.
func TestScripts(t *testing.T) {
	datadriven.Walk(t, "testdata/scripts", func(t *testing.T, path string) {
		var e *env
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			if d.Cmd == "cluster" {
				voters, observers := 3, 0
				d.MaybeScanArgs(t, "voters", &voters)
				d.MaybeScanArgs(t, "observers", &observers)
				e = newEnv(t, voters, observers, d.HasArg("static"), d.HasArg("safe"))
				d.MaybeScanArgs(t, "chunk", &e.chunk)
				e.controllers, e.join = d.HasArg("controllers"), d.HasArg("join")
				return ""
			}
			e.out.Reset()
			e.quiet = d.HasArg("quiet")
			e.run(t, d)
			return e.out.String()
		})
	})
}

func (e *env) run(t *testing.T, d *datadriven.TestData) {
	ids := argIDs(d)
	all := ids
	if len(all) == 0 {
		all = e.ids
	}
	one := func() *scriptNode {
		if len(ids) == 0 {
			d.Fatalf(t, "%s needs a node", d.Cmd)
		}
		return e.nodes[ids[0]]
	}
	switch d.Cmd {
	case "start":
		for _, id := range all {
			e.start(id)
		}
	case "elect":
		e.elect(one())
	case "expire":
		e.expire(one())
	case "advance":
		who := ids[1:]
		if len(who) == 0 {
			who = e.ids
		}
		for _, id := range who {
			if n := e.nodes[id]; n.up {
				n.now += time.Duration(ids[0]) * time.Millisecond
				e.step(n, quorum.Tick{})
			}
		}
	case "deliver":
		among := map[int]bool{}
		for _, id := range ids {
			among[id] = true
		}
		e.deliver(among)
	case "lose":
		e.wire = nil
	case "cut":
		e.cut[[2]int{ids[0], ids[1]}] = true
	case "heal":
		clear(e.cut)
	case "slow":
		one().slow = true
	case "fast":
		one().slow = false
		e.sync(one())
	case "sync":
		e.sync(one())
	case "crash":
		one().up = false
	case "wipe":
		n := one()
		n.up, n.election, n.log, n.snap = false, nil, nil, scriptSnapshots{}
	case "snapshot", "clean", "damage", "rot", "spoil", "halfway", "header":
		e.runSnapshot(t, d, one(), ids)
	case "replace":
		n := one()
		n.up, n.election, n.log, n.snap, n.member = false, nil, nil, scriptSnapshots{}, false
		n.directory = directory(n.id, int(n.directory[1])+1)
	case "move":
		one().address += "-moved"
	case "downgrade":
		one().old = true
	case "voters":
		e.quiet = false
		for _, id := range all {
			e.printf("%d  %s", id, votersString(e.nodes[id].q.Status().Voters))
		}
	case "upgrade":
		e.step(one(), quorum.UpgradeVersion{Epoch: one().q.Status().Epoch, Level: int16(ids[1]), ValidateOnly: d.HasArg("validate")})
	case "read":
		e.replyTo++
		e.step(one(), quorum.ReadIndex{Token: e.replyTo})
	case "routes":
		var routes []quorum.Node
		for _, id := range e.ids {
			routes = append(routes, quorum.Node{ID: quorum.NodeID(id), Host: e.nodes[id].host(), Port: 9093})
		}
		for _, id := range all {
			if n := e.nodes[id]; n.up {
				e.step(n, quorum.Routes{Nodes: routes})
			}
		}
	case "propose":
		n := one()
		epoch := int(n.epoch)
		d.MaybeScanArgs(t, "epoch", &epoch)
		e.propose(n, ids[1], quorum.Epoch(epoch))
	case "shutdown":
		e.step(one(), quorum.Shutdown{})
	case "resign":
		e.step(one(), quorum.Resign{Epoch: one().q.Status().Epoch})
	case "request":
		e.request(t, one(), d)
	case "state":
		e.quiet = false
		for _, id := range e.ids {
			e.printf("%s", e.state(id))
		}
	default:
		d.Fatalf(t, "unknown command %q", d.Cmd)
	}
}

// expire lets one node's clock run until it changes its role.
func (e *env) expire(n *scriptNode) {
	before := n.q.Status()
	for range 50 {
		n.now = n.q.Deadline()
		e.step(n, quorum.Tick{})
		if s := n.q.Status(); s.Role != before.Role || s.Epoch != before.Epoch {
			return
		}
	}
	e.printf("%d stays %s", n.id, before.Role)
}

// elect lets one node's clock run until it leads, with everything delivered.
func (e *env) elect(n *scriptNode) {
	for range 50 {
		if n.q.Status().Role == quorum.Leader {
			return
		}
		n.now = n.q.Deadline()
		e.step(n, quorum.Tick{})
		e.deliver(nil)
	}
	e.printf("%d was not elected", n.id)
}

func argIDs(d *datadriven.TestData) (ids []int) {
	for _, a := range d.CmdArgs {
		if n, err := strconv.Atoi(a.Key); err == nil && len(a.Vals) == 0 {
			ids = append(ids, n)
		}
	}
	return ids
}

// request builds a request by hand; what is not given takes the value that the receiver expects.
func (e *env) request(t *testing.T, n *scriptNode, d *datadriven.TestData) {
	s := n.q.Status()
	num := func(key string, fallback int64) int64 {
		if d.HasArg(key) {
			var text string
			d.ScanArgs(t, key, &text)
			v, err := strconv.ParseInt(text, 10, 64)
			if err != nil {
				d.Fatalf(t, "%s: %v", key, err)
			}
			return v
		}
		return fallback
	}
	cluster := "script"
	d.MaybeScanArgs(t, "cluster", &cluster)
	from := quorum.NodeID(num("from", 9))
	key := quorum.ReplicaKey{ID: from, DirectoryID: directory(int(from), int(num("dir", 1)))}
	epoch := quorum.Epoch(num("epoch", int64(s.Epoch)))
	receiver := quorum.ReplicaKey{ID: quorum.NodeID(num("voter", int64(n.id))), DirectoryID: directory(n.id, int(num("voterdir", 1)))}
	if d.HasArg("nodirs") {
		key.DirectoryID, receiver.DirectoryID = uuid.Zero, uuid.Zero
	}
	endpoints := scriptEndpoints(int(from))
	if n := e.nodes[int(from)]; n != nil {
		endpoints[0].Host = n.host()
	}
	if d.HasArg("noendpoint") {
		endpoints = []quorum.Endpoint{{Listener: "OTHER", Host: "node1", Port: 1}}
	}
	var m quorum.Message
	switch kind := d.CmdArgs[1].Key; kind {
	case "Vote":
		m = &quorum.VoteRequest{ClusterID: &cluster, Voter: receiver, Candidate: key, Epoch: epoch,
			LastOffsetEpoch: quorum.Epoch(num("lastEpoch", 0)), LastOffset: quorum.Offset(num("end", 0)), PreVote: d.HasArg("pre")}
	case "BeginQuorumEpoch":
		m = &quorum.BeginQuorumEpochRequest{ClusterID: &cluster, Voter: receiver, Leader: quorum.LeaderAndEpoch{LeaderID: from, Epoch: epoch}, Endpoints: endpoints}
	case "EndQuorumEpoch":
		m = &quorum.EndQuorumEpochRequest{ClusterID: &cluster, Leader: quorum.LeaderAndEpoch{LeaderID: from, Epoch: epoch}, Endpoints: endpoints}
	case "Fetch":
		m = &quorum.FetchRequest{ClusterID: &cluster, Replica: key, Epoch: epoch, FetchOffset: quorum.Offset(num("offset", 0)),
			LastFetchedEpoch: quorum.Epoch(num("lastEpoch", 0)), MaxWait: time.Duration(num("wait", 0)) * time.Millisecond,
			MaxBytes: 1 << 20, HighWatermark: quorum.Offset(num("hw", -1))}
	case "FetchSnapshot":
		m = &quorum.FetchSnapshotRequest{ClusterID: &cluster, Replica: key, Epoch: epoch,
			ID:       quorum.OffsetAndEpoch{Offset: quorum.Offset(num("offset", 0)), Epoch: quorum.Epoch(num("snapEpoch", 1))},
			Position: num("position", 0), MaxBytes: int32(num("max", 1<<20))}
	case "DescribeQuorum":
		m = &quorum.DescribeQuorumRequest{}
	case "UpdateRaftVoter":
		m = &quorum.UpdateVoterRequest{ClusterID: &cluster, Epoch: epoch, Voter: quorum.Voter{
			Key: key, Endpoints: endpoints, Supported: quorum.VersionRange{Min: int16(num("min", 0)), Max: int16(num("max", 1))}}}
	case "AddRaftVoter":
		m = &quorum.AddVoterRequest{ClusterID: &cluster, Voter: key, Endpoints: endpoints, AckWhenCommitted: !d.HasArg("noack")}
	case "RemoveRaftVoter":
		m = &quorum.RemoveVoterRequest{ClusterID: &cluster, Voter: key}
	case "Transfer":
		m = &quorum.TransferRequest{To: quorum.NodeID(num("to", 2))}
	default:
		d.Fatalf(t, "unknown request %q", kind)
	}
	e.replyTo++
	e.calls[e.replyTo] = envelope{}
	e.step(n, quorum.Request{ReplyTo: e.replyTo, Listener: "CONTROLLER", Message: m, BadPartition: d.HasArg("badpartition")})
	if _, open := e.calls[e.replyTo]; open {
		e.printf("%d does not answer yet", n.id)
	}
}
