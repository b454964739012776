package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kraft-dev/kraft-operator/internal/uuid"
)

// metadataTopic is the topic of the metadata log.
const metadataTopic = "__cluster_metadata"

// electsWithin bounds an election, and a start: a JVM of a busy machine may need half a minute. Only a failure waits for it.
const electsWithin = 2 * time.Minute

// succeedsWithin is how long after an orderly stop somebody leads: some rounds of elections on a busy machine.
const succeedsWithin = 10 * time.Second

// world is one quorum with its observers.
type world struct {
	h         *harness
	name      string
	dir       string
	clusterID string
	extra     map[string]string // settings of all nodes
	static    bool              // controller.quorum.voters, kraft.version 0
	voters    []*node
	brokers   []*node
	gone      []*node // brokers that left
	procs     []*process
	ledger    *ledger
	seen      map[sighting]bool // what requireRecords has met
}

// newWorld makes the formatted quorum of a scenario, ids from 1. Nothing runs yet.
func (h *harness) newWorld(s scenario) *world {
	id, err := uuid.New(rand.Reader)
	need(err, "cluster id")
	dir := filepath.Join(h.dir, strings.NewReplacer(" ", "", "+", "-", ",", "-").Replace(s.name))
	w := &world{h: h, name: s.name, dir: dir, clusterID: id.String(), extra: s.extra, static: s.static, seen: map[sighting]bool{}}
	for i, k := range s.kinds {
		w.voters = append(w.voters, w.newNode(int32(i+1), k))
	}
	for _, n := range w.voters {
		n.format()
	}
	return w
}

func (w *world) newNode(id int32, k kind) *node {
	directory, err := uuid.New(rand.Reader)
	need(err, "directory id")
	return &node{w: w, id: id, kind: k, directory: directory, port: w.h.port(), httpPort: w.h.port(), tokenPort: w.h.port()}
}

// all are the voters, then the brokers, those that left too.
func (w *world) all() []*node { return slices.Concat(w.voters, w.brokers, w.gone) }

func (w *world) bootstrap() (servers []string) {
	for _, n := range w.voters {
		servers = append(servers, n.addr())
	}
	return servers
}

// staticVoters is controller.quorum.voters.
func (w *world) staticVoters() string {
	var all []string
	for _, n := range w.voters {
		all = append(all, fmt.Sprintf("%d@%s", n.id, n.addr()))
	}
	return strings.Join(all, ",")
}

func (w *world) initialControllers() string {
	var all []string
	for _, n := range w.voters {
		all = append(all, fmt.Sprintf("%d@%s:%s", n.id, n.addr(), n.directory))
	}
	return strings.Join(all, ",")
}

// end kills what still runs in this world.
func (w *world) end() {
	if w.ledger != nil {
		w.ledger.stop()
	}
	for _, p := range w.procs {
		p.kill()
	}
}

// check is a named check of this world. One that fails may leave nodes down or paused: the next begins with all of them.
func (w *world) check(name string, f func()) bool {
	ok := w.h.check(w.name+": "+name, f)
	if !ok {
		for _, n := range w.all() {
			if line := n.complaint(); line != "" {
				fmt.Fprintf(w.h.out, "      the last complaint of %s: %s\n", n, line)
			}
		}
		_ = try(w.repair)
	}
	return ok
}

// node is the voter with this id.
func (w *world) node(id int32) *node {
	for _, n := range w.voters {
		if n.id == id {
			return n
		}
	}
	failf("node %d is no voter", id)
	return nil
}

// of returns the voters of a kind.
func (w *world) of(k kind) (all []*node) {
	for _, n := range w.voters {
		if n.kind == k {
			all = append(all, n)
		}
	}
	return all
}

// quorumState is what the leader says.
type quorumState struct {
	leader        *node
	epoch         int32
	highWatermark int64
	ends          map[int32]int64 // log end offsets by replica id, observers' too
	voters        map[int32]uuid.UUID
	endpoints     map[int32]string
}

