package quorum

import "time"

// handleDescribe answers DescribeQuorum; only the leader can.
func (q *Quorum) handleDescribe(r Request) {
	resp := &DescribeQuorumResponse{Answer: q.answer(r.Listener, NoError, NoError), HighWatermark: UnknownOffset}
	switch {
	case r.BadPartition:
		resp.Error = UnknownTopicOrPartition
	case q.role != Leader:
		resp.Error = NotLeaderOrFollower
	default:
		q.describe(resp)
	}
	q.reply(r, resp)
}

func (q *Quorum) describe(resp *DescribeQuorumResponse) {
	rs := &q.leader.replicas
	rs.forget(q.now, q.local)
	resp.HighWatermark = q.hw
	resp.Nodes = rs.set.Voters()
	for _, v := range rs.set.Voters() {
		p := rs.voters[v.Key.ID]
		s := p.state(q.now)
		s.Key = v.Key
		if v.Key.ID == q.local.ID {
			s.LogEndOffset, s.LastFetch, s.LastCaughtUp = q.log.end, time.Duration(0), time.Duration(0)
		}
		resp.Voters = append(resp.Voters, s)
	}
	for _, p := range rs.sortedObservers() {
		s := p.state(q.now)
		if p.key == q.local {
			s.LogEndOffset, s.LastFetch, s.LastCaughtUp = q.log.end, 0, 0
		}
		resp.Observers = append(resp.Observers, s)
	}
}
