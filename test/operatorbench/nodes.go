package main

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
	corev1 "k8s.io/api/core/v1"

	"github.com/kraft-dev/kraft-operator/internal/admin/admintest"
	"github.com/kraft-dev/kraft-operator/internal/uuid"
)

// Where nodes listen, each on a loopback address of its own.
const (
	controllerPort = 9093
	brokerPort     = 29092
)

// nodes are the kraftds behind every address, as far as the operator asks: controllers 0 to 2 vote and 0 leads, brokers
// are registered, and there are no topics.
type nodes struct {
	mu       sync.Mutex
	voters   [clusters][3][16]byte       // directory ids
	settings [clusters]map[string]string // dynamic defaults
	silent   int                         // the nodes of so many clusters, from the first, take requests and never answer
	ended    <-chan struct{}             // they let go of them
}

// silence lets the nodes of the first n clusters answer nothing any more, until ctx ends.
func (n *nodes) silence(ctx context.Context, count int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.silent, n.ended = count, ctx.Done()
}

// address is 127.30.cluster.node, in which brokers come after controllers.
func address(cluster int, id int64) string {
	if id >= 1000 {
		id -= 900
	}
	return fmt.Sprintf("127.30.%d.%d", cluster, id+1)
}

// listen answers for every node until ctx ends.
func (n *nodes) listen(ctx context.Context) error {
	for cluster := range clusters {
		for i := range int64(3 + brokers) {
			id, port := i, controllerPort
			if i >= 3 {
				id, port = 1000+i-3, brokerPort
			}
			l, err := new(net.ListenConfig).Listen(ctx, "tcp", net.JoinHostPort(address(cluster, id), strconv.Itoa(port)))
			if err != nil {
				return err
			}
			context.AfterFunc(ctx, func() { _ = l.Close() })
			go admintest.Serve(l, n.answer)
		}
	}
	return nil
}

// learn takes the voters' directory ids from a controller's claim, or from wherever they are written as id@directory.
func (n *nodes) learn(cluster int, voters map[int32]string) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	for id, text := range voters {
		dir, err := uuid.Parse(text)
		if err != nil {
			return fmt.Errorf("voter %d of cluster %d: %w", id, cluster, err)
		}
		n.voters[cluster][id] = dir
	}
	return nil
}

// answer is what the node at an address says.
func (n *nodes) answer(at net.Addr, req kmsg.Request) kmsg.Response {
	cluster := int(at.(*net.TCPAddr).IP.To4()[2])
	n.mu.Lock()
	if cluster < n.silent {
		ended := n.ended
		n.mu.Unlock()
		<-ended
		return nil
	}
	defer n.mu.Unlock()
	switch req := req.(type) {
	case *kmsg.DescribeQuorumRequest:
		return n.quorum(cluster)
	case *kmsg.MetadataRequest:
		resp := kmsg.NewPtrMetadataResponse()
		for id := range int32(brokers) {
			b := kmsg.NewMetadataResponseBroker()
			b.NodeID, b.Host, b.Port = 1000+id, address(cluster, int64(1000+id)), brokerPort
			resp.Brokers = append(resp.Brokers, b)
		}
		return resp
	case *kmsg.DescribeConfigsRequest:
		r := kmsg.NewDescribeConfigsResponseResource()
		r.ResourceType = kmsg.ConfigResourceTypeBroker
		for k, v := range n.settings[cluster] {
			c := kmsg.NewDescribeConfigsResponseResourceConfig()
			c.Name, c.Value = k, &v
			r.Configs = append(r.Configs, c)
		}
		resp := kmsg.NewPtrDescribeConfigsResponse()
		resp.Resources = append(resp.Resources, r)
		return resp
	case *kmsg.IncrementalAlterConfigsRequest:
		return n.alter(cluster, req)
	}
	return nil
}

func (n *nodes) quorum(cluster int) kmsg.Response {
	p := kmsg.NewDescribeQuorumResponseTopicPartition()
	p.LeaderID, p.LeaderEpoch, p.HighWatermark = 0, 3, 40
	state := func(id int32, dir uuid.UUID) kmsg.DescribeQuorumResponseTopicPartitionReplicaState {
		s := kmsg.NewDescribeQuorumResponseTopicPartitionReplicaState()
		s.ReplicaID, s.ReplicaDirectoryID, s.LogEndOffset = id, dir, 40
		s.LastFetchTimestamp = time.Now().UnixMilli()
		s.LastCaughtUpTimestamp = s.LastFetchTimestamp
		return s
	}
	for id, dir := range n.voters[cluster] {
		p.CurrentVoters = append(p.CurrentVoters, state(int32(id), dir))
	}
	for id := range int32(brokers) {
		p.Observers = append(p.Observers, state(1000+id, uuid.UUID{15: byte(id + 1)}))
	}
	t := kmsg.NewDescribeQuorumResponseTopic()
	t.Topic = "__cluster_metadata"
	t.Partitions = append(t.Partitions, p)
	resp := kmsg.NewPtrDescribeQuorumResponse()
	resp.Topics = append(resp.Topics, t)
	return resp
}

func (n *nodes) alter(cluster int, req *kmsg.IncrementalAlterConfigsRequest) kmsg.Response {
	if n.settings[cluster] == nil {
		n.settings[cluster] = map[string]string{}
	}
	resp := kmsg.NewPtrIncrementalAlterConfigsResponse()
	for _, r := range req.Resources {
		for _, c := range r.Configs {
			if c.Value == nil {
				delete(n.settings[cluster], c.Name)
			} else {
				n.settings[cluster][c.Name] = *c.Value
			}
		}
		out := kmsg.NewIncrementalAlterConfigsResponseResource()
		out.ResourceType, out.ResourceName = r.ResourceType, r.ResourceName
		resp.Resources = append(resp.Resources, out)
	}
	return resp
}

// running is the status of a pod whose node is up.
func running(cluster int, pod *corev1.Pod) (corev1.PodStatus, error) {
	id, err := strconv.ParseInt(pod.Labels["kraft.dev/node-id"], 10, 32)
	if err != nil {
		return corev1.PodStatus{}, fmt.Errorf("pod %s: %w", pod.Name, err)
	}
	ip := address(cluster, id)
	return corev1.PodStatus{
		Phase: corev1.PodRunning, PodIP: ip, PodIPs: []corev1.PodIP{{IP: ip}}, HostIP: "192.0.2.10", HostIPs: []corev1.HostIP{{IP: "192.0.2.10"}},
		Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}},
	}, nil
}