// describe asks one node, which answers only if it leads.
func (w *world) describe(n *node) (*quorumState, error) {
	req := newest(kmsg.NewPtrDescribeQuorumRequest())
	p := kmsg.NewDescribeQuorumRequestTopicPartition()
	topic := kmsg.NewDescribeQuorumRequestTopic()
	topic.Topic, topic.Partitions = metadataTopic, append(topic.Partitions, p)
	req.Topics = append(req.Topics, topic)
	resp, err := ask[*kmsg.DescribeQuorumResponse](n.addr(), req)
	if err != nil {
		return nil, err
	}
	if err := kerr.ErrorForCode(resp.ErrorCode); err != nil {
		return nil, err
	}
	if len(resp.Topics) != 1 || len(resp.Topics[0].Partitions) != 1 {
		return nil, fmt.Errorf("%s describes %d topics", n, len(resp.Topics))
	}
	got := resp.Topics[0].Partitions[0]
	if err := kerr.ErrorForCode(got.ErrorCode); err != nil {
		return nil, err
	}
	s := &quorumState{leader: w.node(got.LeaderID), epoch: got.LeaderEpoch, highWatermark: got.HighWatermark,
		ends: map[int32]int64{}, voters: map[int32]uuid.UUID{}, endpoints: map[int32]string{}}
	for _, v := range got.CurrentVoters {
		s.ends[v.ReplicaID], s.voters[v.ReplicaID] = v.LogEndOffset, v.ReplicaDirectoryID
	}
	for _, o := range got.Observers {
		s.ends[o.ReplicaID] = o.LogEndOffset
	}
	for _, node := range resp.Nodes {
		for _, l := range node.Listeners {
			if l.Name != "CONTROLLER" {
				continue
			}
			s.endpoints[node.NodeID] = fmt.Sprintf("%s://%s:%d", l.Name, l.Host, l.Port)
		}
	}
	return s, nil
}

// alive is an error if a node's process has ended though nobody ended it.
func (w *world) alive() error {
	for _, n := range w.all() {
		if n.proc != nil && n.proc.endedByItself() {
			return fmt.Errorf("%w: %s ended: %w\n%s", errHopeless, n.proc.name, n.proc.err, tail(n.proc.log, 12))
		}
	}
	return nil
}

// state asks every node and returns what the leader of the newest epoch says.
func (w *world) state() (*quorumState, error) {
	var best *quorumState
	var errs []error
	if err := w.alive(); err != nil {
		return nil, err
	}
	for _, n := range w.voters {
		if !n.answers() {
			continue
		}
		s, err := w.describe(n)
		switch {
		case err != nil:
			errs = append(errs, fmt.Errorf("%s: %w", n, err))
		case s.leader != n:
			errs = append(errs, fmt.Errorf("%s answers for %s", n, s.leader))
		case best == nil || s.epoch > best.epoch:
			best = s
		}
	}
	if best == nil {
		return nil, fmt.Errorf("no leader: %w", errors.Join(errs...))
	}
	return best, nil
}

// elected waits for a leader that has committed in its own epoch.
func (w *world) elected() (s *quorumState) {
	eventually(electsWithin, w.name+": a leader with a high watermark", func() (err error) {
		if s, err = w.state(); err == nil && s.highWatermark < 0 {
			err = fmt.Errorf("%s has no high watermark in epoch %d", s.leader, s.epoch)
		}
		return err
	})
	return s
}

