package broker

import (
	"math/rand/v2"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kraft-dev/kraft-operator/internal/metadata"
	"github.com/kraft-dev/kraft-operator/internal/node/server"
	"github.com/kraft-dev/kraft-operator/internal/uuid"
)

// Metadata v0 to 13: addresses of the listener that the request came on; the controller is any live broker, because brokers forward
// (KIP-590); topic ids (KIP-516); auto.create.topics.enable by CreateTopics to the active controller.

// notAsked is what a response says of authorized operations that weren't asked for.
const notAsked = -2147483648

// A topic that isn't known may have been created a moment ago, through another broker: the answer waits so long for it, rather than sending
// the client into its back-off.
const (
	newTopicPatience  = 50 * time.Millisecond
	autoTopicPatience = 250 * time.Millisecond // this request had it created
)

func (b *Broker) metadata(r *server.Request, req *kmsg.MetadataRequest) {
	resp := b.metadataNow(r, req)
	patience := time.Duration(0)
	for i := range resp.Topics {
		switch resp.Topics[i].ErrorCode {
		case kerr.UnknownTopicID.Code:
			patience = max(patience, newTopicPatience)
		case kerr.UnknownTopicOrPartition.Code:
			patience = max(patience, newTopicPatience)
			if b.create.creating(*resp.Topics[i].Topic) {
				patience = autoTopicPatience
			}
		}
	}
	if patience == 0 {
		r.Reply(resp)
		return
	}
	b.waits.wait(patience, func() bool { return b.allThere(req) }, func() { r.Reply(b.metadataNow(r, req)) })
}

// allThere reports whether every topic that was asked for is known.
func (b *Broker) allThere(req *kmsg.MetadataRequest) bool {
	img := b.cfg.Loader.Current()
	for i := range req.Topics {
		name := ""
		if t := req.Topics[i].Topic; t != nil {
			name = *t
		}
		if _, err := findTopic(img, name, req.Topics[i].TopicID, req.Topics[i].Topic == nil); err != nil {
			return false
		}
	}
	return true
}

func (b *Broker) metadataNow(r *server.Request, req *kmsg.MetadataRequest) *kmsg.MetadataResponse {
	img := b.cfg.Loader.Current()
	resp := kmsg.NewPtrMetadataResponse()
	resp.ClusterID = kmsg.StringPtr(b.cfg.ClusterID)
	resp.ControllerID, resp.AuthorizedOperations = -1, notAsked
	if nodes := alive(img, r.Conn.Listener); len(nodes) > 0 {
		resp.ControllerID = nodes[rand.IntN(len(nodes))].ID
		for _, n := range nodes {
			resp.Brokers = append(resp.Brokers, kmsg.MetadataResponseBroker{NodeID: n.ID, Host: n.Host, Port: n.Port, Rack: n.Rack})
		}
	}
	if req.IncludeClusterAuthorizedOperations && req.Version >= 8 && req.Version <= 10 {
		resp.AuthorizedOperations = b.clusterOperations(r)
	}
	switch all := req.Topics == nil || req.Version == 0 && len(req.Topics) == 0; {
	case all:
		for name, t := range img.Topics() {
			if b.topicAllowed(r, kmsg.ACLOperationDescribe, name) {
				resp.Topics = append(resp.Topics, b.metadataTopic(r, req, img, t))
			}
		}
	default:
		for i := range req.Topics {
			resp.Topics = append(resp.Topics, b.metadataAsked(r, req, img, &req.Topics[i]))
		}
	}
	return resp
}

// metadataAsked answers for one topic that was asked for by name or id.
func (b *Broker) metadataAsked(r *server.Request, req *kmsg.MetadataRequest, img *metadata.Image, asked *kmsg.MetadataRequestTopic) kmsg.MetadataResponseTopic {
	out := kmsg.NewMetadataResponseTopic()
	out.Topic, out.TopicID, out.AuthorizedOperations = asked.Topic, asked.TopicID, notAsked
	byID := asked.Topic == nil
	if byID && req.Version < 12 || asked.Topic != nil && req.Version >= 12 && !uuid.UUID(asked.TopicID).IsZero() && *asked.Topic == "" {
		out.ErrorCode = kerr.InvalidRequest.Code
		return out
	}
	name := ""
	if !byID {
		name = *asked.Topic
	}
	t, err := findTopic(img, name, asked.TopicID, byID)
	if err == nil {
		if b.topicAllowed(r, kmsg.ACLOperationDescribe, t.Name) {
			return b.metadataTopic(r, req, img, t)
		}
		err = kerr.TopicAuthorizationFailed
		if byID { // a name must not leak through its id
			err = kerr.UnknownTopicID
		}
	} else if !byID {
		err = b.unknownTopic(r, req, name)
	}
	out.ErrorCode = code(err)
	out.IsInternal = isInternal(name)
	return out
}

