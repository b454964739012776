package main

import (
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strconv"

	"github.com/kraft-dev/kraft-operator/internal/uuid"
)

// acceptsUpdates: with kraft.version 0 each Java voter tells each new leader once who it is, and goes on telling if that is refused.
func (w *world) acceptsUpdates() {
	w.check("Java voters' UpdateRaftVoter is accepted by a Go leader, without an echo", func() {
		w.lead(javaKind)
		for _, n := range w.of(goKind) { // their counters begin anew
			n.stop()
			n.start()
		}
		s := w.lead(goKind)
		eventually(electsWithin, "UpdateRaftVoter of every Java voter", func() error {
			if got := s.leader.requests("UpdateRaftVoter"); got < len(w.of(javaKind)) {
				return fmt.Errorf("%d", got)
			}
			return nil
		})
		// Refused voters ask again after the fetch timeout, 2 s: 10 s of the controller's own records are enough to see it.
		before := w.elected()
		eventually(electsWithin, "20 records", func() error {
			now, err := w.state()
			if err == nil && now.highWatermark < before.highWatermark+20 {
				err = fmt.Errorf("%d", now.highWatermark-before.highWatermark)
			}
			return err
		})
		now := w.elected()
		want(now.leader == s.leader && now.epoch == s.epoch, "%s leads in epoch %d", now.leader, now.epoch)
		want(s.leader.requests("UpdateRaftVoter") == len(w.of(javaKind)), "%d requests", s.leader.requests("UpdateRaftVoter"))
	})
}

// requests reads from a Go node's metrics how many requests of a raft API it was sent.
func (n *node) requests(api string) int {
	resp, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/metrics", n.httpPort))
	need(err, "metrics of %s", n)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	need(err, "metrics of %s", n)
	m := regexp.MustCompile(`(?m)^kraft_raft_requests_total\{api="` + api + `"\} (\d+)$`).FindSubmatch(body)
	if m == nil {
		return 0
	}
	count, err := strconv.Atoi(string(m[1]))
	need(err, "metrics of %s", n)
	return count
}

// upgrades moves the static voters to dynamic ones by Apache Kafka's own command, under a leader of this kind; the next, of the other kind, goes on.
func (w *world) upgrades(leader kind) {
	w.check(fmt.Sprintf("a %s leader raises kraft.version to 1: the log names every voter with its disk", leader), func() {
		s := w.lead(leader)
		eventually(electsWithin, "the leader knows every voter", func() error {
			return try(func() {
				w.h.kafkaTool("org.apache.kafka.tools.FeatureCommand", "--bootstrap-controller", s.leader.addr(), "upgrade", "--feature", "kraft.version=1")
			})
		})
		eventually(electsWithin, "voters with directory ids", func() error {
			now, err := w.state()
			if err != nil {
				return err
			}
			for _, n := range w.voters {
				if now.voters[n.id] != n.directory || n.directory == uuid.Zero {
					return fmt.Errorf("%s is %s", n, now.voters[n.id])
				}
			}
			return nil
		})
		w.caughtUp()
	})
	w.check(fmt.Sprintf("a %s leader goes on with the voters that a %s leader wrote down", leader.other(), leader), func() {
		s := w.lead(leader.other())
		for _, n := range w.voters {
			want(s.voters[n.id] == n.directory, "%s is %s", n, s.voters[n.id])
		}
		w.writesGoOn()
	})
}
