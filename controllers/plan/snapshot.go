// Package plan decides what the operator does next. Every planner is a function of one observed snapshot: no client,
// no clock, no randomness, so that the rules can be read and tried in simulated worlds.
package plan

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/kraft-dev/kraft-operator/controllers/plan/planted"
)

// Snapshot is the cluster as one pass saw it.
type Snapshot struct {
	Now    time.Time
	Formed bool
	Nodes  []Node // every node the cluster shall have, ascending by id
	// Quorum is nil while no controller answers for the quorum.
	Quorum *Quorum
	// Partitions is nil while no broker that keeps up answers for the topics.
	Partitions *Partitions

	// Gone are the voters that don't keep up; see Clock.
	Gone []GoneVoter
	// Lost are the brokers that are fenced and don't run; see ClockBrokers.
	Lost []LostBroker
	// Pending is the last change of the voters, until it is seen in force or given up.
	Pending *VoterChange
	// InVain are observers whose addition was refused or not made of late, the last one last: others are asked for first.
	InVain []Voter
	// Restarting is the node that a roll has taken down last; -1 none.
	Restarting int32
	// Batch is the brokers that a roll takes down together, as recorded.
	Batch []BatchPod
	// MaxUnavailable is how many brokers may be down at once by a roll's act; less than 1 is 1.
	MaxUnavailable int
	Paused         bool
	// LastAnswer is when a leader was last heard of, before this pass.
	LastAnswer time.Time
}

// Node is one member: a StatefulSet of one pod.
type Node struct {
	ID                 int32
	Name               string // of the StatefulSet
	Controller, Broker bool
	Zone               string // "" not known
	Want               string // hash of the template the spec asks for
	Has                string // hash of the StatefulSet's template; "" while there is none
	Leaving            bool   // recorded: it is being taken out
	Refused            bool   // it is new and can't be made: nobody waits for it
	Stopped            bool   // its StatefulSet asks for no pod, or there is none
	Pod                *Pod   // nil while there is none
	// Podless is since when, without one, a pod is known to be missing that its StatefulSet asks for; zero: not known.
	Podless time.Time
}

// Pod is a node's pod.
type Pod struct {
	Name        string
	UID         types.UID
	Hash        string // of the template it was made from
	Ready       bool
	ReadySince  time.Time // that it is Ready, or that it isn't any more; by the kubelet's clock, whole seconds
	Terminating bool
	// StopBy is, of a pod that terminates, when its grace period ends.
	StopBy time.Time
	// Restart: somebody asks for a restart of this very pod.
	Restart bool
	// Broken says why the container isn't running and won't run by itself, such as ImagePullBackOff; "" otherwise.
	Broken string
	// Created is when the pod was made.
	Created time.Time
}

// Quorum is the active controller's word on the metadata quorum.
type Quorum struct {
	Leader        int32 // -1 none
	Epoch         int32
	HighWatermark int64
	Voters        []Replica
	Observers     []Replica
	// Settled: this set of voters is committed. Moves: so is the end of the log, or the high watermark moved lately.
	Settled, Moves bool
}

// Replica is a voter or an observer of the metadata log.
type Replica struct {
	ID           int32
	DirectoryID  string
	LogEndOffset int64
	// SinceFetch is the time since the leader saw its last fetch; negative: never, in this epoch.
	SinceFetch time.Duration
	// SinceCaughtUp is the time since it had all of the leader's log; negative: never, in this epoch.
	SinceCaughtUp time.Duration
}

// Partitions is what the brokers say of the topics.
type Partitions struct {
	// Unfenced brokers, by id.
	Unfenced []int32
	// Short counts, by broker, the partitions that would have fewer in-sync replicas than min.insync.replicas without
	// it. Partitions with no more replicas than that minimum aren't counted: no order of restarts can hold them up.
	Short map[int32]int
	// Example is, by broker, one such partition.
	Example map[int32]string
	// Sets are the same partitions' replicas: few, as many partitions share one.
	Sets []ReplicaSet
	// Offline is the number of partitions without a leader.
	Offline int
}

// Bounds within which a voter keeps up. A fetch is due every 500 ms on an idle cluster; the follower's own fetch
// timeout is 2 s.
const (
	MaxSinceFetch = 4 * time.Second
	MaxLag        = int64(1000)
)

