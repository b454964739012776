package plan

import (
	"fmt"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/kraft-dev/kraft-operator/controllers/plan/planted"
)

// CatchingUp is how long after a broker's start a wide roll waits for replicas that aren't in sync yet: the next
// batch is the wider for it. A replica that doesn't come back at all holds nothing up for longer.
const CatchingUp = time.Minute

// ReplicaSet is the partitions that have the same replicas, the same in-sync ones and the same minimum of those.
type ReplicaSet struct {
	Replicas, ISR []int32
	MinISR        int
	Count         int      // of such partitions
	Examples      []string // of those, at most Examples; one at least
}

// BatchPod is a pod that a recorded batch may take down.
type BatchPod struct {
	Node int32
	UID  types.UID
	Hash string // of the template it is to come back with
	Back bool   // its successor was Ready: what befalls it from then on is no restart
}

// together picks who restarts with a broker: brokers of its zone whose absence, all at once, leaves every partition its
// min.insync.replicas, at most MaxUnavailable with those that are down. A new template's first broker goes alone: if
// that one doesn't come back, nobody else has the template.
func (s Snapshot) together(first Node, stale []Node) []Node {
	if first.Controller || !s.proved() && planted.Bug != planted.LeapInTheDark {
		return []Node{first}
	}
	return s.safe([]Node{first}, stale)
}

// rest is what a batch under way has still to take down, while those of it that are down may yet come back and nobody
// else is down.
func (s Snapshot) rest(stale []Node) []Node {
	if s.Quorum == nil || s.Quorum.Leader < 0 || s.Partitions == nil {
		return nil
	}
	for _, n := range s.Nodes {
		broken := n.Pod != nil && n.Pod.Broken != "" || n.failing(s.Now)
		if !n.Up() && (!s.InBatch(n) || broken && planted.Bug != planted.BatchGoesOn) {
			return nil
		}
	}
	ours := slices.DeleteFunc(slices.Clone(stale), func(n Node) bool {
		return n.Pod == nil || !slices.Contains(s.Batch, BatchPod{Node: n.ID, UID: n.Pod.UID, Hash: n.Want})
	})
	return s.safe(nil, ours)
}

// safe adds to batch those of more that are up, of the same zone, and can be spared together with the batch and with
// every broker that is down.
func (s Snapshot) safe(batch, more []Node) []Node {
	room, zone, known := s.MaxUnavailable-len(batch), "", false
	for _, n := range s.Nodes {
		if n.Broker && !n.Up() {
			room--
		}
		if down := n.Broker && !n.Up() && n.Zone != ""; down && known && n.Zone != zone {
			return batch // two zones are short already
		} else if down {
			zone, known = n.Zone, true
		}
	}
	if len(batch) > 0 {
		if known && batch[0].Zone != zone {
			return batch
		}
		zone, known = batch[0].Zone, true
	}
	slack := s.slack()
	for _, n := range batch {
		slack.take(n.ID)
	}
	for _, n := range more {
		if room <= 0 && planted.Bug != planted.NoLimit {
			break
		}
		taken := slices.ContainsFunc(batch, func(b Node) bool { return b.ID == n.ID })
		if taken || n.Controller || !n.Up() || known && n.Zone != zone && planted.Bug != planted.ZonesMixed || !slack.bears(n.ID) && planted.Bug != planted.SlackUnasked {
			continue
		}
		slack.take(n.ID)
		batch, room = append(batch, n), room-1
		zone, known = n.Zone, true
	}
	return batch
}

// proved tells whether a broker runs what the spec asks for, so that the template is no leap in the dark.
func (s Snapshot) proved() bool {
	return slices.ContainsFunc(s.Nodes, func(n Node) bool { return n.Broker && !n.Controller && !n.Stale() && n.Up() })
}

// InBatch tells whether a node belongs to the recorded batch, and to what the spec asks for still.
func (s Snapshot) InBatch(n Node) bool {
	return slices.ContainsFunc(s.Batch, func(b BatchPod) bool { return b.Node == n.ID && b.Hash == n.Want })
}

// BatchOpen tells whether a recorded batch of several brokers is under way: its budget stays shut.
func (s Snapshot) BatchOpen() bool {
	return len(s.Batch) > 1 && slices.ContainsFunc(s.Nodes, func(n Node) bool { return s.InBatch(n) && (n.Stale() || !n.Up()) })
}

// slack is how many more brokers each set of partitions can miss.
type slack struct {
	left []int
	of   map[int32][]int // sets by in-sync broker
}

// slack counts brokers that aren't up as absent, whatever the in-sync replicas say yet. A partition with no more
// replicas than its minimum can't be held up by any order; one replica of it at a time is missing.
func (s Snapshot) slack() slack {
	down := map[int32]bool{}
	for _, n := range s.Nodes {
		down[n.ID] = !n.Up()
	}
	out := slack{of: map[int32][]int{}}
	if s.Partitions == nil {
		return out
	}
	for i, set := range s.Partitions.Sets {
		here := 0
		for _, id := range set.ISR {
			if !down[id] || planted.Bug == planted.DownCounted {
				here++
			}
			out.of[id] = append(out.of[id], i)
		}
		left := max(0, here-set.MinISR)
		if len(set.Replicas) <= set.MinISR {
			left = 0
			if here == len(set.Replicas) {
				left = 1
			}
		}
		out.left = append(out.left, left)
	}
	return out
}

func (k slack) bears(id int32) bool {
	return !slices.ContainsFunc(k.of[id], func(i int) bool { return k.left[i] == 0 })
}

func (k slack) take(id int32) {
	for _, i := range k.of[id] {
		k.left[i] = max(0, k.left[i]-1)
	}
}

// behind says which partitions' replicas on running brokers aren't in sync, while brokers have started a moment ago;
// "" for none.
func (s Snapshot) behind() string {
	if s.MaxUnavailable <= 1 || s.Partitions == nil {
		return ""
	}
	up, fresh := map[int32]bool{}, false
	for _, n := range s.Nodes {
		if n.Broker && n.Up() {
			up[n.ID] = true
			fresh = fresh || s.Now.Sub(n.Pod.Created) < CatchingUp
		}
	}
	if !fresh {
		return ""
	}
	count, example := 0, ""
	for _, set := range s.Partitions.Sets {
		if slices.ContainsFunc(set.Replicas, func(id int32) bool { return up[id] && !slices.Contains(set.ISR, id) }) {
			count += set.Count
			example = set.Examples[0]
		}
	}
	if count == 0 {
		return ""
	}
	return fmt.Sprintf("replicas of %d partitions to catch up (%s)", count, example)
}
