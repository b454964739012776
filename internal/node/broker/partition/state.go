package partition

import (
	"fmt"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
)

// Role is what the local broker is for a partition at one leader epoch.
type Role int8

const (
	// Offline: no leader is known, or this broker holds no replica that may serve.
	Offline Role = iota
	// Follower: another broker leads.
	Follower
	// Leader: this broker leads.
	Leader
)

func (r Role) String() string {
	switch r {
	case Leader:
		return "leader"
	case Follower:
		return "follower"
	}
	return "offline"
}

// None is the leader id of a partition without a leader, and an offset or broker epoch that is not known.
const None = -1

// Assignment is a partition as the metadata log has it. The slices are shared and never written to.
type Assignment struct {
	Replicas, ISR       []int32
	Leader              int32 // -1: none
	LeaderEpoch         int32
	PartitionEpoch      int32
	LeaderRecoveryState int8
}

// Eligibility answers whether a broker may be in an ISR: registered, unfenced and not in controlled shutdown (KIP-841).
// epoch is the broker epoch of its live registration (KIP-903).
type Eligibility func(broker int32) (epoch int64, eligible bool)

// Limits are the settings that the rules depend on.
type Limits struct {
	LagMaxMs int64 // replica.lag.time.max.ms
	MinISR   int   // min.insync.replicas of the topic
}

// State is the state of one replica of one partition. The zero value is not usable; see New.
type State struct {
	local       int32
	localEpoch  int64 // this broker's epoch, for AlterPartition
	role        Role
	assigned    Assignment // ISR in here is the committed one
	pending     *ISRChange // an AlterPartition that is not answered yet, or was refused until new metadata comes
	epochStart  int64      // log end offset when this broker became leader of the epoch
	hw          int64
	leo         int64
	logStart    int64
	progress    map[int32]*Progress
	initialised bool
}

// New returns the state of a replica on broker local before any metadata was applied.
func New(local int32, logStart, hw, leo int64) *State {
	s := &State{
		local:    local,
		assigned: Assignment{Leader: None, LeaderEpoch: None, PartitionEpoch: None},
		logStart: logStart,
		leo:      leo,
		progress: map[int32]*Progress{},
	}
	s.hw = min(max(hw, logStart), leo)
	return s
}

// Role says what this broker is for the partition.
func (s *State) Role() Role { return s.role }

// IsLeader reports whether this broker leads the partition.
func (s *State) IsLeader() bool { return s.role == Leader }

// Leader is the leader's id, -1 when there is none.
func (s *State) Leader() int32 { return s.assigned.Leader }

// LeaderEpoch is the partition's leader epoch, -1 before any metadata.
func (s *State) LeaderEpoch() int32 { return s.assigned.LeaderEpoch }

// PartitionEpoch is the epoch of the newest applied assignment, -1 before any metadata.
func (s *State) PartitionEpoch() int32 { return s.assigned.PartitionEpoch }

// Replicas is the assignment. Not to be written to.
func (s *State) Replicas() []int32 { return s.assigned.Replicas }

// ISR is the committed in-sync set. Not to be written to.
func (s *State) ISR() []int32 { return s.assigned.ISR }

// HighWatermark is the exclusive end of what is committed as far as this replica knows.
func (s *State) HighWatermark() int64 { return s.hw }

// LogEndOffset is the exclusive end of the local log.
func (s *State) LogEndOffset() int64 { return s.leo }

// LogStartOffset is the first offset that may be read.
func (s *State) LogStartOffset() int64 { return s.logStart }

// EpochStart is the log end offset at which this broker took over as leader. Only for leaders.
func (s *State) EpochStart() int64 { return s.epochStart }

// SetLocalEpoch notes this broker's own epoch, which AlterPartition carries for itself.
func (s *State) SetLocalEpoch(epoch int64) { s.localEpoch = epoch }

// SetLogEnd notes the log's end after an append.
func (s *State) SetLogEnd(leo int64) { s.leo = leo }

// SetLogStart notes the log's start after retention, DeleteRecords or a follower's fetch. The high watermark never lies below it.
func (s *State) SetLogStart(start int64) {
	s.logStart = start
	s.hw = max(s.hw, start)
}

// Truncated notes that the log was cut, so that [start, end) is left.
func (s *State) Truncated(start, end int64) {
	s.logStart, s.leo = start, end
	s.hw = max(min(s.hw, end), start)
}

// Change says what applying an assignment did.
type Change struct {
	Applied  bool // false: the assignment was not newer
	NewEpoch bool // the leader epoch grew
	NewRole  bool
	// AssignEpoch asks the caller to enter (LeaderEpoch, LogEndOffset) in the log's leader epoch cache before the next append.
	AssignEpoch bool
}

// Apply takes a newer assignment. An assignment whose partition epoch is not newer changes nothing: AlterPartition's
// answer may have been applied already. Epochs going back would be a broken invariant of the metadata log, so they panic.
func (s *State) Apply(nowMs int64, a Assignment) Change {
	if s.initialised && a.PartitionEpoch <= s.assigned.PartitionEpoch {
		if a.LeaderEpoch > s.assigned.LeaderEpoch {
			panic(fmt.Sprintf("partition: leader epoch %d above %d at partition epoch %d, applied %d",
				a.LeaderEpoch, s.assigned.LeaderEpoch, a.PartitionEpoch, s.assigned.PartitionEpoch))
		}
		return Change{}
	}
	if a.LeaderEpoch < s.assigned.LeaderEpoch {
		panic(fmt.Sprintf("partition: leader epoch %d after %d", a.LeaderEpoch, s.assigned.LeaderEpoch))
	}
	old := s.role
	role := Follower
	switch {
	case a.Leader == s.local:
		role = Leader
	case a.Leader == None || !slices.Contains(a.Replicas, s.local):
		role = Offline
	}
	c := Change{Applied: true, NewEpoch: !s.initialised || a.LeaderEpoch > s.assigned.LeaderEpoch, NewRole: role != old}
	s.assigned, s.role, s.pending, s.initialised = a, role, nil, true
	if role != Leader {
		clear(s.progress)
		return c
	}
	if c.NewEpoch || c.NewRole {
		s.epochStart = s.leo
		c.AssignEpoch = true
	}
	s.trackReplicas(nowMs, c.NewEpoch || c.NewRole, c.NewRole)
	return c
}

// Unassign makes the replica serve nothing: its broker no longer holds it, or its log failed.
func (s *State) Unassign() {
	s.role, s.pending = Offline, nil
	clear(s.progress)
}

// CheckLeaderEpoch compares the epoch that a client or follower sent with the current one (KIP-320). -1 asks for no check.
func (s *State) CheckLeaderEpoch(got int32) error {
	switch {
	case got == None:
		return nil
	case got < s.assigned.LeaderEpoch:
		return kerr.FencedLeaderEpoch
	case got > s.assigned.LeaderEpoch:
		return kerr.UnknownLeaderEpoch
	}
	return nil
}

// CheckLeader is CheckLeaderEpoch followed by "does this broker lead".
func (s *State) CheckLeader(got int32) error {
	if err := s.CheckLeaderEpoch(got); err != nil {
		return err
	}
	if s.role != Leader {
		return kerr.NotLeaderForPartition
	}
	return nil
}
