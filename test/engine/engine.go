// Package engine runs one state machine over either of two replicated logs: this project's pull-based one (internal/quorum with its
// real driver, disk and sockets) and hashicorp/raft, which pushes. Tests and benchmarks compare the two; the product never
// imports it.
package engine

import (
	"context"
	"errors"
	"time"
)

// Machine is replicated. One goroutine calls Apply, once for each committed record in log order; the answer goes to whoever
// proposed the record on this replica, and may be nil.
type Machine interface {
	Apply(record []byte) (answer []byte)
}

// Member is one replica: a voter listens at Addr, an observer (a non-voter) need not.
type Member struct {
	ID    int
	Addr  string // host:port
	Voter bool
}

// Timeouts bound elections. Both engines get the same.
type Timeouts struct {
	Election, Fetch time.Duration // Fetch: how long a follower bears a silent leader
}

// KafkasTimeouts are Apache Kafka's defaults; hashicorp/raft's own are 1 s each.
var KafkasTimeouts = Timeouts{Election: time.Second, Fetch: 2 * time.Second}

// Config of one replica.
type Config struct {
	Self     Member
	Voters   []Member
	Dir      string // of this replica alone
	Machine  Machine
	Timeouts Timeouts
	Seed     uint64
}

// Replica is one running replica.
type Replica interface {
	// Apply proposes a record and returns its answer once it is committed and applied here. After an error the record
	// may be in the log or not.
	Apply(ctx context.Context, record []byte) (answer []byte, err error)
	// Leads tells whether Apply may work here.
	Leads() bool
	// Stop ends the replica; graceful hands leadership over first, if it has it.
	Stop(graceful bool) error
}

// What Apply may answer.
var (
	ErrNotLeader = errors.New("not the leader: nothing was proposed")
	ErrLost      = errors.New("the leadership was lost: the record may be in the log or not")
)
