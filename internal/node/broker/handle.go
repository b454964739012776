package broker

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kraft-dev/kraft-operator/internal/metadata"
	"github.com/kraft-dev/kraft-operator/internal/node/auth"
	"github.com/kraft-dev/kraft-operator/internal/node/server"
	"github.com/kraft-dev/kraft-operator/internal/node/wire"
	"github.com/kraft-dev/kraft-operator/internal/uuid"
)

// groupKeys are the APIs of the group coordinator.
var groupKeys = []int16{8, 9, 10, 11, 12, 13, 14, 15, 16, 42, 47}

// servedKeys are the APIs that this package serves itself or forwards.
var servedKeys = []int16{0, 1, 2, 3, 18, 19, 20, 21, 22, 23, 32, 33, 35, 37, 43, 44, 45, 46, 55, 57, 60, 61, 64, 74, 75, 80, 81}

// APIs are what a broker listener serves, with Kafka's versions: less than Kafka's list, and what is missing isn't advertised.
func (b *Broker) APIs() []wire.API {
	keys := servedKeys
	if b.groups != nil {
		keys = slices.Concat(servedKeys, groupKeys)
	}
	return wire.Narrow(wire.APIsFor(wire.BrokerListener), keys...)
}

// Handle answers one request of a broker listener, now or later. It doesn't block for long.
func (b *Broker) Handle(r *server.Request) {
	b.metrics.requests.WithLabelValues(kmsg.NameForKey(r.Key)).Inc()
	switch req := r.Body.(type) {
	case *kmsg.ProduceRequest:
		b.produce(r, req)
	case *kmsg.FetchRequest:
		b.fetch(r, req)
	case *kmsg.MetadataRequest:
		b.metadata(r, req)
	case *kmsg.ApiVersionsRequest:
		b.apiVersions(r, req)
	case *kmsg.ListOffsetsRequest:
		b.listOffsets(r, req)
	case *kmsg.OffsetForLeaderEpochRequest:
		b.offsetForLeaderEpoch(r, req)
	case *kmsg.InitProducerIDRequest:
		b.initProducerID(r, req)
	case *kmsg.DescribeClusterRequest:
		b.describeCluster(r, req)
	case *kmsg.DescribeConfigsRequest:
		b.describeConfigs(r, req)
	case *kmsg.DescribeLogDirsRequest:
		b.describeLogDirs(r, req)
	case *kmsg.DescribeTopicPartitionsRequest:
		b.describeTopicPartitions(r, req)
	case *kmsg.DescribeProducersRequest:
		b.describeProducers(r, req)
	case *kmsg.DeleteRecordsRequest:
		b.deleteRecords(r, req)
	case *kmsg.ListConfigResourcesRequest:
		b.listConfigResources(r, req)
	default:
		if api, ok := wire.Lookup(r.Key); ok && api.Forwardable && slices.Contains(servedKeys, r.Key) {
			b.forwardRequest(r)
			return
		}
		if b.groups == nil || !b.groups.Handle(r) {
			r.Close(fmt.Errorf("%s is not served by this broker", kmsg.NameForKey(r.Key)))
		}
	}
}

// allowed asks the authorizer about one resource.
func (b *Broker) allowed(r *server.Request, op kmsg.ACLOperation, typ kmsg.ACLResourceType, name string) bool {
	return b.cfg.Authorizer.Authorize(r.Conn.Subject(), auth.Action{Operation: op, ResourceType: typ, ResourceName: name})
}

func (b *Broker) topicAllowed(r *server.Request, op kmsg.ACLOperation, topic string) bool {
	return b.allowed(r, op, kmsg.ACLResourceTypeTopic, topic)
}

func (b *Broker) clusterAllowed(r *server.Request, op kmsg.ACLOperation) bool {
	return b.allowed(r, op, kmsg.ACLResourceTypeCluster, auth.ClusterName)
}

// code is an error's number on the wire; what isn't Kafka's is UNKNOWN_SERVER_ERROR.
func code(err error) int16 {
	var ke *kerr.Error
	switch {
	case err == nil:
		return 0
	case errors.As(err, &ke):
		return ke.Code
	}
	return kerr.UnknownServerError.Code
}

// findTopic resolves a topic by name, or by id where the version of the request has ids.
//
// Errors: UNKNOWN_TOPIC_OR_PARTITION, UNKNOWN_TOPIC_ID.
func findTopic(img *metadata.Image, name string, id uuid.UUID, byID bool) (*metadata.Topic, error) {
	if byID {
		if t, ok := img.TopicByID(id); ok {
			return t, nil
		}
		return nil, kerr.UnknownTopicID
	}
	if t, ok := img.TopicByName(name); ok {
		return t, nil
	}
	return nil, kerr.UnknownTopicOrPartition
}

// absent is why a partition isn't served here: it doesn't exist, or others have it.
func absent(t *metadata.Topic, index int32) error {
	if _, ok := t.Partition(index); !ok {
		return kerr.UnknownTopicOrPartition
	}
	return kerr.NotLeaderForPartition
}

// hint is who leads a partition, for clients that asked the wrong broker (KIP-951).
type hint struct {
	leader, epoch int32
	node          endpoint
	known         bool // node can be reached on the client's listener
}

// leaderHint looks a partition's leader up in the newest image.
func (b *Broker) leaderHint(topic uuid.UUID, index int32, listener string) (hint, bool) {
	img := b.cfg.Loader.Current()
	p, ok := img.Partition(topic, index)
	if !ok {
		return hint{}, false
	}
	h := hint{leader: p.Leader, epoch: p.LeaderEpoch}
	if p.Leader >= 0 {
		h.node, h.known = endpointOf(img, p.Leader, listener)
	}
	return h, true
}

func sinceSeconds(t time.Time) float64 { return time.Since(t).Seconds() }
