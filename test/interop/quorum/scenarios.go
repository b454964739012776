package main

import (
	_ "embed"
	"fmt"
	"strings"

	"github.com/kraft-dev/kraft-operator/internal/config"
	"github.com/kraft-dev/kraft-operator/internal/metadata"
)

// knownLines are warnings and errors that quorums of Java nodes alone were seen to log under the same faults: which of them a run
// meets depends on its timing, so that the all-Java world of this run isn't enough.
//
//go:embed testdata/java-lines.txt
var knownLines string

// scenario is a world and what happens in it after the common part.
type scenario struct {
	name   string
	kinds  []kind
	then   func(*world)
	extra  map[string]string // settings of all nodes
	static bool              // controller.quorum.voters, kraft.version 0
	brief  bool              // without orderly stops and kills
	ahead  bool              // the kind that most nodes are of starts alone
}

// most is the kind of the larger part of a scenario's nodes.
func (s scenario) most() kind {
	java := 0
	for _, k := range s.kinds {
		java += int(k)
	}
	if 2*java > len(s.kinds) {
		return javaKind
	}
	return goKind
}

var scenarios = []scenario{
	{name: "3 Java", kinds: []kind{javaKind, javaKind, javaKind}, then: (*world).brokerAmongJava},
	{name: "1 Go + 2 Java", ahead: true, kinds: []kind{goKind, javaKind, javaKind}, extra: map[string]string{snapshotBytes: "20000"}, then: func(w *world) {
		w.replays(javaKind)
		w.aborts(goKind)
		w.aborts(javaKind)
		w.check("a Java leader has written every type of record that Apache Kafka 4.3 writes, and every node has them", func() { w.requireEveryType(javaKind) })
		w.check("every node's snapshot is what the log before it amounts to, record by record", w.requireTrueSnapshots)
		w.beginFromSnapshots()
		w.swaps()
	}},
	{name: "2 Go + 1 Java", ahead: true, kinds: []kind{goKind, goKind, javaKind}, then: func(w *world) {
		w.replays(goKind)
		w.follows(javaKind, goKind)
		w.follows(goKind, javaKind)
		w.toolsRead()
	}},
	{name: "2 Go + 1 Java with snapshots", kinds: []kind{goKind, goKind, javaKind}, extra: map[string]string{snapshotBytes: "100000", chunkBytes: fmt.Sprint(chunk)}, then: func(w *world) {
		w.describesItself()
		for _, leader := range []kind{goKind, javaKind} {
			w.joinsAndLeaves(leader.other(), leader)
			w.joinsByItself(leader.other(), leader)
			w.moves(leader.other(), leader)
			w.leaderLeaves(leader)
		}
		w.swaps()
		w.toolsReadSnapshot()
	}},
	{name: "1 Go + 2 Java, static", kinds: []kind{goKind, javaKind, javaKind}, static: true, then: func(w *world) {
		w.acceptsUpdates()
		w.upgrades(javaKind)
	}},
	{name: "2 Go + 1 Java, static", kinds: []kind{goKind, goKind, javaKind}, static: true, brief: true, then: func(w *world) { w.upgrades(goKind) }},
	{name: "2 Go + 1 Java, patient", kinds: []kind{goKind, goKind, javaKind}, brief: true, extra: map[string]string{config.QuorumFetchTimeoutMs: "3600000"}, then: func(w *world) {
		w.handsOver("by EndQuorumEpoch: the fetch timeout is an hour")
	}},
	{name: "3 Go + 2 Java", kinds: []kind{goKind, goKind, goKind, javaKind, javaKind}, then: func(w *world) {
		w.probes(goKind)
		w.probes(javaKind)
		w.check("kraft.version is in ApiVersions v4 of every controller, as the add-voter probe needs it", w.requireKRaftVersion)
		w.check("Go and Java controllers list the same APIs and versions", func() { w.requireSameAPIs("API", apiRanges) })
		w.check("Go and Java controllers list the same supported features", func() { w.requireSameAPIs("feature", supportedFeatures) })
		w.check("Go and Java controllers list the same finalized features", func() { w.requireSameAPIs("finalized feature", finalizedFeatures) })
	}},
}

