package partition

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
)

// world is three brokers with logs of record values (the leader epoch each record was written in), and a controller that
// knows the committed assignment. Answers and metadata reach the brokers late and in any interleaving.
type world struct {
	t       *testing.T
	rnd     *rand.Rand
	nowMs   int64
	current Assignment
	brokers map[int32]*broker
	changes []sent

	values map[int64]int32 // acknowledged offset -> epoch of the record there

	known map[int32][]Assignment // metadata on its way to each broker
}

type broker struct {
	state *State
	log   []int32 // value at offset i: the leader epoch it was appended in
}

type sent struct {
	from   int32
	change *ISRChange
	answer *ISRAnswer // nil until the controller handled it
}

func newWorld(t *testing.T, seed uint64) *world {
	w := &world{
		t: t, rnd: rand.New(rand.NewPCG(seed, 1)), values: map[int64]int32{}, brokers: map[int32]*broker{}, known: map[int32][]Assignment{},
		current: Assignment{Replicas: []int32{1, 2, 3}, ISR: []int32{1, 2, 3}, Leader: 1},
	}
	for id := int32(1); id <= 3; id++ {
		w.brokers[id] = &broker{state: New(id, 0, 0, 0)}
		w.brokers[id].state.SetLocalEpoch(10 + int64(id))
		w.brokers[id].state.Apply(0, w.current)
	}
	return w
}

func (w *world) publish() {
	for id := range w.brokers {
		w.known[id] = append(w.known[id], w.current)
	}
}

// elect moves leadership to another member of the ISR, as the controller does when a leader goes.
func (w *world) elect() {
	if len(w.current.ISR) < 2 {
		return
	}
	next := w.current.ISR[w.rnd.IntN(len(w.current.ISR))]
	if next == w.current.Leader {
		return
	}
	w.current.Leader, w.current.LeaderEpoch, w.current.PartitionEpoch = next, w.current.LeaderEpoch+1, w.current.PartitionEpoch+1
	w.publish()
}

func (w *world) deliverMetadata(id int32) {
	if len(w.known[id]) == 0 {
		return
	}
	b, a := w.brokers[id], w.known[id][0]
	w.known[id] = w.known[id][1:]
	b.state.Apply(w.nowMs, a)
}

func (w *world) appendAll(id int32) {
	b := w.brokers[id]
	if !b.state.IsLeader() || b.state.CheckAppend(-1, limits.MinISR) != nil {
		return
	}
	b.log = append(b.log, b.state.LeaderEpoch())
	b.state.SetLogEnd(int64(len(b.log)))
}

// fetch is one whole fetch of a follower: checks, divergence, append and high watermark.
func (w *world) fetch(id int32) {
	f := w.brokers[id]
	leader := w.brokers[f.state.Leader()]
	if f.state.Role() != Follower || leader == nil || leader.state.CheckLeader(f.state.LeaderEpoch()) != nil {
		return
	}
	common := 0
	for common < len(f.log) && common < len(leader.log) && f.log[common] == leader.log[common] {
		common++
	}
	if common < len(f.log) {
		f.log = f.log[:common]
		f.state.Truncated(0, int64(common))
		return
	}
	old := leader.state.HighWatermark()
	require.NoError(w.t, leader.state.Fetched(w.nowMs, id, int64(len(f.log)), 0, 10+int64(id)))
	if c := leader.state.Expand(id, everyone); c != nil {
		w.changes = append(w.changes, sent{from: leader.state.local, change: c})
	}
	leader.state.AdvanceHighWatermark(w.nowMs, limits, everyone)
	w.acknowledge(leader, old)
	n := min(len(leader.log), len(f.log)+w.rnd.IntN(3))
	f.log = append(f.log, leader.log[len(f.log):n]...)
	f.state.SetLogEnd(int64(len(f.log)))
	f.state.FollowHighWatermark(leader.state.HighWatermark())
}

// acknowledge notes what a client would be told is committed.
func (w *world) acknowledge(leader *broker, from int64) {
	for o := from; o < leader.state.HighWatermark(); o++ {
		epoch, known := w.values[o]
		if known {
			require.Equal(w.t, epoch, leader.log[o], "offset %d was acknowledged with another record", o)
		}
		if done, err := leader.state.Committed(o+1, limits.MinISR); done && err == nil {
			w.values[o] = leader.log[o]
		}
	}
}

// control lets the controller handle one AlterPartition request, which may be out of date.
func (w *world) control() {
	for i := range w.changes {
		s := &w.changes[i]
		if s.answer != nil {
			continue
		}
		c := s.change
		if c.LeaderEpoch != w.current.LeaderEpoch || c.PartitionEpoch != w.current.PartitionEpoch {
			s.answer = &ISRAnswer{Err: errStale}
			return
		}
		isr := []int32{}
		for _, m := range c.Members {
			isr = append(isr, m.ID)
		}
		w.current.ISR, w.current.PartitionEpoch = isr, w.current.PartitionEpoch+1
		s.answer = &ISRAnswer{Leader: w.current.Leader, LeaderEpoch: w.current.LeaderEpoch, PartitionEpoch: w.current.PartitionEpoch, ISR: isr}
		w.publish()
		return
	}
}

func (w *world) answer() {
	for i, s := range w.changes {
		if s.answer == nil {
			continue
		}
		w.changes = slices.Delete(w.changes, i, i+1)
		b := w.brokers[s.from]
		old := b.state.HighWatermark()
		b.state.ISRAnswered(s.change, *s.answer)
		b.state.AdvanceHighWatermark(w.nowMs, limits, everyone)
		w.acknowledge(b, old)
		return
	}
}

// check holds the rules that must stand after every step.
func (w *world) check() {
	for o, epoch := range w.values {
		for _, id := range w.current.ISR {
			log := w.brokers[id].log
			require.Greater(w.t, int64(len(log)), o, "acknowledged offset %d is missing on broker %d of the ISR %v", o, id, w.current.ISR)
			require.Equal(w.t, epoch, log[o], "broker %d has another record at acknowledged offset %d", id, o)
		}
	}
	for id, b := range w.brokers {
		require.LessOrEqual(w.t, b.state.HighWatermark(), int64(len(b.log)), "broker %d", id)
	}
}

// TestAcknowledgedRecordsAreOnEveryMemberOfTheISR plays leader moves, slow followers, late metadata and late answers of the
// controller, and checks after each step that no record below a leader's high watermark is missing from a member of the
// committed ISR: whoever is elected next has it.
func TestAcknowledgedRecordsAreOnEveryMemberOfTheISR(t *testing.T) {
	acknowledged := 0
	for seed := range uint64(60) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			w := newWorld(t, seed)
			for range 400 {
				id := int32(1 + w.rnd.IntN(3))
				switch n := w.rnd.IntN(100); {
				case n < 25:
					w.appendAll(id)
				case n < 60:
					w.fetch(id)
				case n < 75:
					w.deliverMetadata(id)
				case n < 82:
					w.control()
				case n < 90:
					w.answer()
				case n < 93:
					if c := w.brokers[id].state.Shrink(w.nowMs, limits.LagMaxMs); c != nil {
						w.changes = append(w.changes, sent{from: id, change: c})
					}
				case n < 95:
					w.elect()
				default:
					w.nowMs += int64(w.rnd.IntN(400))
				}
				w.check()
			}
			acknowledged += len(w.values)
		})
	}
	require.Greater(t, acknowledged, 1000, "the model must get somewhere")
}

// errStale is what the controller answers to a change of an older partition.
var errStale = kerr.InvalidUpdateVersion
