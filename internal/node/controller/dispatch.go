package controller

import (
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kraft-dev/kraft-operator/internal/node/auth"
	"github.com/kraft-dev/kraft-operator/internal/node/server"
)

func subjectOf(r *server.Request) auth.Subject { return r.Conn.Subject() }

// handle serves one request. It is called by the loop alone; the answer may come later.
func (c *core) handle(r *server.Request, now time.Time) {
	who := access{c.cfg.Authorizer, subjectOf(r)}
	if op, needed := clusterOperation(r.Body); needed && !who.cluster(op) {
		r.Reply(errorResponse(r.Body, errClusterAuthorization))
		return
	}
	if _, cluster := r.Body.(*kmsg.DescribeClusterRequest); isRead(r.Body) && !cluster && c.elect() {
		r.Reply(errorResponse(r.Body, errNotController))
		return
	}
	if resp := c.read(r, who); resp != nil {
		r.Reply(resp)
		return
	}
	if e := unsupported(r.Body); e != nil {
		r.Reply(errorResponse(r.Body, e))
		return
	}
	c.serveWrite(r, who, now)
}

// elect says whether the log has made this node the leader and has not handed over everything before its epoch: after a start
// that may be the whole log. Whoever takes this node for the active controller must not act on what is committed so far.
func (c *core) elect() bool {
	return !c.active() && c.cfg.Log.LeaderAndEpoch().LeaderID == c.cfg.NodeID
}

// read answers what any controller knows, from what is committed; nil if the request isn't a read.
func (c *core) read(r *server.Request, who access) kmsg.Response {
	s := c.committed.stable()
	switch req := r.Body.(type) {
	case *kmsg.DescribeClusterRequest:
		return describeCluster(s, &c.cfg, c.leader.LeaderID, r.Conn.Listener, who, req)
	case *kmsg.DescribeConfigsRequest:
		return describeConfigs(s, &c.cfg, who, req)
	case *kmsg.ListPartitionReassignmentsRequest:
		return listPartitionReassignments(s, req)
	}
	return nil
}

// isRead tells whether read answers a request.
func isRead(body kmsg.Request) bool {
	switch body.(type) {
	case *kmsg.DescribeClusterRequest, *kmsg.DescribeConfigsRequest, *kmsg.ListPartitionReassignmentsRequest:
		return true
	}
	return false
}

func (c *core) serveWrite(r *server.Request, who access, now time.Time) {
	if now.After(requestDeadline(r, &c.cfg)) {
		if hb, ok := r.Body.(*kmsg.BrokerHeartbeatRequest); ok {
			c.lateHeartbeat(hb)
		}
		c.metrics.timedOut.Inc()
		r.Reply(errorResponse(r.Body, failCode(kerr.RequestTimedOut)))
		return
	}
	var resp kmsg.Response
	op := func(tx *tx) (err error) {
		resp, err = writeOperation(tx, who, r.Body)
		return err
	}
	start := c.cfg.Clock.Now()
	c.write(kmsg.NameForKey(r.Key), now, op, func(e *apiError) {
		c.metrics.commitSeconds.Observe(c.cfg.Clock.Now().Sub(start).Seconds())
		if e != nil {
			resp = errorResponse(r.Body, e)
		}
		r.Reply(resp)
	})
}

// lateHeartbeat counts a heartbeat that waited too long as contact, and changes nothing else by it.
func (c *core) lateHeartbeat(req *kmsg.BrokerHeartbeatRequest) {
	if !c.active() {
		return
	}
	if b, e := checkBrokerEpoch(c.working.state, req.BrokerID, req.BrokerEpoch); e == nil {
		c.hb.touch(b.ID, b.Fenced, req.CurrentMetadataOffset)
	}
}

// requestDeadline is until when a request may wait for its turn. Those without a time limit of their own wait as long as
// their connection.
func requestDeadline(r *server.Request, cfg *Config) time.Time {
	var ms int32
	switch req := r.Body.(type) {
	case *kmsg.BrokerHeartbeatRequest:
		return r.Received.Add(cfg.HeartbeatInterval / 2)
	case *kmsg.CreateTopicsRequest:
		ms = req.TimeoutMillis
	case *kmsg.DeleteTopicsRequest:
		ms = req.TimeoutMillis
	case *kmsg.CreatePartitionsRequest:
		ms = req.TimeoutMillis
	case *kmsg.ElectLeadersRequest:
		ms = req.TimeoutMillis
	case *kmsg.AlterPartitionAssignmentsRequest:
		ms = req.TimeoutMillis
	case *kmsg.UpdateFeaturesRequest:
		ms = req.TimeoutMillis
	default:
		return r.Received.Add(24 * time.Hour)
	}
	return r.Received.Add(time.Duration(max(ms, 0)) * time.Millisecond)
}

