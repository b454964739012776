package sim

import (
	"fmt"
	"math/rand/v2"
	"time"
)

// scenario is what a seed decides before anything happens.
type scenario struct {
	voters, observers int
	changes           bool // of the voters; then spares are controllers beside the initial voters
	spares            int
	autoJoin          bool
	moves             bool    // addresses change
	astray            float64 // chance that a route leads to somebody else, where none moves
	kraftVersion      int16
	upgrade           bool // to kraft.version 1
	formationSafe     bool
	wipes             int // nodes whose disk may be lost
	drop, repeat      float64
	latency           time.Duration // at most, mostly
	slow              float64       // chance of a message ten times as slow
	stray             float64       // chance of one that comes seconds later
	fsync             time.Duration // at most, mostly
	faults            time.Duration // length of the first phase
	between           time.Duration // mean time between faults
	write             time.Duration // mean time between proposals
	requests          time.Duration // controller.quorum.request.timeout.ms
	pauses            bool          // of leaders, in a read
	churn             float64       // chance that a new leader is struck at once
	strike            int           // the commit after which a follower that has it loses its disk and the leader falls; 0: none
	refuse            float64       // chance that a dead node's port says so
	snapshot          time.Duration // mean time between snapshots; 0: none
	clean             float64       // chance that the log is then cleaned
	chunk             int32         // bytes of a snapshot fetched at once
	oldPeers          float64
	drift             bool
	real              bool  // disks are
	segment           int64 // bytes of a log segment, on real disks
	segmentMs         int64
	diskFaults        time.Duration // mean time between what befalls disks; 0: nothing
}

func newScenario(rng *rand.Rand) scenario {
	pick := func(d ...time.Duration) time.Duration { return d[rng.IntN(len(d))] }
	rate := func(p ...float64) float64 { return p[rng.IntN(len(p))] }
	s := scenario{
		voters:       []int{1, 2, 3, 3, 3, 3, 4, 5, 5, 5, 6, 7}[rng.IntN(12)],
		observers:    []int{0, 0, 1, 2}[rng.IntN(4)],
		kraftVersion: []int16{0, 1, 1, 1}[rng.IntN(4)],
		drop:         rate(0, 0, 0.01, 0.05, 0.2),
		repeat:       rate(0, 0, 0.02, 0.1),
		latency:      pick(time.Millisecond, 5*time.Millisecond, 50*time.Millisecond),
		slow:         rate(0, 0.01, 0.1),
		fsync:        pick(100*time.Microsecond, 5*time.Millisecond, 100*time.Millisecond),
		faults:       pick(4*time.Second, 10*time.Second, 20*time.Second),
		between:      pick(200*time.Millisecond, time.Second, 3*time.Second),
		write:        pick(5*time.Millisecond, 30*time.Millisecond, 200*time.Millisecond),
		oldPeers:     rate(0, 0, 0, 0.3),
		drift:        rng.IntN(3) == 0,
		refuse:       rate(0, 0.7, 1),
		churn:        rate(0, 0, 0.3, 0.7, 0.9),
	}
	s.snapshot = pick(0, 50*time.Millisecond, 300*time.Millisecond, 2*time.Second)
	s.clean = rate(0.1, 0.5, 1)
	s.chunk = []int32{75, 200, 1001, 1 << 20}[rng.IntN(4)]
	s.formationSafe = s.kraftVersion > 0 && rng.IntN(2) == 0
	if s.formationSafe {
		s.wipes = (s.voters - 1) / 2
	}
	if s.wipes > 0 && rng.IntN(2) == 0 {
		s.strike = 1 + rng.IntN([]int{3, 30, 300}[rng.IntN(3)])
	}
	s.segment = []int64{3 << 10, 16 << 10, 1 << 20}[rng.IntN(3)]
	if s.write < 30*time.Millisecond { // a fetch brings a segment at most: nobody would catch up
		s.segment = max(s.segment, 16<<10)
	}
	s.diskFaults = []time.Duration{0, 500 * time.Millisecond, 2 * time.Second}[rng.IntN(3)]
	s.segmentMs = []int64{300, 5000, 7 * 24 * 3600_000}[rng.IntN(3)]
	if s.kraftVersion > 0 && rng.IntN(3) == 0 {
		s.changes, s.wipes, s.strike = true, 0, 0
		s.spares = rng.IntN(8 - s.voters)
		s.autoJoin = rng.IntN(4) == 0
		if s.voters+s.spares < 3 {
			s.spares += 2
		}
	}
	s.stray = rate(0, 0, 0.01, 0.05)
	s.moves = s.changes && rng.IntN(5) < 2
	s.requests = pick(2*time.Second, 2*time.Second, 5*time.Second)
	s.pauses = rng.IntN(3) == 0
	s.astray = rate(0, 0.5, 1)
	if s.kraftVersion == 0 && rng.IntN(3) > 0 {
		s.upgrade, s.spares = true, rng.IntN(8-s.voters) // with spares the voters change afterwards
	}
	return s
}

// controllers are the first nodes: the initial voters and the spares.
func (s scenario) controllers() int { return s.voters + s.spares }

func (s scenario) String() string {
	return fmt.Sprintf("voters=%d spares=%d changes=%v autoJoin=%v moves=%v astray=%g observers=%d kraft.version=%d upgrade=%v formationSafe=%v wipes=%d drop=%g repeat=%g latency=%s slow=%g stray=%g fsync=%s faults=%s every %s write=%s refuse=%g requests=%s pauses=%v churn=%g strike=%d snapshot=%s clean=%g chunk=%d oldPeers=%g drift=%v real=%v segment=%d/%dms diskFaults=%s",
		s.voters, s.spares, s.changes, s.autoJoin, s.moves, s.astray, s.observers, s.kraftVersion, s.upgrade, s.formationSafe, s.wipes, s.drop, s.repeat, s.latency, s.slow, s.stray, s.fsync, s.faults, s.between, s.write, s.refuse, s.requests, s.pauses, s.churn, s.strike, s.snapshot, s.clean, s.chunk, s.oldPeers, s.drift, s.real, s.segment, s.segmentMs, s.diskFaults)
}
