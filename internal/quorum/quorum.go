package quorum

import (
	"errors"
	"fmt"
	"slices"
)

// Quorum is one replica of one log. It is not safe for concurrent use.
type Quorum struct {
	cfg       Config
	local     ReplicaKey
	bootstrap []Node
	now       Instant
	deadline  Instant
	rng       random

	// election is what quorum-state holds, or will once the effects under way are done.
	election        ElectionState
	leaderEndpoints []Endpoint // of election.LeaderID; empty where only its id is known
	role            Role
	moves           uint64 // changes of role so far

	electionDeadline Instant        // Unattached, Prospective, Candidate, Resigned
	tally            tally          // Prospective, Candidate
	follower         followerState  // Follower
	early            *followerState // Prospective before the fetch timeout: what to go back to
	leader           *leaderState   // Leader
	resigned         resignedState  // Resigned

	log     logView
	history history
	// hw is the high watermark as this role knows it: carried from role to role, unknown in a new leader and in
	// Resigned. committed is the highest ever reported; it bounds truncation.
	hw        Offset
	committed Offset

	out         outbox
	conns       connections
	parked      []fetchInProgress
	parkedUntil Instant // no parked fetch's deadline is earlier
	reads       map[uint64]fetchInProgress
	readToken   uint64 // of reads and snapshotReads

	snapshotReads map[uint64]snapshotRead
	download      *download
	installToken  uint64
	damaged       damagedSnapshot
	reported      LeaderAndEpoch // last LeaderChanged

	detour map[NodeID]bool // routes.go: take the route, the recorded address failed last

	blank     bool                 // formation.go
	promised  map[ReplicaKey]Epoch // by a blank voter: the epoch of the pre-vote it gave last
	replacing bool
	shutdown  shutdownPhase
}

// New makes a replica from what its disk holds. persisted is nil where there is no quorum-state file. seed feeds the
// random timeouts. The first event must be Start.
func New(cfg Config, persisted *ElectionState, log LogState, seed uint64) (*Quorum, error) {
	view, err := newLogView(log)
	if err != nil {
		return nil, err
	}
	if persisted != nil && persisted.Voted.Known() && cfg.NodeID < 0 {
		return nil, errors.New("quorum-state holds a vote but node.id is not set: set the node.id this disk was formatted for")
	}
	if persisted != nil && persisted.Epoch < 0 {
		return nil, fmt.Errorf("quorum-state: leaderEpoch %d is negative", persisted.Epoch)
	}
	q := &Quorum{
		cfg:           cfg,
		local:         ReplicaKey{cfg.NodeID, cfg.DirectoryID},
		deadline:      Never,
		rng:           random{seed},
		election:      ElectionState{LeaderID: None, Voted: NoReplica},
		log:           view,
		history:       newHistory(cfg.StaticVoters, log.Control),
		hw:            UnknownOffset,
		committed:     UnknownOffset,
		reads:         map[uint64]fetchInProgress{},
		snapshotReads: map[uint64]snapshotRead{},
		reported:      LeaderAndEpoch{LeaderID: None},
		damaged:       damagedSnapshot{leader: None},

		electionDeadline: Never,
	}
	for i, n := range cfg.BootstrapServers {
		if !isOwn(cfg.Endpoints, n) {
			q.bootstrap = append(q.bootstrap, Node{ID: NodeID(-2 - i), Host: n.Host, Port: n.Port})
		}
	}
	if persisted != nil {
		q.election = *persisted
		if planted == voteForgotten {
			q.election.Voted = NoReplica
		}
		q.out.newest, q.out.seq, q.out.persisted = *persisted, 1, 1
	}
	q.blank = cfg.FormationSafe && persisted == nil && q.log.empty() && q.isVoter()
	return q, nil
}

// isOwn: the list of bootstrap servers is the same on all nodes, so it may name this one.
func isOwn(own []Endpoint, n Node) bool {
	return slices.ContainsFunc(own, func(e Endpoint) bool { return e.Host == n.Host && e.Port == n.Port })
}

// Step applies one event at an instant that never decreases, and returns what must be done for it.
func (q *Quorum) Step(now Instant, ev Event) Effects {
	q.now = max(q.now, now)
	q.out.begin()
	q.handle(ev)
	q.poll()
	q.reportLeader()
	q.deadline = q.nextDeadline()
	return q.out.fx
}