// writeOperation runs one request against the working state.
func writeOperation(tx *tx, who access, body kmsg.Request) (kmsg.Response, error) {
	tx.user = true
	switch req := body.(type) {
	case *kmsg.CreateTopicsRequest:
		return createTopics(tx, who, req)
	case *kmsg.DeleteTopicsRequest:
		return deleteTopics(tx, who, req)
	case *kmsg.CreatePartitionsRequest:
		return createPartitions(tx, who, req)
	case *kmsg.ElectLeadersRequest:
		return electLeaders(tx, req)
	case *kmsg.IncrementalAlterConfigsRequest:
		return incrementalAlterConfigs(tx, who, req)
	case *kmsg.AlterConfigsRequest:
		return alterConfigs(tx, who, req)
	case *kmsg.AlterPartitionAssignmentsRequest:
		return alterPartitionReassignments(tx, req)
	case *kmsg.AlterClientQuotasRequest:
		return alterClientQuotas(tx, req)
	case *kmsg.AlterUserSCRAMCredentialsRequest:
		return alterUserSCRAMCredentials(tx, req)
	case *kmsg.UpdateFeaturesRequest:
		return updateFeatures(tx, req)
	}
	tx.user = false
	switch req := body.(type) {
	case *kmsg.BrokerRegistrationRequest:
		return registerBroker(tx, req)
	case *kmsg.BrokerHeartbeatRequest:
		return brokerHeartbeat(tx, req)
	case *kmsg.UnregisterBrokerRequest:
		return unregisterBroker(tx, req)
	case *kmsg.AlterPartitionRequest:
		return alterPartition(tx, req)
	case *kmsg.AllocateProducerIDsRequest:
		return allocateProducerIDs(tx, req)
	case *kmsg.ControllerRegistrationRequest:
		return registerController(tx, req)
	case *kmsg.AssignReplicasToDirsRequest:
		return assignReplicasToDirs(tx, req)
	}
	return nil, fail(kerr.UnsupportedVersion, "The controller does not serve API %d.", body.Key())
}

// clusterOperation is what a request needs of the cluster as a whole. Topics and configs are asked one by one.
func clusterOperation(body kmsg.Request) (op kmsg.ACLOperation, needed bool) {
	switch body.(type) {
	case *kmsg.BrokerRegistrationRequest, *kmsg.BrokerHeartbeatRequest, *kmsg.AlterPartitionRequest, *kmsg.AllocateProducerIDsRequest,
		*kmsg.ControllerRegistrationRequest, *kmsg.AssignReplicasToDirsRequest, *kmsg.EnvelopeRequest:
		return kmsg.ACLOperationClusterAction, true
	case *kmsg.UnregisterBrokerRequest, *kmsg.ElectLeadersRequest, *kmsg.UpdateFeaturesRequest, *kmsg.AlterPartitionAssignmentsRequest,
		*kmsg.AlterUserSCRAMCredentialsRequest, *kmsg.CreateACLsRequest, *kmsg.DeleteACLsRequest:
		return kmsg.ACLOperationAlter, true
	case *kmsg.AlterClientQuotasRequest:
		return kmsg.ACLOperationAlterConfigs, true
	case *kmsg.ListPartitionReassignmentsRequest, *kmsg.DescribeACLsRequest:
		return kmsg.ACLOperationDescribe, true
	}
	return 0, false
}

// unsupported answers what a cluster without an authorizer, SASL or delegation tokens refuses, as Kafka does.
func unsupported(body kmsg.Request) *apiError {
	switch body.(type) {
	case *kmsg.DescribeACLsRequest, *kmsg.CreateACLsRequest, *kmsg.DeleteACLsRequest:
		return fail(kerr.SecurityDisabled, "No Authorizer is configured.")
	case *kmsg.CreateDelegationTokenRequest, *kmsg.RenewDelegationTokenRequest, *kmsg.ExpireDelegationTokenRequest:
		return failCode(kerr.DelegationTokenAuthDisabled)
	case *kmsg.DescribeDelegationTokenRequest, *kmsg.DescribeUserSCRAMCredentialsRequest:
		return failCode(kerr.UnsupportedVersion) // advertised, and not handled by a controller
	case *kmsg.SASLHandshakeRequest, *kmsg.SASLAuthenticateRequest:
		return failCode(kerr.IllegalSaslState)
	}
	return nil
}
