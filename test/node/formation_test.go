package node_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	quorumadmin "github.com/kraft-dev/kraft-operator/internal/admin"
	"github.com/kraft-dev/kraft-operator/internal/config"
	"github.com/kraft-dev/kraft-operator/internal/uuid"
	"github.com/kraft-dev/kraft-operator/test/cluster"
)

// forming is a cluster of three voters while it forms, and disks that get lost on the way (decision 7).
type forming struct {
	t       *testing.T
	c       *cluster.Cluster
	initial map[int32]string // directory ids that the voters were given
	live    string           // file of the live settings
}

// voters of a forming cluster. Nodes are combined, so that a committed record is a topic.
func newForming(t *testing.T) *forming {
	t.Helper()
	live := filepath.Join(t.TempDir(), "live.properties")
	c := cluster.New(t, cluster.Spec{Controllers: 3, Processes: true, Config: map[string]string{
		config.KraftLiveConfigFile: live, "controller.quorum.election.timeout.ms": "300", "controller.quorum.fetch.timeout.ms": "1000",
		"broker.session.timeout.ms": "2000", "broker.heartbeat.interval.ms": "300", // a killed broker may register again after that
	}})
	f := &forming{t: t, c: c, initial: map[int32]string{}, live: live}
	text, err := os.ReadFile(c.Controllers[0].ConfigFile)
	require.NoError(t, err)
	props, err := config.Parse(text)
	require.NoError(t, err)
	for v := range strings.SplitSeq(props[config.KraftInitialControllers], ",") {
		id, err := strconv.Atoi(v[:strings.Index(v, "@")])
		require.NoError(t, err)
		f.initial[int32(id)] = v[strings.LastIndex(v, ":")+1:]
	}
	require.Len(t, f.initial, 3)
	t.Cleanup(f.oneLeaderAnEpoch)
	return f
}

func (f *forming) start(ids ...int) {
	for _, id := range ids {
		f.c.Controllers[id].Start()
	}
}

func (f *forming) kill(ids ...int) {
	for _, id := range ids {
		f.c.Controllers[id].Kill()
	}
}

// wipe loses disks of nodes that don't run.
func (f *forming) wipe(ids ...int) {
	f.t.Helper()
	for _, id := range ids {
		require.False(f.t, f.c.Controllers[id].Running())
		require.NoError(f.t, os.RemoveAll(f.data(id)))
	}
}

func (f *forming) data(id int) string { return filepath.Join(f.c.Controllers[id].Dir, "data") }

// directory is what a node's disk says that it is; "" while it isn't formatted.
func (f *forming) directory(id int) string {
	text, err := os.ReadFile(filepath.Join(f.data(id), "meta.properties"))
	if err != nil {
		return ""
	}
	props, err := config.Parse(text)
	require.NoError(f.t, err)
	return props["directory.id"]
}

func (f *forming) formatted(ids ...int) {
	f.t.Helper()
	for _, id := range ids {
		f.c.Eventually("formatted", patience, func() bool { return f.directory(id) != "" })
		require.Equal(f.t, f.initial[int32(id)], f.directory(id))
	}
}

// metric of a running node.
func (f *forming) metric(id int, name string) (value float64) {
	f.t.Helper()
	m := regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(name) + ` (\S+)$`).FindStringSubmatch(f.c.Controllers[id].Metrics())
	if m == nil {
		return 0 // a counter that was never raised
	}
	value, err := strconv.ParseFloat(m[1], 64)
	require.NoError(f.t, err)
	return value
}

// serving waits until nodes answer on their HTTP listener.
func (f *forming) serving(ids ...int) {
	f.t.Helper()
	for _, id := range ids {
		n := f.c.Controllers[id]
		f.c.Eventually("serving", patience, func() bool {
			require.True(f.t, n.Running(), "node %d ended: %s", n.ID, n.Log())
			err := n.Ready()
			return err == nil || !strings.Contains(err.Error(), "refused")
		})
	}
}

// electionsInVain lets the nodes that run try some rounds of elections, and requires that none of them has led since.
func (f *forming) electionsInVain(ids ...int) {
	f.t.Helper()
	f.serving(ids...)
	votes := func() (sum float64) {
		for _, id := range ids {
			sum += f.metric(id, `kraft_raft_requests_total{api="Vote"}`)
		}
		return sum
	}
	elected, begin := len(f.elections()), votes()
	f.c.Eventually("six requests for a vote", patience, func() bool { return votes() >= begin+6 || len(f.elections()) > elected })
	require.Len(f.t, f.elections(), elected, "led by fewer than have to agree\n%s", f.c.Logs())
}

// election is what a node logs when it becomes leader.
type election struct{ epoch, from, leader string }