// KeepsUp tells whether a replica follows the leader closely enough to take its place.
func (q *Quorum) KeepsUp(r Replica) bool {
	if r.ID == q.Leader {
		return true
	}
	return r.SinceFetch >= 0 && r.SinceFetch <= MaxSinceFetch && (q.leaderEnd()-r.LogEndOffset <= MaxLag || planted.Bug == planted.LagUnseen)
}

// Current are the nodes that had all of the leader's log within MaxSinceFetch, who has most of it first: what they say of
// the cluster is so. Any other may be cut off from the quorum, and serve what it knew then. A node that changed its disk
// has two entries, and is here twice if both are recent.
func (q *Quorum) Current() (ids []int32) {
	rs := slices.DeleteFunc(slices.Concat(q.Voters, q.Observers), func(r Replica) bool {
		return q.Leader < 0 || r.SinceCaughtUp < 0 || r.SinceCaughtUp > MaxSinceFetch
	})
	slices.SortStableFunc(rs, func(a, b Replica) int {
		return cmp.Or(cmp.Compare(b.LogEndOffset, a.LogEndOffset), cmp.Compare(a.SinceCaughtUp, b.SinceCaughtUp))
	})
	for _, r := range rs {
		ids = append(ids, r.ID)
	}
	return ids
}

// Lag is the leader's log end offset less the replica's; -1 when either is unknown.
func (q *Quorum) Lag(r Replica) int64 {
	if r.LogEndOffset < 0 || q.leaderEnd() < 0 {
		return -1
	}
	return max(0, q.leaderEnd()-r.LogEndOffset)
}

func (q *Quorum) leaderEnd() int64 {
	for _, v := range q.Voters {
		if v.ID == q.Leader {
			return v.LogEndOffset
		}
	}
	return -1
}

// Voter tells whether the node votes.
func (q *Quorum) Voter(id int32) bool {
	return slices.ContainsFunc(q.Voters, func(r Replica) bool { return r.ID == id })
}

// KeepingUp counts the voters that keep up.
func (q *Quorum) KeepingUp() int {
	n := 0
	for _, v := range q.Voters {
		if q.KeepsUp(v) {
			n++
		}
	}
	return n
}

// missWithout says why the quorum can't spare a node now; "" when it can. A single voter is never spared by waiting,
// so it isn't waited for.
func (s Snapshot) missWithout(id int32) string {
	q := s.Quorum
	switch {
	case q == nil:
		return "no controller answers for the quorum"
	case q.Leader < 0:
		return "the quorum has no leader"
	case !q.Voter(id) || len(q.Voters) == 1:
		return ""
	}
	left := 0
	for _, v := range q.Voters {
		if v.ID != id && q.KeepsUp(v) && !s.leaves(v.ID) {
			left++
		}
	}
	if majority := len(q.Voters)/2 + 1; left < majority && planted.Bug != planted.MajorityUnspared {
		return fmt.Sprintf("without it %d of %d voters keep up, a majority is %d", left, len(q.Voters), majority)
	}
	return ""
}

// leaves tells whether a node has no pod, or one that terminates: its last fetch says nothing of the next.
func (s Snapshot) leaves(id int32) bool {
	return slices.ContainsFunc(s.Nodes, func(n Node) bool { return n.ID == id && (n.Pod == nil || n.Pod.Terminating) })
}

// shortWithout says why the topics can't spare a broker now; "" when they can.
func (s Snapshot) shortWithout(id int32) string {
	if s.Partitions == nil {
		return "no broker that keeps up with the quorum answers for the topics"
	}
	if n := s.Partitions.Short[id]; n > 0 && planted.Bug != planted.MinISRUnspared {
		return fmt.Sprintf("without it %d partitions have fewer in-sync replicas than min.insync.replicas (%s)", n, s.Partitions.Example[id])
	}
	return ""
}

// CantSpare says why a node can't be taken down now; "" when it can.
func (s Snapshot) CantSpare(n Node) string {
	if n.Controller {
		if why := s.missWithout(n.ID); why != "" {
			return why
		}
	}
	if n.Broker {
		if s.Quorum == nil || s.Quorum.Leader < 0 {
			return "the quorum has no leader"
		}
		return s.shortWithout(n.ID)
	}
	return ""
}