// caughtUp waits until every voter that runs, and every broker, has all that is committed now. It returns the leader's last word, with
// the high watermark that all have.
func (w *world) caughtUp() (s *quorumState) {
	target := w.elected().highWatermark
	eventually(electsWithin, fmt.Sprintf("%s: everyone has offset %d", w.name, target), func() (err error) {
		if s, err = w.state(); err != nil {
			return err
		}
		if s.highWatermark < target {
			return fmt.Errorf("high watermark %d", s.highWatermark)
		}
		for _, n := range w.all() {
			if !n.up() {
				continue
			}
			if err := n.started(); err != nil {
				return err
			}
			if end, known := s.ends[n.id]; !known || end < target {
				return fmt.Errorf("%s has %d (known: %t)", n, end, known)
			}
		}
		return nil
	})
	s.highWatermark = target
	return s
}

// start starts every voter that is down and waits until all take part.
func (w *world) start() *quorumState {
	for _, n := range w.voters {
		if !n.up() {
			n.start()
		}
	}
	return w.caughtUp()
}

// onLeader sends a request to the active controller until the answer isn't NOT_CONTROLLER, and returns the answer.
// refused tells an answer's error code.
func onLeader[T kmsg.Response](w *world, req kmsg.Request, refused func(T) int16) (resp T) {
	eventually(electsWithin, kmsg.NameForKey(req.Key()), func() error {
		s, err := w.state()
		if err != nil {
			return err
		}
		if resp, err = ask[T](s.leader.addr(), req); err != nil {
			return err
		}
		if code := refused(resp); code == kerr.NotController.Code {
			return kerr.NotController
		}
		return nil
	})
	return resp
}

// lead makes a node of kind k the leader and returns the state under it, with everybody back.
func (w *world) lead(k kind) *quorumState {
	s := w.caughtUp()
	if s.leader.kind == k {
		return s
	}
	return w.handOver(s, k)
}

// handOvers bounds how often handOver tries again.
const handOvers = 4

// handOver stops the leader in order such that a node of kind k succeeds it, and starts it again. The other voters of the leader's
// kind are paused meanwhile. An Apache Kafka leader doesn't wait for its successor to have its whole log, and then nobody is left who
// would be elected: the ledger rests, but a record of the controller's own (one each 500 ms) may come in between. Then it is tried again.
func (w *world) handOver(s *quorumState, k kind) *quorumState {
	for attempt := 1; ; attempt++ {
		old := s.leader
		var left []*node
		for _, n := range w.of(k.other()) {
			if n != old {
				left = append(left, n)
			}
		}
		next := w.stopLeader(s, w.of(k)[0], left)
		w.repair()
		s = w.caughtUp()
		if next != nil && next.leader != old {
			want(next.leader.kind == k, "%s succeeded %s", next.leader, old)
			want(next.epoch == s.epoch, "%s led in epoch %d, now it is epoch %d under %s", next.leader, next.epoch, s.epoch, s.leader)
			return s
		}
		want(attempt < handOvers, "%s stopped in order %d times, and no %s node has succeeded it", old, attempt, k)
		if s.leader.kind == k {
			return s
		}
	}
}

// stopLeader stops the leader in order while some voters are paused, once to has its whole log. It returns the state under the successor,
// nil if there is none.
func (w *world) stopLeader(s *quorumState, to *node, paused []*node) (next *quorumState) {
	for _, n := range paused {
		if n.up() {
			n.pause()
		}
	}
	w.ledger.hold()
	defer w.ledger.release()
	eventually(electsWithin, fmt.Sprintf("%s has the whole log of %s", to, s.leader), func() error {
		now, err := w.describe(s.leader)
		if err != nil {
			return err
		}
		if now.ends[to.id] != now.ends[s.leader.id] {
			return fmt.Errorf("%s has %d of %d", to, now.ends[to.id], now.ends[s.leader.id])
		}
		return nil
	})
	s.leader.stop()
	if try(func() {
		eventually(succeedsWithin, "a successor", func() (err error) {
			next, err = w.state()
			return err
		})
	}) != nil {
		return nil
	}
	return next
}

// repair resumes who is paused and starts who is down.
func (w *world) repair() {
	for _, n := range w.voters {
		if n.up() {
			n.resume()
		} else {
			n.start()
		}
	}
}