var electedLine = regexp.MustCompile(`leader of epoch (\d+) from offset (\d+), elected by`)

// elections there were, by node.
func (f *forming) elections() (out []election) {
	for _, n := range f.c.Controllers {
		for _, m := range electedLine.FindAllStringSubmatch(n.Log(), -1) {
			out = append(out, election{m[1], m[2], strconv.Itoa(int(n.ID))})
		}
	}
	return out
}

// oneLeaderAnEpoch: of two clusters, each would have one.
func (f *forming) oneLeaderAnEpoch() {
	leaders := map[string]string{}
	for _, e := range f.elections() {
		if was, ok := leaders[e.epoch]; ok {
			f.t.Errorf("epoch %s was led by %s and %s", e.epoch, was, e.leader)
		}
		leaders[e.epoch] = e.leader
	}
}

// formed waits until the initial voters are a quorum that commits, in which all but one who observes take part. The
// observer, if there is one (-1), must have taken a directory id of its own.
func (f *forming) formed(observer int) {
	f.t.Helper()
	var addrs []string
	for _, n := range f.c.Controllers {
		addrs = append(addrs, n.ControllerAddr())
	}
	fresh := func(r quorumadmin.Replica) string { return uuid.UUID(r.DirectoryID).String() }
	var last *quorumadmin.Quorum
	f.c.Eventually("formed", patience, func() bool {
		q, err := quorumadmin.Client{}.DescribeQuorum(f.t.Context(), addrs)
		if err != nil || q.Leader < 0 || q.HighWatermark <= 0 {
			return false
		}
		last = q
		here := func(r quorumadmin.Replica) bool {
			return r.SinceFetch >= 0 && r.LogEndOffset >= q.HighWatermark && fresh(r) == f.directory(int(r.ID))
		}
		for _, v := range q.Voters {
			if int(v.ID) != observer && !here(v) {
				return false
			}
		}
		return observer < 0 || slices.ContainsFunc(q.Observers, func(r quorumadmin.Replica) bool { return int(r.ID) == observer && here(r) })
	})
	voters := map[int32]string{}
	for _, v := range last.Voters {
		voters[v.ID] = fresh(v)
	}
	require.Equal(f.t, f.initial, voters, "the voters are the initial ones")
	if observer >= 0 {
		require.NotEqual(f.t, f.initial[int32(observer)], f.directory(observer), "a disk that was lost is not that voter")
	}
}

// commit creates a topic, which is a committed record when it is acknowledged.
func (f *forming) commit(topic string) {
	f.t.Helper()
	f.c.WaitReady()
	createTopic(f.t, admin(f.c), topic, 1, 1)
}

// stands waits until every node that runs knows a topic.
func (f *forming) stands(topic string) {
	f.t.Helper()
	for _, n := range f.c.Controllers {
		f.c.Eventually("topic "+topic+" is known", patience, func() bool {
			_, err := topicOf(f.t, n, topic)
			return err == nil || !n.Running()
		})
	}
}

// TestADiskIsLostWhileTheQuorumForms: whichever disk is lost at whichever step, there is never a second quorum, and what was
// committed stays.
func TestADiskIsLostWhileTheQuorumForms(t *testing.T) {
	t.Parallel()
	for name, story := range map[string]func(*forming){
		"formatted and not yet elected":              lostBeforeElection,
		"after elections in vain":                    lostInVainElection,
		"of the first leader":                        lostFirstLeader,
		"of a leader with records that nobody has":   lostUncommitted,
		"of a follower after records were committed": lostCommitted,
		"two after records were committed":           lostMajority,
		"once formed":                                lostOnceFormed,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			story(newForming(t))
		})
	}
}

// lostBeforeElection: nobody has heard of the node, so formatted again it is the voter that it was.
func lostBeforeElection(f *forming) {
	f.start(0)
	f.formatted(0)
	f.kill(0)
	f.wipe(0)
	f.start(0, 1)
	f.electionsInVain(0, 1) // two of three would do once formed; forming takes all
	f.start(2)
	f.formed(-1)
	f.commit("kept")
	f.stands("kept")
}

// lostInVainElection: what a voter promised to a pair that couldn't form the quorum may be forgotten with its disk.
func lostInVainElection(f *forming) {
	f.start(0, 1)
	f.electionsInVain(0, 1)
	f.kill(0, 1)
	f.wipe(0)
	f.start(0)
	f.formatted(0)
	f.start(1)
	f.electionsInVain(0, 1)
	f.start(2)
	f.formed(-1)
	f.commit("kept")
}

