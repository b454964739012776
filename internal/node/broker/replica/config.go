// Package replica holds a broker's partitions: their logs, roles and waiting requests, and what keeps them going (fetchers,
// ISR changes, checkpoints, retention).
//
// Locks: each Partition has one mutex over its state and its log's writes. Nothing holds two of them, none is held while a
// request is answered, and none over another partition's I/O. Waiting requests are entries in lists of the partitions they wait
// for, and a timer: never a goroutine.
package replica

import (
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/kraft-dev/kraft-operator/internal/node/broker/follow"
	"github.com/kraft-dev/kraft-operator/internal/node/broker/lifecycle"
	"github.com/kraft-dev/kraft-operator/internal/node/broker/partition"
	"github.com/kraft-dev/kraft-operator/internal/storage"
	"github.com/kraft-dev/kraft-operator/internal/uuid"
)

// TopicConfig is what a topic's settings mean to its partitions.
type TopicConfig struct {
	Log           storage.LogConfig
	MinISR        int   // min.insync.replicas
	FlushMessages int64 // flush.messages: fsync after so many records; 2^63-1 never
	FlushMs       int64 // flush.ms; 2^63-1 or negative never
}

// Settings are the node's settings that may change while it runs.
type Settings struct {
	LagMaxMs        int64 // replica.lag.time.max.ms: 30 s
	Fetch           follow.Settings
	CheckpointEvery time.Duration // replica.high.watermark.checkpoint.interval.ms: 5 s
	RecoveryEvery   time.Duration // log.flush.offset.checkpoint.interval.ms: 60 s
	RetentionEvery  time.Duration // log.retention.check.interval.ms: 5 min
	DeleteDelay     time.Duration // log.segment.delete.delay.ms: 60 s, how long a deleted partition's files stay
	RecoveryThreads int           // num.recovery.threads.per.data.dir: 2
	MaxDecompressed int           // bytes one compressed batch may grow to while it is checked; 0: record's default
}

func (s Settings) withDefaults() Settings {
	set := func(d *time.Duration, def time.Duration) {
		if *d <= 0 {
			*d = def
		}
	}
	if s.LagMaxMs <= 0 {
		s.LagMaxMs = 30_000
	}
	set(&s.CheckpointEvery, 5*time.Second)
	set(&s.RecoveryEvery, time.Minute)
	set(&s.RetentionEvery, 5*time.Minute)
	set(&s.DeleteDelay, time.Minute)
	if s.RecoveryThreads <= 0 {
		s.RecoveryThreads = 2
	}
	return s
}

// RoleChange tells a coordinator what this broker now is for a partition.
type RoleChange struct {
	Topic       string
	TopicID     uuid.UUID
	Partition   int32
	Role        partition.Role
	LeaderEpoch int32
	Deleted     bool // the topic is gone, or the replica moved away
}

// Config of a Manager.
type Config struct {
	Local       int32
	FS          storage.FS
	Dir         string    // the one log dir
	DirectoryID uuid.UUID // in its meta.properties
	Settings    func() Settings
	TopicConfig func(topic string) TopicConfig
	Eligible    partition.Eligibility
	BrokerEpoch func() int64
	Controller  lifecycle.Controller // for AlterPartition
	// Address is host:port of a broker's inter-broker listener.
	Address   func(broker int32) (string, bool)
	NewClient func() follow.Client
	// OnRoleChange is called in order, from the goroutine that applies metadata, without locks.
	OnRoleChange func(RoleChange)
	// Fatal is called when the disk failed: the node must stop.
	Fatal    func(error)
	Registry prometheus.Registerer
	Logger   *slog.Logger
}