// Deadline is when the next Tick is due, or Never. It changes only in Step.
func (q *Quorum) Deadline() Instant { return q.deadline }

func (q *Quorum) handle(ev Event) {
	switch ev := ev.(type) {
	case Start:
		q.start()
	case Tick:
	case Request:
		q.handleRequest(ev)
	case Response:
		q.handleResponse(ev.Correlation, ev.Message)
	case SendFailed:
		q.handleSendFailed(ev)
	case ElectionPersisted:
		q.out.onPersisted(ev.Seq)
	case Flushed:
		q.onFlushed(ev.Seq)
	case ReadDone:
		q.onReadDone(ev)
	case SnapshotRead:
		q.onSnapshotRead(ev)
	case SnapshotInstalled:
		q.onSnapshotInstalled(ev)
	case SnapshotCreated:
		q.onSnapshotCreated(ev.Info)
	case CleanTo:
		q.onCleanTo(ev.ID)
	case Propose:
		q.propose(ev)
	case Resign:
		if q.role == Leader && ev.Epoch == q.election.Epoch && !q.leader.handover { // handing over, it leaves in good order and soon
			q.note(NoteInfo, "resigning from epoch %d as the state machine asked", ev.Epoch)
			q.becomeResigned(q.successors())
		}
	case Shutdown:
		q.beginShutdown()
	case DirectoryReplaced:
		q.onDirectoryReplaced(ev.DirectoryID)
	case UpgradeVersion:
		q.upgradeVersion(ev)
	case ReadIndex:
		q.readIndex(ev.Token)
	case Routes:
		q.cfg.Routes = slices.Clone(ev.Nodes)
	}
}

func (q *Quorum) handleRequest(r Request) {
	switch m := r.Message.(type) {
	case *VoteRequest:
		q.handleVote(r, m)
	case *BeginQuorumEpochRequest:
		q.handleBegin(r, m)
	case *EndQuorumEpochRequest:
		q.handleEnd(r, m)
	case *FetchRequest:
		q.handleFetch(r, m)
	case *FetchSnapshotRequest:
		q.handleFetchSnapshot(r, m)
	case *DescribeQuorumRequest:
		q.handleDescribe(r)
	case *UpdateVoterRequest:
		q.handleUpdateVoter(r, m)
	case *AddVoterRequest:
		q.handleAddVoter(r, m)
	case *RemoveVoterRequest:
		q.handleRemoveVoter(r, m)
	case *TransferRequest:
		q.handleTransfer(r, m)
	}
}

func (q *Quorum) reply(r Request, m Message) { q.replyTo(r, m, false) }

func (q *Quorum) replyTo(r Request, m Message, prompt bool) {
	if resp, ok := m.(response); ok && leadsUnaware(r.Message, resp.Common().Leader) {
		resp.Common().Leader.LeaderID, resp.Common().Endpoint = None, Node{ID: None}
	}
	q.out.emit(Reply{ReplyTo: r.ReplyTo, Message: m, Prompt: prompt})
}

// poll does what is due now in the present role: timers, then requests to ready destinations. A change of role is
// polled again, so that a lone voter is elected within one Step.
func (q *Quorum) poll() {
	q.expireConnections()
	q.expireParked()
	for range 8 {
		before := q.moves
		q.pollRole()
		if q.moves == before {
			break
		}
	}
	q.pollShutdown()
}

func (q *Quorum) pollRole() {
	if q.replacing || q.installing() {
		return
	}
	if q.soleVoter() && q.shutdown == notShuttingDown {
		switch q.role {
		case Follower: // of a leader that removes itself: it leaves by itself
			if q.follower.hasFetched && !q.follower.leaderResigned {
				break
			}
			fallthrough
		case Unattached, Resigned:
			q.becomeProspective()
			return
		}
	}
	switch q.role {
	case Unattached:
		q.pollUnattached()
	case Prospective:
		q.pollProspective()
	case Candidate:
		q.pollCandidate()
	case Leader:
		q.pollLeader()
	case Follower:
		q.pollFollower()
	case Resigned:
		q.pollResigned()
	}
}