// unknownTopic creates a topic that a client asked for, where that is allowed, and says what to tell the client meanwhile.
func (b *Broker) unknownTopic(r *server.Request, req *kmsg.MetadataRequest, name string) error {
	if !b.topicAllowed(r, kmsg.ACLOperationDescribe, name) {
		return kerr.TopicAuthorizationFailed
	}
	if !validTopicName(name) {
		return kerr.InvalidTopicException
	}
	if (req.Version < 4 || req.AllowAutoTopicCreation) && b.settings.Load().autoCreate {
		if !b.clusterAllowed(r, kmsg.ACLOperationCreate) && !b.topicAllowed(r, kmsg.ACLOperationCreate, name) {
			return kerr.TopicAuthorizationFailed
		}
		return b.create.topic(name)
	}
	return kerr.UnknownTopicOrPartition
}

func (b *Broker) metadataTopic(r *server.Request, req *kmsg.MetadataRequest, img *metadata.Image, t *metadata.Topic) kmsg.MetadataResponseTopic {
	out := kmsg.NewMetadataResponseTopic()
	out.Topic, out.TopicID, out.IsInternal = kmsg.StringPtr(t.Name), t.ID, isInternal(t.Name)
	out.AuthorizedOperations = notAsked
	if req.IncludeTopicAuthorizedOperations && req.Version >= 8 {
		out.AuthorizedOperations = b.topicOperations(r, t.Name)
	}
	out.Partitions = make([]kmsg.MetadataResponseTopicPartition, 0, t.PartitionCount())
	for i, p := range t.Partitions() {
		mp := kmsg.NewMetadataResponseTopicPartition()
		mp.Partition, mp.Leader, mp.LeaderEpoch = i, p.Leader, p.LeaderEpoch
		mp.Replicas, mp.ISR, mp.OfflineReplicas = p.Replicas, p.ISR, offline(img, p.Replicas)
		if _, ok := endpointOf(img, p.Leader, r.Conn.Listener); !ok {
			mp.ErrorCode, mp.Leader = leaderError(img, p.Leader), -1
		}
		out.Partitions = append(out.Partitions, mp)
	}
	return out
}

// leaderError is why a partition's leader can't be named: there is none, or it isn't on the client's listener (KIP-103).
func leaderError(img *metadata.Image, leader int32) int16 {
	if br, ok := img.Broker(leader); ok && !br.Fenced {
		return kerr.ListenerNotFound.Code
	}
	return kerr.LeaderNotAvailable.Code
}

// offline are the replicas on brokers that are fenced or gone.
func offline(img *metadata.Image, replicas []int32) []int32 {
	out := []int32{}
	for _, id := range replicas {
		if br, ok := img.Broker(id); !ok || br.Fenced {
			out = append(out, id)
		}
	}
	return out
}

// Operations that Kafka knows for each kind of resource (KIP-430).
var (
	topicOps = []kmsg.ACLOperation{
		kmsg.ACLOperationRead, kmsg.ACLOperationWrite, kmsg.ACLOperationCreate, kmsg.ACLOperationDelete, kmsg.ACLOperationAlter,
		kmsg.ACLOperationDescribe, kmsg.ACLOperationDescribeConfigs, kmsg.ACLOperationAlterConfigs,
	}
	clusterOps = []kmsg.ACLOperation{
		kmsg.ACLOperationCreate, kmsg.ACLOperationAlter, kmsg.ACLOperationDescribe, kmsg.ACLOperationClusterAction,
		kmsg.ACLOperationDescribeConfigs, kmsg.ACLOperationAlterConfigs, kmsg.ACLOperationIdempotentWrite,
	}
)

// topicOperations is the bit set of what the client may do with a topic.
func (b *Broker) topicOperations(r *server.Request, topic string) (bits int32) {
	for _, op := range topicOps {
		if b.topicAllowed(r, op, topic) {
			bits |= 1 << op
		}
	}
	return bits
}

func (b *Broker) clusterOperations(r *server.Request) (bits int32) {
	for _, op := range clusterOps {
		if b.clusterAllowed(r, op) {
			bits |= 1 << op
		}
	}
	return bits
}

// validTopicName: 1 to 249 of letters, digits, '.', '_' and '-', and not "." or "..".
func validTopicName(name string) bool {
	if name == "" || name == "." || name == ".." || len(name) > 249 {
		return false
	}
	for _, c := range []byte(name) {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '.' && c != '_' && c != '-' {
			return false
		}
	}
	return true
}
