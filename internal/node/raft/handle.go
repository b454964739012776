package raft

import (
	"errors"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kraft-dev/kraft-operator/internal/node/auth"
	"github.com/kraft-dev/kraft-operator/internal/node/server"
	"github.com/kraft-dev/kraft-operator/internal/quorum"
)

var fetchKey = (&kmsg.FetchRequest{}).Key()

// Handle serves the RPCs of the quorum that arrive on a controller listener; it returns false for any other key.
func (d *Driver) Handle(r *server.Request) bool {
	op := kmsg.ACLOperationClusterAction
	switch r.Key {
	case (&kmsg.FetchRequest{}).Key(), (&kmsg.VoteRequest{}).Key(), (&kmsg.BeginQuorumEpochRequest{}).Key(),
		(&kmsg.EndQuorumEpochRequest{}).Key(), (&kmsg.UpdateRaftVoterRequest{}).Key(), (&kmsg.FetchSnapshotRequest{}).Key():
	case (&kmsg.DescribeQuorumRequest{}).Key():
		op = kmsg.ACLOperationDescribe
	case (&kmsg.AddRaftVoterRequest{}).Key(), (&kmsg.RemoveRaftVoterRequest{}).Key():
		op = kmsg.ACLOperationAlter
	case (&kmsg.ElectLeadersRequest{}).Key():
		if _, ok := fromTransfer(r.Body); !ok {
			return false
		}
		op = kmsg.ACLOperationAlter
	default:
		return false
	}
	d.metrics.request(r.Key)
	if !d.cfg.Authorizer.Authorize(r.Conn.Subject(), auth.Action{Operation: op, ResourceType: kmsg.ACLResourceTypeCluster, ResourceName: auth.ClusterName}) {
		r.Reply(topLevelError(r.Body, kerr.ClusterAuthorizationFailed.Code))
		return true
	}
	message, badPartition := fromWireRequest(r.Body)
	if !d.post(func() {
		d.nextReply++
		d.requests[d.nextReply] = r
		d.step(quorum.Request{ReplyTo: d.nextReply, Listener: r.Conn.Listener, Message: message, BadPartition: badPartition})
	}) {
		r.Close(errors.New("the node is shutting down"))
	}
	return true
}

// reply maps an answer of the engine to the request's version.
func (d *Driver) reply(e quorum.Reply) {
	r, ok := d.requests[e.ReplyTo]
	if !ok {
		return
	}
	delete(d.requests, e.ReplyTo)
	if e.Prompt {
		r.ReplyPromptly(d.toWireResponse(r, e.Message))
		return
	}
	r.Reply(d.toWireResponse(r, e.Message))
}
