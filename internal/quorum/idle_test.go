package quorum

import (
	"container/heap"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kraft-dev/kraft-operator/internal/uuid"
)

const (
	idleInstances = 10_000
	idleBytes     = 4 << 10 // what one may cost
)

// idleConfig is shared by all instances of a process: voters 0 to 2, this node among them.
func idleConfig(self NodeID) (Config, LogState) {
	var voters []Voter
	for id := range NodeID(3) {
		voters = append(voters, Voter{
			Key:       ReplicaKey{id, uuid.UUID{15: byte(id + 1)}},
			Endpoints: []Endpoint{{Listener: "CONTROLLER", Host: "node", Port: uint16(9000 + id)}},
			Supported: VersionRange{Max: 1},
		})
	}
	set, level := NewVoterSet(voters...), int16(1)
	cfg := DefaultConfig()
	cfg.ClusterID, cfg.NodeID, cfg.DirectoryID, cfg.Listener, cfg.Controller = "c", self, voters[self].Key.DirectoryID, "CONTROLLER", true
	cfg.Endpoints = voters[self].Endpoints
	return cfg, LogState{EndOffset: 100, Epochs: []EpochStart{{1, 0}}, Control: []ControlAt{
		{-1, ControlRecord{KRaftVersion: &level}}, {-1, ControlRecord{Voters: &set}},
	}}
}

// timers are the one heap of deadlines that a driver of many instances has.
type timers []timer

type timer struct {
	at       Instant
	instance int
	ev       Event
}

func (t timers) Len() int           { return len(t) }
func (t timers) Less(i, j int) bool { return t[i].at < t[j].at }
func (t timers) Swap(i, j int)      { t[i], t[j] = t[j], t[i] }
func (t *timers) Push(x any)        { *t = append(*t, x.(timer)) }
func (t *timers) Pop() any {
	last := (*t)[len(*t)-1]
	*t = (*t)[:len(*t)-1]
	return last
}

// idleWorld drives instances in virtual time, for peers that are up and have nothing new.
type idleWorld struct {
	all    []*Quorum
	timers timers
	steps  int
}

// step feeds one event, completes what the disk does at once, and answers as peers would.
func (w *idleWorld) step(i int, now Instant, ev Event) {
	q := w.all[i]
	w.steps++
	for _, e := range append(Effects(nil), q.Step(now, ev)...) {
		switch e := e.(type) {
		case PersistElection:
			w.step(i, now, ElectionPersisted{Seq: e.Seq})
		case Flush:
			w.step(i, now, Flushed(e))
		case Send:
			if m, after := idleAnswer(q.role, e); m != nil {
				heap.Push(&w.timers, timer{now + after, i, Response{Correlation: e.Correlation, Message: m}})
			}
		}
	}
	if at := q.Deadline(); at != Never {
		heap.Push(&w.timers, timer{at, i, Tick{}})
	}
}

// idleAnswer is what a peer says: the leader has nothing new for as long as it may wait, a voter votes. Who looks for a leader finds none.
func idleAnswer(asker Role, e Send) (Message, time.Duration) {
	switch m := e.Message.(type) {
	case *FetchRequest:
		if asker != Follower {
			return nil, 0
		}
		a := &FetchResponse{HighWatermark: 100}
		a.Leader, a.Endpoint = LeaderAndEpoch{e.To.ID, m.Epoch}, e.To
		return a, m.MaxWait
	case *VoteRequest:
		a := &VoteResponse{Granted: true}
		a.Leader, a.Endpoint = LeaderAndEpoch{None, m.Epoch}, Node{ID: None}
		return a, time.Millisecond
	case *BeginQuorumEpochRequest:
		a := &BeginQuorumEpochResponse{}
		a.Leader, a.Endpoint = m.Leader, Node{ID: None}
		return a, time.Millisecond
	}
	return nil, 0
}

// run lets virtual time pass.
func (w *idleWorld) run(until Instant, before func(i int, now Instant)) {
	for len(w.timers) > 0 && w.timers[0].at <= until {
		t := heap.Pop(&w.timers).(timer)
		if _, tick := t.ev.(Tick); tick && w.all[t.instance].Deadline() > t.at {
			continue // it has moved since
		}
		if before != nil {
			before(t.instance, t.at)
		}
		w.step(t.instance, t.at, t.ev)
	}
}

func heapInUse() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// TestIdleInstancesAreSmall makes 10,000 instances in one process, lets five virtual seconds pass in which nothing is written, and takes what the
// heap holds for each. No instance has a timer or a goroutine: one heap of deadlines drives them all.
func TestIdleInstancesAreSmall(t *testing.T) {
	for _, c := range []struct {
		name  string
		self  NodeID
		state ElectionState
		want  Role
	}{
		{"followers", 1, ElectionState{Epoch: 1, LeaderID: 0, Voted: NoReplica}, Follower},
		{"leaders with two followers", 0, ElectionState{Epoch: 1, LeaderID: None, Voted: NoReplica}, Leader},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg, log := idleConfig(c.self)
			goroutines := runtime.NumGoroutine()
			w := &idleWorld{all: make([]*Quorum, idleInstances)}
			before := heapInUse()
			for i := range w.all {
				q, err := New(cfg, &c.state, log, uint64(i))
				require.NoError(t, err)
				w.all[i] = q
				w.step(i, 0, Start{})
			}
			var fetched []Instant // by instance: when its followers' fetches came last
			if c.want == Leader {
				fetched = make([]Instant, idleInstances)
			}
			w.run(5*time.Second, func(i int, now Instant) {
				if q := w.all[i]; fetched != nil && q.role == Leader && now >= fetched[i] {
					fetched[i] = now + cfg.FetchMaxWait
					w.followersFetch(i, now, cfg)
				}
			})
			w.timers, fetched = nil, nil // the driver's
			for i, q := range w.all {
				require.Equal(t, c.want, q.role, "instance %d", i)
			}
			each := (heapInUse() - before) / idleInstances
			t.Logf("%d bytes for each of %d idle %s, after %d steps", each, idleInstances, c.name, w.steps)
			require.LessOrEqual(t, each, uint64(idleBytes))
			require.LessOrEqual(t, runtime.NumGoroutine(), goroutines, "an instance has started a goroutine")
			runtime.KeepAlive(w)
		})
	}
}

// followersFetch parks a fetch of each follower at a leader's log end.
func (w *idleWorld) followersFetch(i int, now Instant, cfg Config) {
	q := w.all[i]
	for id := range NodeID(3) {
		if id == cfg.NodeID {
			continue
		}
		clusterID := cfg.ClusterID
		w.step(i, now, Request{ReplyTo: uint64(now) + uint64(id), Listener: "CONTROLLER", Message: &FetchRequest{
			ClusterID: &clusterID, Replica: ReplicaKey{id, uuid.UUID{15: byte(id + 1)}}, Epoch: q.election.Epoch,
			FetchOffset: q.log.end, LastFetchedEpoch: q.log.lastEpoch(), MaxWait: cfg.FetchMaxWait, MaxBytes: cfg.FetchMaxBytes, HighWatermark: q.log.end,
		}})
	}
}