// world runs one scenario. Whatever a Java node logs in a world without Go nodes is allowed in the others.
func (h *harness) world(s scenario) {
	fmt.Fprintf(h.out, "-- %s\n", s.name)
	var w *world
	if err := try(func() { w = h.newWorld(s) }); err != nil {
		h.check(s.name+": is formatted", func() { need(err, "format") })
		return
	}
	defer w.end()
	if s.ahead {
		w.bootstraps(s.most())
	}
	if !w.check("elects a leader, and everyone follows it", func() { w.start() }) {
		for _, n := range w.voters {
			if n.proc != nil {
				fmt.Fprintf(h.out, "%s:\n%s\n", n, tail(n.proc.log, 8))
			}
		}
		return
	}
	w.openLedger()
	w.check("replicates to everyone", w.replicates)
	if !s.brief {
		w.handsOver("to a successor that has its log")
		w.killEach()
	}
	if len(w.of(goKind)) > 0 && !s.brief {
		w.check("a Java controller that starts registers with a Go leader, in every node's log", func() { w.registers(goKind) })
		w.check("a Go controller that starts registers with a Java leader, in every node's log", func() { w.registers(javaKind) })
	}
	if s.then != nil {
		s.then(w)
	}
	w.check("no acknowledged write is lost", func() { w.requireLedger(20) })
	w.check("logs are equal byte for byte up to the high watermark", w.requireSameLogs)
	w.check("no process ends by itself", w.requireAlive)
	if len(w.of(goKind)) == 0 {
		w.learnLines()
		return
	}
	w.check("Java nodes log no warning or error that they don't log among their own", w.requireKnownLines)
	w.check("Go nodes log no error", w.requireNoGoErrors)
}

// replicates: what the leader acknowledged is in every voter's log.
func (w *world) replicates() {
	before := w.ledger.count()
	eventually(electsWithin, "20 writes", func() error {
		if n := w.ledger.count() - before; n < 20 {
			return fmt.Errorf("%d writes", n)
		}
		return nil
	})
	s := w.caughtUp()
	want(len(s.voters) == len(w.voters), "%d voters", len(s.voters))
	for _, n := range w.voters {
		want(w.static || s.voters[n.id] == n.directory, "%s has directory id %s, the leader says %s", n, n.directory, s.voters[n.id])
		want(s.endpoints[n.id] == "CONTROLLER://"+n.addr(), "%s is at %s, the leader says %s", n, n.addr(), s.endpoints[n.id])
	}
}

// writesGoOn waits until a write that began now is acknowledged.
func (w *world) writesGoOn() {
	before := w.ledger.count()
	eventually(electsWithin, "a write", func() error {
		if w.ledger.count() < before+2 { // the first may have been sent before
			return fmt.Errorf("none since %d", before)
		}
		return nil
	})
}

// handsOver stops the leader in order, in each direction there is. how is part of the checks' names.
func (w *world) handsOver(how string) {
	if len(w.of(goKind)) == 0 || len(w.of(javaKind)) == 0 {
		w.check("hands over from Java to Java", func() {
			s := w.caughtUp()
			s.leader.stop()
			w.elected()
			w.repair()
			w.writesGoOn()
		})
		w.check("hands over from Java to Java while the third is paused", func() {
			s := w.caughtUp()
			for _, n := range w.voters {
				if n != s.leader {
					n.pause()
					break
				}
			}
			s.leader.stop()
			w.repair()
			w.writesGoOn()
		})
		return
	}
	for _, from := range []kind{javaKind, goKind} {
		var s *quorumState
		if !w.check(fmt.Sprintf("a %s node leads", from), func() { s = w.lead(from) }) {
			continue
		}
		w.check(fmt.Sprintf("a %s leader that stops hands over to a %s node, %s", from, from.other(), how), func() {
			told := w.ends()
			w.handOver(s, from.other())
			want(from == goKind || w.ends() > told, "no Go node was sent an EndQuorumEpoch")
			w.writesGoOn()
		})
	}
}

