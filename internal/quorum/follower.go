package quorum

// followerState lives as long as one leader is followed.
type followerState struct {
	fetchDeadline  Instant // no successful fetch until then: pre-vote. Observers ask around instead
	lastFetch      Instant
	hasFetched     bool // the leader answered a fetch of ours: it lives, and pre-votes are refused
	leaderResigned bool // it said EndQuorumEpoch
	askAround      bool // the next fetch goes to a bootstrap server
	askedAround    bool // the last one did

	unreached bool // its last answer is outstanding or failed: the address may be wrong

	refusals int     // connections to the leader refused or reset in a row
	earlyAt  Instant // pre-vote then, long before fetchDeadline; 0: no reason to

	voterSetAt Instant // next look whether the leader is to be told something about the voter set
	toldLeader bool    // this leader has answered UpdateRaftVoter
}

func (q *Quorum) newFollower() followerState {
	return followerState{fetchDeadline: q.now + q.cfg.FetchTimeout, voterSetAt: q.now + q.cfg.FetchTimeout}
}

// becomeFollower follows a leader newly known. A vote is kept within its epoch. Only a new epoch must be on disk before
// anything is said; who leads it may be written late.
func (q *Quorum) becomeFollower(l LeaderAndEpoch, endpoints []Endpoint) {
	if q.role == Leader || q.role == Resigned {
		q.hw = UnknownOffset
	}
	bumped := l.Epoch > q.election.Epoch
	if bumped {
		q.election.Voted = NoReplica
	}
	q.election.Epoch, q.election.LeaderID = l.Epoch, l.LeaderID
	q.leaderEndpoints = endpoints
	q.enter(Follower)
	q.follower = q.newFollower()
	q.electionDeadline = Never
	q.persist(bumped)
	q.failParked()
	q.note(NoteInfo, "following leader %d in epoch %d", l.LeaderID, l.Epoch)
}

func (q *Quorum) pollFollower() {
	if at := q.follower.earlyAt; at > 0 && at <= q.now && at < q.follower.fetchDeadline && q.mayElect() && q.shutdown == notShuttingDown {
		q.campaignEarly()
		return
	}
	if q.follower.fetchDeadline <= q.now {
		if q.mayElect() {
			if q.shutdown == notShuttingDown {
				q.becomeProspective()
			}
			return
		}
		// The leader and bootstrap servers by turns (KAFKA-19354, KAFKA-20514). By who was asked last, not by a toggle: the
		// request's own timeout may come at this very instant and have set askAround already.
		q.follower.askAround = !q.follower.askedAround
		q.follower.fetchDeadline = q.now + q.cfg.FetchTimeout
	}
	if !q.pollVoterSet() {
		q.pollFetch()
	}
}
