package sim

import "github.com/kraft-dev/kraft-operator/internal/quorum"

// transferred: who is handed the leadership had, on its disk, all that was in the log when that was asked for.
func (c *checker) transferred(n *node, req *quorum.TransferRequest, resp *quorum.TransferResponse) {
	last, open := c.transfers[req]
	delete(c.transfers, req)
	if !open || resp.Error != quorum.NoError || int(req.To) == n.id {
		return
	}
	c.w.count("leaderships transferred")
	epoch := n.q.Status().Epoch
	c.handed[epoch] = req.To
	o := c.w.nodes[req.To]
	if o.wiped || o.restored || o.up && o.q.Status().Epoch > epoch {
		return // it had it and lost it, or may have cut its log since, for another leader
	}
	for i, id := range n.disk.log {
		if id == last && !holds(o.disk.synced.log, i, id) {
			c.fail("n%d hands over epoch %d to n%d, which does not have batch %d at offset %d", n.id, epoch, o.id, id, c.w.batches[id].info.Base)
		}
	}
}

// records: a leader that hands over, or leaves, takes no more of them.
func (c *checker) records(n *node, before quorum.Status, e quorum.Append) {
	if before.Role == quorum.Leader && e.Control == nil && (before.HandingOver || n.leaving) {
		c.fail("n%d appends [%d,%d) to epoch %d, which it is leaving", n.id, e.Base, e.End, e.Epoch)
	}
}

// joins: only a controller that is set to asks to vote, and it doesn't wait for the commit.
func (c *checker) joins(n *node, waits bool) {
	if !n.controller || !c.w.s.autoJoin || waits {
		c.fail("n%d asks to vote: controller %v, set to join %v, waiting for the commit %v", n.id, n.controller, c.w.s.autoJoin, waits)
	}
}
