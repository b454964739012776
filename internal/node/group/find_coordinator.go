package group

import (
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kraft-dev/kraft-operator/internal/node/server"
)

// Coordinator types of FindCoordinator.
const (
	typeGroup = 0
)

// findCoordinator serves FindCoordinator v0–6: several keys from v4. Transactions and share groups have no coordinator
// here yet: COORDINATOR_NOT_AVAILABLE would make clients try for ever, so they are told INVALID_REQUEST.
func (c *Coordinator) findCoordinator(r *server.Request, req *kmsg.FindCoordinatorRequest) {
	resp := kmsg.NewPtrFindCoordinatorResponse()
	if r.Version >= 4 {
		for _, key := range req.CoordinatorKeys {
			resp.Coordinators = append(resp.Coordinators, c.coordinator(r.Conn.Listener, req.CoordinatorType, key))
		}
		r.Reply(resp)
		return
	}
	one := c.coordinator(r.Conn.Listener, req.CoordinatorType, req.CoordinatorKey)
	resp.ErrorCode, resp.ErrorMessage = one.ErrorCode, one.ErrorMessage
	resp.NodeID, resp.Host, resp.Port = one.NodeID, one.Host, one.Port
	r.Reply(resp)
}

func (c *Coordinator) coordinator(listener string, kind int8, key string) kmsg.FindCoordinatorResponseCoordinator {
	out := kmsg.NewFindCoordinatorResponseCoordinator()
	out.Key, out.NodeID, out.Port = key, -1, -1
	fail := func(err *kerr.Error, message string) kmsg.FindCoordinatorResponseCoordinator {
		out.ErrorCode, out.ErrorMessage = err.Code, &message
		return out
	}
	if kind != typeGroup {
		return fail(kerr.InvalidRequest, "only consumer groups have a coordinator here; transactions and share groups are not built yet")
	}
	if key == "" {
		return fail(kerr.InvalidGroupID, "the group id is empty")
	}
	n, ok := c.meta.OffsetsPartitions()
	if !ok {
		c.meta.CreateOffsetsTopic()
		return fail(kerr.CoordinatorNotAvailable, "__consumer_offsets is being created")
	}
	id, host, port, ok := c.meta.OffsetsLeader(partitionFor(key, n), listener)
	if !ok {
		return fail(kerr.CoordinatorNotAvailable, "the group's partition of __consumer_offsets has no leader")
	}
	out.NodeID, out.Host, out.Port = id, host, port
	out.ErrorMessage = new(string)
	return out
}
