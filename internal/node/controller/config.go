package controller

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kraft-dev/kraft-operator/internal/metadata"
	"github.com/kraft-dev/kraft-operator/internal/node/auth"
	"github.com/kraft-dev/kraft-operator/internal/node/raft"
	"github.com/kraft-dev/kraft-operator/internal/node/server"
	"github.com/kraft-dev/kraft-operator/internal/node/snapshots"
)

// Log is what the controller needs of the metadata log: package raft's client.
type Log interface {
	// PrepareAppend fixes the offsets of one call's records, which land in one batch; nothing is sent yet.
	// Errors: raft.ErrNotLeader, raft.ErrBufferFull, raft.ErrBatchTooLarge.
	PrepareAppend(epoch int32, records [][]byte) (lastOffset int64, err error)
	// SchedulePreparedAppend lets what was prepared be written.
	SchedulePreparedAppend()
	// Resign ends this node's leadership of that epoch, if it still has it.
	Resign(epoch int32)
	LeaderAndEpoch() raft.LeaderAndEpoch
	// LogEndOffset is exclusive.
	LogEndOffset() int64
}

// Clock is the controller's time; a test's may be virtual. Now must be monotonic.
type Clock interface {
	Now() time.Time
	NewTimer(d time.Duration) *time.Timer
}

// SystemClock is real time.
type SystemClock struct{}

func (SystemClock) Now() time.Time                       { return time.Now() }
func (SystemClock) NewTimer(d time.Duration) *time.Timer { return time.NewTimer(d) }

// Node is where one controller can be reached: a voter and its endpoint on the default controller listener.
type Node struct {
	ID   int32
	Host string
	Port int32
}

// Config of a Controller. Zero values take the defaults beside them.
type Config struct {
	NodeID    int32
	ClusterID string
	Log       Log

	// BootstrapRecords are those of bootstrap.checkpoint: metadata.version first. Empty: the newest levels.
	BootstrapRecords []metadata.Record
	// Static holds this node's own settings by name, as its properties file gives them.
	Static map[string]string

	NumPartitions            int32         // num.partitions: 1
	DefaultReplicationFactor int16         // default.replication.factor: 1
	SessionTimeout           time.Duration // broker.session.timeout.ms: 9 s
	HeartbeatInterval        time.Duration // broker.heartbeat.interval.ms: 2 s
	MaxIdleInterval          time.Duration // metadata.max.idle.interval.ms: 500 ms; negative is off
	LeaderImbalanceInterval  time.Duration // leader.imbalance.check.interval.seconds: 300 s; negative is auto.leader.rebalance.enable=false
	UncleanElectionInterval  time.Duration // unclean.leader.election.interval.ms: 5 min
	DisableTopicDeletion     bool          // delete.topic.enable=false

	// Voters are the current voters' controller endpoints, and KRaftVersion the finalized kraft.version.
	Voters       func() []Node
	KRaftVersion func() int16
	// UpgradeKRaftVersion finalizes a level of kraft.version through the quorum, in this leader epoch; its records precede what is
	// appended afterwards. nil: INVALID_UPDATE_VERSION.
	UpgradeKRaftVersion func(ctx context.Context, epoch int32, level int16, validateOnly bool) (changed bool, err error)
	// Raft serves what belongs to the log, such as DescribeQuorum inside an Envelope; false: not one of its APIs.
	Raft func(*server.Request) bool

	// Snapshots makes snapshots of the committed image; nil: someone else on this node does.
	Snapshots *snapshots.Generator

	// Registration is what this controller registers as (KIP-919), through SendToActive, which finds the active
	// controller, this node perhaps. Nil: it doesn't register, and features can't be upgraded while it votes.
	Registration *kmsg.ControllerRegistrationRequest
	SendToActive func(context.Context, kmsg.Request) (kmsg.Response, error)

	Authorizer auth.Authorizer // allow all
	Clock      Clock           // real time
	Rand       *rand.Rand      // placement and topic ids
	Registry   prometheus.Registerer
	Logger     *slog.Logger
}

func (c Config) withDefaults() (Config, error) {
	if c.Log == nil {
		return c, errors.New("controller: no log")
	}
	if c.ClusterID == "" {
		return c, errors.New("controller: no cluster id")
	}
	orDuration := func(d *time.Duration, def time.Duration) {
		if *d == 0 {
			*d = def
		}
	}
	if c.Registration != nil && c.SendToActive == nil {
		return c, errors.New("controller: a registration, and no way to send it")
	}
	if c.NumPartitions == 0 {
		c.NumPartitions = 1
	}
	if c.DefaultReplicationFactor == 0 {
		c.DefaultReplicationFactor = 1
	}
	if c.NumPartitions < 1 || c.DefaultReplicationFactor < 1 {
		return c, fmt.Errorf("controller: num.partitions %d and default.replication.factor %d must be positive", c.NumPartitions, c.DefaultReplicationFactor)
	}
	orDuration(&c.SessionTimeout, 9*time.Second)
	orDuration(&c.HeartbeatInterval, 2*time.Second)
	orDuration(&c.MaxIdleInterval, 500*time.Millisecond)
	orDuration(&c.LeaderImbalanceInterval, 300*time.Second)
	orDuration(&c.UncleanElectionInterval, 5*time.Minute)
	if c.Voters == nil {
		c.Voters = func() []Node { return nil }
	}
	if c.KRaftVersion == nil {
		c.KRaftVersion = func() int16 { return 0 }
	}
	if c.Raft == nil {
		c.Raft = func(*server.Request) bool { return false }
	}
	if c.Authorizer == nil {
		c.Authorizer = auth.AllowAll{}
	}
	if c.Clock == nil {
		c.Clock = SystemClock{}
	}
	if c.Rand == nil {
		c.Rand = rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64()))
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c, nil
}