// ends counts the EndQuorumEpochs that Go nodes were sent since they started.
func (w *world) ends() (count int) {
	for _, n := range w.of(goKind) {
		count += n.requests("EndQuorumEpoch")
	}
	return count
}

// killEach kills a leader of each kind and then every other voter with kill -9, and waits for each to be back.
func (w *world) killEach() {
	killed := map[*node]bool{}
	kill := func(n *node) {
		killed[n] = true
		n.kill()
		w.elected()
		w.writesGoOn()
		n.start()
		w.caughtUp()
	}
	for _, k := range []kind{javaKind, goKind} {
		if len(w.of(k)) == 0 {
			continue
		}
		w.check(fmt.Sprintf("survives kill -9 of a %s leader: another is elected, writes go on, it comes back", k), func() {
			s := w.lead(k)
			kill(s.leader)
			now := w.elected()
			want(now.epoch > s.epoch, "epoch %d under %s, as before", now.epoch, now.leader)
		})
	}
	for _, n := range w.voters {
		if !killed[n] {
			w.check(fmt.Sprintf("survives kill -9 of %s: writes go on, it comes back", n), func() {
				w.caughtUp()
				kill(n)
			})
		}
	}
}

// registers: a controller of one kind that starts registers with a leader of the other, whose log then holds the new incarnation.
func (w *world) registers(leader kind) {
	s := w.lead(leader)
	n := w.of(leader.other())[0]
	before := w.registrations(n, s)
	n.stop()
	n.start()
	eventually(electsWithin, fmt.Sprintf("%s registers with %s", n, s.leader), func() error {
		now, err := w.state()
		if err != nil {
			return err
		}
		if after := w.registrations(n, now); after <= before {
			return fmt.Errorf("%d registrations under %s leaders, as before", after, leader)
		}
		return nil
	})
	w.requireRecords(recordKind{types: []metadata.RecordType{metadata.TypeRegisterController}}, leader, s.highWatermark)
}

// registrations counts the records of a controller's registrations that the present leader has written in this epoch.
func (w *world) registrations(n *node, s *quorumState) (count int) {
	entries, err := readEntries(s.leader.metadataLog(), s.highWatermark)
	need(err, "the log of %s", s.leader)
	for _, e := range entries {
		if r, ok := e.record.(*metadata.RegisterControllerRecord); ok && r.ControllerID == n.id && e.epoch == s.epoch {
			count++
		}
	}
	return count
}

// requireAlive gives up if a process ended that nobody ended.
func (w *world) requireAlive() {
	for _, p := range w.procs {
		want(!p.endedByItself(), "%s ended: %v\n%s", p.name, p.err, tail(p.log, 20))
	}
}

// javaLines reads what the Java nodes of this world warned of.
func (w *world) javaLines() *lines {
	l := newLines()
	for _, n := range w.all() {
		for _, file := range n.javaLogs {
			need(l.read(file), "read %s", file)
		}
	}
	return l
}

func (w *world) learnLines() {
	seen := w.javaLines()
	for _, line := range seen.without(w.h.allowed) {
		fmt.Fprintf(w.h.out, "      logged among Java nodes: %s\n", line)
	}
	for line, n := range seen.seen {
		w.h.allowed.seen[line] += n
	}
}

func (w *world) requireKnownLines() {
	fresh := w.javaLines().without(w.h.allowed)
	want(len(fresh) == 0, "%s", strings.Join(fresh, "\n"))
}

// requireNoGoErrors gives up if a Go node logged at level ERROR.
func (w *world) requireNoGoErrors() {
	for _, n := range w.all() {
		for _, file := range n.logs {
			for line := range strings.Lines(tail(file, 1<<20)) {
				want(!strings.Contains(line, "level=ERROR"), "%s: %s", n, line)
			}
		}
	}
}