// enter changes the role. Requests under way are forgotten, and with them their answers (pitfall: late responses).
func (q *Quorum) enter(r Role) {
	if q.role == Leader {
		q.leaveChange()
		q.leader = nil
	}
	q.giveUpSilentVoters()
	q.role = r
	q.early = nil
	q.moves++
	if planted != lateAnswers {
		q.conns.list = q.conns.list[:0]
	}
	q.abandonDownload()
}

func (q *Quorum) voters() VoterSet {
	if planted == uncommittedVotersIgnored {
		if set, ok := q.VotersAt(max(q.committed, 0) - 1); ok {
			return set
		}
	}
	return q.history.current()
}

func (q *Quorum) isVoter() bool {
	if _, ok := q.voters().ByID(q.local.ID); ok && planted == diskIgnored {
		return true
	}
	return !q.replacing && q.voters().Contains(q.local)
}

// mayElect reports whether this replica may campaign: as a voter, or as one whose own removal is not known to be committed. The
// others still vote by the old set, if the record has not reached them, and this log is the longer: where they need this
// one's vote, for there were two voters or because another's disk is gone, none of them could ever be elected. So it campaigns for
// the votes of the new set, not counting its own, as Raft has it (Ongaro's dissertation, 4.2.2). Once elected it commits the
// record and hands over (votedOut). Pre-votes keep it from deposing anyone.
func (q *Quorum) mayElect() bool {
	return q.isVoter() || !q.replacing && q.history.leaving(q.local, q.committedFloor())
}

func (q *Quorum) soleVoter() bool { return q.isVoter() && q.voters().Len() == 1 }

// nextDeadline is the earliest instant in the future at which poll could do something.
func (q *Quorum) nextDeadline() Instant {
	next := Never
	soonest := func(t Instant) {
		if t > q.now && t < next {
			next = t
		}
	}
	for _, c := range q.conns.list {
		soonest(c.until)
	}
	if len(q.parked) > 0 {
		soonest(q.parkedUntil)
	}
	switch q.role {
	case Unattached, Prospective, Candidate, Resigned:
		soonest(q.electionDeadline)
	case Follower:
		soonest(q.follower.fetchDeadline)
		if q.damaged.leader == q.election.LeaderID {
			soonest(q.damaged.askAt)
		}
		if q.follower.earlyAt > 0 && q.mayElect() {
			soonest(q.follower.earlyAt)
		}
		if len(q.cfg.Endpoints) > 0 {
			soonest(q.follower.voterSetAt)
		}
	case Leader:
		q.leader.deadlines(soonest)
	}
	return next
}

// reportLeader tells the driver when the known leader or the epoch has changed.
func (q *Quorum) reportLeader() {
	now := LeaderAndEpoch{LeaderID: q.election.LeaderID, Epoch: q.election.Epoch}
	if now.LeaderID == q.local.ID && q.role != Leader {
		now.LeaderID = None
	}
	if now == q.reported {
		return
	}
	q.reported = now
	ev := LeaderChanged{LeaderAndEpoch: now}
	if q.role == Leader {
		ev.EpochStart, ev.NextOffset = q.leader.epochStart, q.log.end
	}
	q.out.emit(ev)
}

// Status returns a copy of what metrics and readiness need.
func (q *Quorum) Status() Status {
	s := Status{
		Role: q.role, LeaderID: q.election.LeaderID, Epoch: q.election.Epoch, Voter: q.isVoter(),
		HighWatermark: q.hw, LogStartOffset: q.log.start, LogEndOffset: q.log.end, Flushed: q.log.flushed,
		DamagedSnapshots: q.damaged.times, KRaftVersion: q.history.kraftVersion(), Voters: q.voters(),
	}
	switch q.role {
	case Resigned:
		s.LeaderID = None // it says so to peers who ask who led; nobody leads
	case Follower:
		s.LastFetch = q.follower.lastFetch
	case Leader:
		s.LastFetch, s.HandingOver = q.leader.lastMajority, q.leader.handover
	}
	return s
}

// VoterEndpoint returns the address of the voter with this id for a listener, from the newest voter set.
func (q *Quorum) VoterEndpoint(id NodeID, listener string) (Node, bool) {
	v, ok := q.voters().ByID(id)
	if !ok {
		return Node{}, false
	}
	e, ok := v.Endpoint(listener)
	return Node{ID: id, Host: e.Host, Port: e.Port}, ok
}

func (q *Quorum) emptyForVotes() bool { return q.cfg.FormationSafe && q.log.empty() }