// lostFirstLeader: its records may have reached nobody, some or all. Either the quorum forms again with all of them, or it
// goes on and the node observes.
func lostFirstLeader(f *forming) {
	f.start(0, 1, 2)
	f.c.Eventually("a first leader", patience, func() bool { return len(f.elections()) > 0 })
	first, err := strconv.Atoi(f.elections()[0].leader)
	require.NoError(f.t, err)
	f.kill(first)
	f.wipe(first)
	f.start(first)
	f.c.WaitReady()
	if f.directory(first) == f.initial[int32(first)] {
		f.formed(-1)
	} else {
		f.formed(first)
	}
	f.commit("kept")
	f.stands("kept")
}

// frozen tells whether every thread of a process has taken SIGSTOP; the signal is sent before that.
func frozen(pid int) bool {
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
	for _, file := range threads {
		stat, readErr := os.ReadFile(file)
		_, state, ok := strings.Cut(string(stat), ") ")
		if readErr != nil || !ok || state[0] != 'T' {
			return false
		}
	}
	return err == nil && len(threads) > 0
}

// lostUncommitted: the followers are stopped while the leader writes, and the leader's disk is lost with what it wrote.
func lostUncommitted(f *forming) {
	f.start(0, 1, 2)
	f.formed(-1)
	f.commit("kept")
	leader := activeController(f.t, f.c)
	var others []*cluster.Node
	for _, n := range f.c.Controllers {
		if n != leader {
			others = append(others, n)
			require.NoError(f.t, syscall.Kill(n.PID(), syscall.SIGSTOP))
		}
	}
	for _, n := range others {
		f.c.Eventually("every thread stands still", patience, func() bool { return frozen(n.PID()) })
	}
	written := make(chan error, 1)
	go func() { written <- createOn(f, leader, "uncommitted") }()
	f.c.Eventually("a record that isn't committed", patience, func() bool { return f.metric(int(leader.ID), "kraft_raft_uncommitted_offsets") > 0 })
	leader.Kill()
	require.Error(f.t, <-written, "nobody else has it")
	f.wipe(int(leader.ID))
	for _, n := range others {
		require.NoError(f.t, syscall.Kill(n.PID(), syscall.SIGCONT))
	}
	leader.Start()
	f.formed(int(leader.ID))
	f.stands("kept")
}

// createOn asks one broker, once, for a topic.
func createOn(f *forming, n *cluster.Node, topic string) error {
	cl, err := kgo.NewClient(kgo.SeedBrokers(n.Addr()))
	if err != nil {
		return err
	}
	defer cl.Close()
	req := kmsg.NewPtrCreateTopicsRequest()
	req.Topics = append(req.Topics, kmsg.CreateTopicsRequestTopic{Topic: topic, NumPartitions: 1, ReplicationFactor: 1})
	_, err = cl.SeedBrokers()[0].Request(f.t.Context(), req)
	return err
}

// lostCommitted: the voter that forgot helps nobody to lead who may know less than was committed, and observes.
func lostCommitted(f *forming) {
	f.start(0, 1, 2)
	f.formed(-1)
	f.commit("kept")
	f.kill(0, 1, 2)
	f.wipe(0)
	f.start(0, 1)
	f.electionsInVain(0, 1) // the vote of a disk without memory doesn't count
	f.start(2)
	f.formed(0)
	f.stands("kept")
}

// lostMajority: the quorum is gone, and nobody makes another one. The disk that is left stays as it was.
func lostMajority(f *forming) {
	f.start(0, 1, 2)
	f.formed(-1)
	f.commit("kept")
	f.stands("kept")
	f.kill(0, 1, 2)
	f.wipe(0, 1)
	f.start(0, 1)
	f.electionsInVain(0, 1)
	f.start(2)
	f.electionsInVain(0, 1, 2)
	f.kill(0, 1, 2)
	require.Equal(f.t, f.initial[2], f.directory(2))
	log, err := os.ReadFile(filepath.Join(f.data(2), "__cluster_metadata-0", "00000000000000000000.log"))
	require.NoError(f.t, err)
	require.True(f.t, bytes.Contains(log, []byte("kept")))
}

// lostOnceFormed: without the permit to form, an empty disk is a new one from its first moment.
func lostOnceFormed(f *forming) {
	f.start(0, 1, 2)
	f.formed(-1)
	f.commit("kept")
	require.NoError(f.t, os.WriteFile(f.live, []byte(config.KraftFormationPermit+"=false\n"), 0o600))
	f.kill(1)
	f.wipe(1)
	f.start(1)
	f.formed(1)
	f.stands("kept")
	f.kill(0, 1, 2)
	f.wipe(0)
	f.start(0)
	f.c.Eventually("formatted", patience, func() bool { return f.directory(0) != "" })
	require.NotEqual(f.t, f.initial[0], f.directory(0), "it has met nobody, and yet it isn't the voter")
	f.start(1, 2)
	f.electionsInVain(0, 1, 2) // of three voters one is left
}
