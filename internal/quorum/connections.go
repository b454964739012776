package quorum

import "slices"

// connections is the request manager: at most one outstanding request a destination, a constant back-off after a
// failed answer, and nothing remembered across a change of role (KIP-595).
type connections struct {
	list        []connection // few; absent = ready
	correlation uint64
}

type connection struct {
	to          Node
	correlation uint64 // 0: backing off
	request     Message
	until       Instant // when the request times out, or the back-off ends
}

func (c *connections) find(id NodeID) int {
	return slices.IndexFunc(c.list, func(k connection) bool { return k.to.ID == id })
}

func (c *connections) ready(id NodeID) bool { return c.find(id) < 0 }

// fetching reports whether a fetch, of records or of a snapshot, is outstanding anywhere: there is never more than one.
func (c *connections) fetching() bool {
	return slices.ContainsFunc(c.list, func(k connection) bool { return isFetch(k.request) && k.correlation != 0 })
}

func isFetch(m Message) bool {
	switch m.(type) {
	case *FetchRequest, *FetchSnapshotRequest:
		return true
	}
	return false
}

// hold leaves a destination alone until then.
func (c *connections) hold(to Node, until Instant) {
	if c.ready(to.ID) {
		c.list = append(c.list, connection{to: to, until: until})
	}
}

func (c *connections) take(correlation uint64) (connection, bool) {
	i := slices.IndexFunc(c.list, func(k connection) bool { return k.correlation == correlation })
	if correlation == 0 || i < 0 {
		return connection{}, false
	}
	k := c.list[i]
	c.list = slices.Delete(c.list, i, i+1)
	return k, true
}

// send emits a request to a ready destination.
func (q *Quorum) send(to Node, m Message) {
	c := &q.conns
	c.correlation++
	c.list = append(c.list, connection{to: to, correlation: c.correlation, request: m, until: q.now + q.cfg.RequestTimeout})
	q.out.emit(Send{Correlation: c.correlation, To: to, Message: m})
}

// backOff keeps a destination from being asked again too soon.
func (q *Quorum) backOff(to Node) {
	q.conns.hold(to, q.now+q.cfg.RetryBackoff)
}

// expireConnections makes destinations ready again whose time is over.
func (q *Quorum) expireConnections() {
	q.conns.list = slices.DeleteFunc(q.conns.list, func(k connection) bool {
		if k.until > q.now {
			return false
		}
		if k.correlation != 0 {
			q.leaderUnreached(k.to)
			q.unreachable(k.to)
		}
		if isFetch(k.request) && k.correlation != 0 {
			q.onFetchTimeout(k.to)
		}
		return true
	})
}

// voterNode is where a voter is reached.
func (q *Quorum) voterNode(v Voter) (Node, bool) {
	e, ok := v.Endpoint(q.cfg.Listener)
	if !ok && len(v.Endpoints) > 0 {
		e, ok = v.Endpoints[0], true
	}
	return q.routed(Node{ID: v.Key.ID, Host: e.Host, Port: e.Port}, ok)
}

// bootstrapNodes are fetch targets for finding the leader: the configured servers, and the voters that aren't among them but for the one that
// is thought to lead. A list that was right once may name nobody who still votes.
func (q *Quorum) bootstrapNodes() []Node {
	nodes := slices.Clip(q.bootstrap)
	for _, v := range q.voters().Voters() {
		n, ok := q.voterNode(v)
		listed := slices.ContainsFunc(q.bootstrap, func(b Node) bool { return b.Host == n.Host && b.Port == n.Port })
		if ok && !listed && v.Key.ID != q.local.ID && v.Key.ID != q.election.LeaderID {
			nodes = append(nodes, n)
		}
	}
	return nodes
}

// readyBootstrap picks a ready bootstrap server, from a random start.
func (q *Quorum) readyBootstrap() (Node, bool) {
	nodes := q.bootstrapNodes()
	first := int(q.rng.below(int64(len(nodes))))
	for i := range nodes {
		if n := nodes[(first+i)%len(nodes)]; q.conns.ready(n.ID) {
			return n, true
		}
	}
	return Node{}, false
}
