package quorum

// Quorum is one replica of one log. It is not safe for concurrent use.
type Quorum struct{ cfg Config }

// New makes a replica from what its disk holds. persisted is nil where there is no quorum-state file. seed feeds the
// random timeouts. The first event must be Start.
func New(cfg Config, persisted *ElectionState, log LogState, seed uint64) (*Quorum, error) {
	return &Quorum{cfg: cfg}, nil
}

// Step applies one event at an instant that never decreases, and returns what must be done for it.
func (q *Quorum) Step(now Instant, ev Event) Effects { return nil }

// Deadline is when the next Tick is due, or Never. It changes only in Step.
func (q *Quorum) Deadline() Instant { return Never }

// Status returns a copy of what metrics and readiness need.
func (q *Quorum) Status() Status { return Status{} }

// VoterEndpoint returns the address of the voter with this id for a listener, from the newest voter set.
func (q *Quorum) VoterEndpoint(id NodeID, listener string) (Node, bool) { return Node{}, false }
