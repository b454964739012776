package controller

import (
	"math"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kraft-dev/kraft-operator/internal/metadata"
)

// Endpoint types of DescribeCluster (KIP-919).
const (
	endpointBrokers     int8 = 1
	endpointControllers int8 = 2
)

// clusterOperations are what an access control entry may say of the cluster, and what is answered to who asks for them.
var clusterOperations = []kmsg.ACLOperation{
	kmsg.ACLOperationCreate, kmsg.ACLOperationAlter, kmsg.ACLOperationDescribe, kmsg.ACLOperationClusterAction,
	kmsg.ACLOperationDescribeConfigs, kmsg.ACLOperationAlterConfigs, kmsg.ACLOperationIdempotentWrite,
}

// describeCluster serves DescribeCluster v0 to 2: the controllers, with the active one, or what is registered of the
// brokers on the listener that was asked, if they have one of its name, else on their first.
func describeCluster(s *state, cfg *Config, leader int32, listener string, who access, req *kmsg.DescribeClusterRequest) kmsg.Response {
	resp := kmsg.NewPtrDescribeClusterResponse()
	resp.ClusterID, resp.ControllerID, resp.EndpointType = cfg.ClusterID, leader, req.EndpointType
	resp.ClusterAuthorizedOperations = math.MinInt32
	if req.Version == 0 {
		resp.EndpointType = endpointBrokers
	}
	refuse := func(e *apiError) kmsg.Response { return errorResponse(req, e) }
	switch resp.EndpointType {
	case endpointControllers:
		if !who.cluster(kmsg.ACLOperationAlter) {
			return refuse(failCode(kerr.ClusterAuthorizationFailed))
		}
		for _, v := range cfg.Voters() {
			resp.Brokers = append(resp.Brokers, kmsg.DescribeClusterResponseBroker{NodeID: v.ID, Host: v.Host, Port: v.Port})
		}
	case endpointBrokers:
		if !who.cluster(kmsg.ACLOperationDescribe) {
			return refuse(failCode(kerr.ClusterAuthorizationFailed))
		}
		resp.Brokers = brokerEndpoints(s, listener, req.IncludeFencedBrokers)
	default:
		return refuse(fail(kerr.UnsupportedEndpointType, "Unsupported endpoint type %d", req.EndpointType))
	}
	if req.IncludeClusterAuthorizedOperations {
		resp.ClusterAuthorizedOperations = 0
		for _, op := range clusterOperations {
			if who.cluster(op) {
				resp.ClusterAuthorizedOperations |= 1 << op
			}
		}
	}
	return resp
}

func brokerEndpoints(s *state, listener string, fenced bool) []kmsg.DescribeClusterResponseBroker {
	var out []kmsg.DescribeClusterResponseBroker
	for id, b := range s.img.Brokers() {
		if b.Fenced && !fenced || len(b.Listeners) == 0 {
			continue
		}
		e, ok := b.Listener(listener)
		if !ok {
			e = b.Listeners[0]
		}
		out = append(out, describedBroker(id, b, e))
	}
	return out
}

func describedBroker(id int32, b *metadata.Broker, e metadata.Endpoint) kmsg.DescribeClusterResponseBroker {
	return kmsg.DescribeClusterResponseBroker{NodeID: id, Host: e.Host, Port: int32(e.Port), Rack: b.Rack, IsFenced: b.Fenced}
}
