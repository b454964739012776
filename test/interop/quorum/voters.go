package main

import (
	"fmt"
	"os"
	"slices"
	"strings"
)

// joinsAndLeaves lets a controller of one kind join a quorum under a leader of the other kind: it observes, from the
// leader's snapshot on, is added, and is removed.
func (w *world) joinsAndLeaves(joiner, leader kind) {
	n := w.newNode(int32(10+int(joiner)), joiner)
	n.joins = true
	what := fmt.Sprintf("a %s controller under a %s leader ", joiner, leader)
	if !w.check(what+"fetches its snapshot in several chunks and follows it", func() {
		s := w.lead(leader)
		w.writeMany(s.leader)
		w.hasSnapshotBehind(s.leader, s.highWatermark+observed/2)
		chunks := 0
		if leader == goKind {
			chunks = -s.leader.requests("FetchSnapshot")
		}
		n.format()
		w.brokers = append(w.brokers, n) // an observer so far
		n.start()
		w.caughtUp()
		w.requireSameSnapshot(n, s.leader)
		if leader == goKind {
			chunks += s.leader.requests("FetchSnapshot")
			want(chunks > 3, "fetched by %d requests", chunks)
		}
	}) {
		return
	}
	defer func() {
		w.brokers = slices.DeleteFunc(w.brokers, func(b *node) bool { return b == n })
		w.gone = append(w.gone, n)
	}()
	if w.check(what+"is added by "+voterTool[leader], func() {
		w.addVoter(w.lead(leader), n)
		eventually(electsWithin, fmt.Sprintf("%s votes", n), func() error { return w.votes(n, true) })
		w.caughtUp()
		w.writesGoOn()
	}) {
		w.check(what+"is removed by "+voterTool[leader], func() {
			w.removeVoter(w.lead(leader), n)
			eventually(electsWithin, fmt.Sprintf("%s observes", n), func() error { return w.votes(n, false) })
			w.caughtUp()
			w.writesGoOn()
		})
	}
	w.check(what+"stops in order", n.stop)
}

// voterTool is what changes the voters under a leader of a kind: the other kind's own.
var voterTool = map[kind]string{goKind: "MetadataQuorumCommand", javaKind: "kraftd quorum"}

func (w *world) addVoter(s *quorumState, n *node) {
	if s.leader.kind == goKind {
		w.quorumCommand(s, "--command-config", n.writeConfig(), "add-controller")
		return
	}
	w.kraftdQuorum("add", "--id", fmt.Sprint(n.id), "--directory", n.directory.String(), "--endpoint", "CONTROLLER://"+n.addr())
}

func (w *world) removeVoter(s *quorumState, n *node) {
	if s.leader.kind == goKind {
		w.quorumCommand(s, "remove-controller", "--controller-id", fmt.Sprint(n.id), "--controller-directory-id", n.directory.String())
		return
	}
	w.kraftdQuorum("remove", fmt.Sprint(n.id), "--directory", n.directory.String())
}

// quorumCommand runs Apache Kafka's command for the quorum at the leader.
func (w *world) quorumCommand(s *quorumState, args ...string) string {
	return w.h.kafkaTool("org.apache.kafka.tools.MetadataQuorumCommand", append([]string{"--bootstrap-controller", s.leader.addr()}, args...)...)
}

// kraftdQuorum runs ours.
func (w *world) kraftdQuorum(args ...string) string {
	return w.h.tool(append([]string{w.h.kraftd, "quorum", "--bootstrap-controller", strings.Join(w.bootstrap(), ",")}, args...)...)
}

