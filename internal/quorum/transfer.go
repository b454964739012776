package quorum

import (
	"fmt"
	"slices"
)

// TransferRequest asks the leader to hand over to one voter: ours, not Kafka's.
type TransferRequest struct{ To NodeID }

// TransferResponse answers TransferRequest when the leader has resigned, or says why it did not.
type TransferResponse struct {
	Error ErrorCode
	Text  string
}

func (*TransferRequest) message()  {}
func (*TransferResponse) message() {}

// transfer is a handover to a named voter. First the voter must reach what the log held when it was asked for, while
// writes go on and nothing is lost if it doesn't. Then no more writes are taken, and the leader resigns as
// on leaving, with that voter the first successor.
type transfer struct {
	request  Request
	to       NodeID
	goal     Offset
	deadline Instant // of the first part
}

func (q *Quorum) handleTransfer(r Request, m *TransferRequest) {
	if code, text := q.transferRefused(m.To); code != NoError || m.To == q.local.ID {
		q.reply(r, &TransferResponse{code, text})
		return
	}
	q.leader.transfer = &transfer{request: r, to: m.To, goal: q.log.end, deadline: q.now + q.cfg.RequestTimeout}
}

func (q *Quorum) transferRefused(to NodeID) (ErrorCode, string) {
	switch {
	case q.role != Leader:
		return NotLeaderOrFollower, ""
	case q.shutdown != notShuttingDown || q.leader.handover || q.leader.transfer != nil:
		return BrokerNotAvailable, "the leader is handing over already"
	case q.hw < 0:
		return RequestTimedOut, "the leader has not committed a record of its epoch yet"
	}
	if _, ok := q.voters().ByID(to); !ok {
		return VoterNotFound, fmt.Sprintf("node %d is not among the voters %s", to, q.voters())
	}
	return NoError, ""
}

// pollTransfer moves a transfer on.
func (q *Quorum) pollTransfer() {
	l := q.leader
	t := l.transfer
	if t == nil || l.handover {
		return
	}
	p := l.replicas.voters[t.to]
	switch {
	case p == nil:
		q.endTransfer(VoterNotFound, fmt.Sprintf("node %d was removed from the voters", t.to))
	case p.end >= t.goal || planted == transferToLaggard:
		q.note(NoteInfo, "handing over epoch %d to voter %d", q.election.Epoch, t.to)
		q.beginHandover()
	case t.deadline <= q.now:
		q.endTransfer(RequestTimedOut, fmt.Sprintf("voter %d is at offset %d, the log ended at %d: it does not keep up", t.to, p.end, t.goal))
	}
}

func (q *Quorum) endTransfer(code ErrorCode, text string) {
	if t := q.leader.transfer; t != nil {
		q.leader.transfer = nil
		q.reply(t.request, &TransferResponse{code, text})
	}
}

// handOver resigns, with the one who was asked for first.
func (q *Quorum) handOver() {
	keys := q.successors()
	if t := q.leader.transfer; t != nil {
		if i := slices.IndexFunc(keys, func(k ReplicaKey) bool { return k.ID == t.to }); i > 0 && planted != transferToAnother {
			first := keys[i]
			keys = slices.Insert(slices.Delete(keys, i, i+1), 0, first)
		}
		q.endTransfer(NoError, "")
	}
	q.becomeResigned(keys)
}
