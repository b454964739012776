package broker

import (
	"math/rand/v2"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kraft-dev/kraft-operator/internal/node/server"
)

// DescribeCluster v0 to 2 (KIP-700, KIP-919, KIP-1073): brokers only; controllers are asked on their own listeners.

func (b *Broker) describeCluster(r *server.Request, req *kmsg.DescribeClusterRequest) {
	img := b.cfg.Loader.Current()
	resp := kmsg.NewPtrDescribeClusterResponse()
	resp.ClusterID, resp.ControllerID, resp.EndpointType = b.cfg.ClusterID, -1, 1
	resp.ClusterAuthorizedOperations = notAsked
	if req.Version >= 1 && req.EndpointType != 1 {
		err := kerr.MismatchedEndpointType
		if req.EndpointType != 2 {
			err = kerr.UnsupportedEndpointType
		}
		resp.ErrorCode, resp.ErrorMessage = err.Code, kmsg.StringPtr("brokers describe brokers; ask a controller for controllers")
		r.Reply(resp)
		return
	}
	if req.IncludeClusterAuthorizedOperations {
		resp.ClusterAuthorizedOperations = b.clusterOperations(r)
	}
	if nodes := alive(img, r.Conn.Listener); len(nodes) > 0 {
		resp.ControllerID = nodes[rand.IntN(len(nodes))].ID
	}
	for id, br := range img.Brokers() {
		e, ok := br.Listener(r.Conn.Listener)
		if !ok || br.Fenced && !(req.Version >= 2 && req.IncludeFencedBrokers) {
			continue
		}
		resp.Brokers = append(resp.Brokers, kmsg.DescribeClusterResponseBroker{NodeID: id, Host: e.Host, Port: int32(e.Port), Rack: br.Rack, IsFenced: br.Fenced})
	}
	r.Reply(resp)
}