// describesItself: each kind's tool describes a quorum under a leader of the other kind, and ours hands over where a Go node leads.
func (w *world) describesItself() {
	w.check("MetadataQuorumCommand describes the quorum under a Go leader", func() {
		s := w.lead(goKind)
		status := w.quorumCommand(s, "describe", "--status")
		for _, words := range []string{"ClusterId:              " + w.clusterID, fmt.Sprintf("LeaderId:               %d", s.leader.id), fmt.Sprintf("LeaderEpoch:            %d", s.epoch)} {
			want(strings.Contains(status, words), "no %q in\n%s", words, status)
		}
		replication := w.quorumCommand(s, "describe", "--replication")
		for _, n := range w.voters {
			want(strings.Contains(replication, n.directory.String()), "no %s in\n%s", n, replication)
		}
	})
	w.check("kraftd quorum transfer has a Go leader hand over to a Java voter", func() {
		w.lead(goKind)
		to := w.of(javaKind)[0]
		w.kraftdQuorum("transfer", fmt.Sprint(to.id))
		now := w.caughtUp()
		want(now.leader == to, "%s leads", now.leader)
		w.writesGoOn()
	})
	w.check("kraftd quorum status describes the quorum under a Java leader, and transfer says \"not supported\"", func() {
		s := w.lead(javaKind)
		status := w.kraftdQuorum("status")
		want(strings.Contains(status, fmt.Sprintf("leader %d, epoch %d,", s.leader.id, s.epoch)), "%s", status)
		for _, n := range w.voters {
			want(strings.Contains(status, n.directory.String()), "no %s in\n%s", n, status)
		}
		err := try(func() { w.kraftdQuorum("transfer", fmt.Sprint(w.of(goKind)[0].id)) })
		want(err != nil && strings.Contains(err.Error(), "not supported"), "transfer: %v", err)
		now := w.elected()
		want(now.leader == s.leader && now.epoch == s.epoch, "%s leads in epoch %d", now.leader, now.epoch)
	})
}

// votes tells whether the leader counts a node among the voters, with its directory id, as expected.
func (w *world) votes(n *node, expected bool) error {
	s, err := w.state()
	if err != nil {
		return err
	}
	if directory, votes := s.voters[n.id]; votes != expected || (votes && directory != n.directory) {
		return fmt.Errorf("voters of %s: %v", s.leader, s.voters)
	}
	return nil
}

// moves lets a voter of one kind come back at another address: it tells the leader, of the other kind, who writes it down.
func (w *world) moves(voter, leader kind) {
	w.check(fmt.Sprintf("a %s voter that moved tells a %s leader by UpdateRaftVoter", voter, leader), func() {
		w.lead(leader)
		n := w.of(voter)[0]
		n.stop()
		n.port = w.h.port()
		n.start()
		w.votersMoved()
		eventually(electsWithin, "the new address is known", func() error {
			s, err := w.state()
			if err == nil && s.endpoints[n.id] != "CONTROLLER://"+n.addr() {
				err = fmt.Errorf("%s says %s", s.leader, s.endpoints[n.id])
			}
			return err
		})
		w.caughtUp()
		w.writesGoOn()
	})
}

// joinsByItself lets a controller of one kind with controller.quorum.auto.join.enable become a voter under a leader of the other kind,
// then with an empty disk in place of its own.
func (w *world) joinsByItself(joiner, leader kind) {
	n := w.newNode(int32(20+int(joiner)), joiner)
	n.joins, n.autoJoins = true, true
	what := fmt.Sprintf("a %s controller under a %s leader ", joiner, leader)
	join := func() {
		w.lead(leader)
		n.format()
		n.start()
		eventually(electsWithin, fmt.Sprintf("%s votes", n), func() error { return w.votes(n, true) })
		w.caughtUp()
	}
	defer func() { w.gone = append(w.gone, n) }()
	if !w.check(what+"joins by itself", join) {
		return
	}
	w.check(what+"whose disk was replaced takes its own place", func() {
		n.stop()
		need(os.RemoveAll(n.data()), "a new disk for %s", n)
		before := n.directory
		join()
		want(n.directory != before, "%s has the directory id of its old disk", n)
	})
	w.check(what+"is removed when it is down", func() {
		n.stop() // running, it would join again
		w.removeVoter(w.lead(leader), n)
		eventually(electsWithin, fmt.Sprintf("%s is no voter", n), func() error { return w.votes(n, false) })
	})
}

// leaderLeaves removes the leader, which resigns when that is committed, and adds it again.
func (w *world) leaderLeaves(leader kind) {
	var left *node
	if !w.check(fmt.Sprintf("a %s leader that is removed from the voters gives way to another", leader), func() {
		s := w.lead(leader)
		left = s.leader
		w.removeVoter(s, left)
		eventually(electsWithin, "another leader", func() error {
			now, err := w.state()
			if err == nil && now.leader == left {
				err = fmt.Errorf("%s leads", left)
			}
			return err
		})
		need(w.votes(left, false), "removed")
		w.caughtUp()
		w.writesGoOn()
	}) {
		return
	}
	w.check(fmt.Sprintf("a %s leader that was removed votes again when its successor adds it", leader), func() {
		w.addVoter(w.elected(), left)
		eventually(electsWithin, fmt.Sprintf("%s votes", left), func() error { return w.votes(left, true) })
		w.caughtUp()
	})
}
