package broker

import (
	"slices"
	"strconv"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kraft-dev/kraft-operator/internal/metadata"
	"github.com/kraft-dev/kraft-operator/internal/node/server"
)

// ListConfigResources v0 to 1 (KIP-1000, KIP-1142): topics, brokers, broker loggers, client metrics and groups. v0 lists client metrics.

func (b *Broker) listConfigResources(r *server.Request, req *kmsg.ListConfigResourcesRequest) {
	resp := kmsg.NewPtrListConfigResourcesResponse()
	if !b.clusterAllowed(r, kmsg.ACLOperationDescribeConfigs) {
		resp.ErrorCode = kerr.ClusterAuthorizationFailed.Code
		r.Reply(resp)
		return
	}
	all := []int8{metadata.ResourceTopic, metadata.ResourceBroker, metadata.ResourceBrokerLogger, metadata.ResourceClientMetrics, metadata.ResourceGroup}
	types := req.ResourceTypes
	switch {
	case req.Version == 0:
		types = []int8{metadata.ResourceClientMetrics}
	case len(types) == 0:
		types = all
	}
	for _, t := range types {
		if !slices.Contains(all, t) {
			resp.ErrorCode = kerr.UnsupportedVersion.Code
			resp.ConfigResources = nil
			break
		}
		for _, name := range b.configResources(t) {
			resp.ConfigResources = append(resp.ConfigResources, kmsg.ListConfigResourcesResponseConfigResource{Name: name, Type: t})
		}
	}
	r.Reply(resp)
}

func (b *Broker) configResources(typ int8) (names []string) {
	img := b.cfg.Loader.Current()
	switch typ {
	case metadata.ResourceTopic:
		for name := range img.Topics() {
			names = append(names, name)
		}
	case metadata.ResourceBroker, metadata.ResourceBrokerLogger:
		for id, br := range img.Brokers() {
			if !br.Fenced {
				names = append(names, strconv.Itoa(int(id)))
			}
		}
	default:
		for res := range img.Configs() {
			if res.Type == typ {
				names = append(names, res.Name)
			}
		}
	}
	return names
}
