package broker

import (
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kraft-dev/kraft-operator/internal/metadata"
	"github.com/kraft-dev/kraft-operator/internal/node/broker/replica"
	"github.com/kraft-dev/kraft-operator/internal/node/server"
	"github.com/kraft-dev/kraft-operator/internal/node/wire"
	"github.com/kraft-dev/kraft-operator/internal/uuid"
)

// Fetch v4 to 18, for consumers and followers: leader epochs (KIP-320), divergence from v12 (KIP-595), topic ids from v13 (KIP-516), broker
// epochs from v15 (KIP-903), leader hints from v16 (KIP-951). Without transactions the last stable offset is the high watermark.
// Left out: fetch sessions (KIP-227): every answer has session id 0, which tells clients to send full requests; an existing session id
// gets FETCH_SESSION_ID_NOT_FOUND. Reading from followers (KIP-392): only leaders serve, and name themselves.

// inlineBytes is up to how many bytes of one partition are read into memory; more is sent from the file.
const inlineBytes = 32 << 10

// fetchPart is one partition of a fetch.
type fetchPart struct {
	topic, partition int // its place in the request
	id               uuid.UUID
	p                *replica.Partition // nil: err says why
	err              error
	res              replica.ReadResult
}

// fetchOp is one fetch request on its way.
type fetchOp struct {
	b        *Broker
	r        *server.Request
	req      *kmsg.FetchRequest
	parts    []fetchPart
	follower int32 // -1: a consumer
	maxBytes int
	bytes    int
}

func (b *Broker) fetch(r *server.Request, req *kmsg.FetchRequest) {
	op := &fetchOp{b: b, r: r, req: req, follower: req.ReplicaID}
	if req.Version >= 15 {
		op.follower = req.ReplicaState.ID
	}
	if err := sessionError(req); err != nil {
		resp := kmsg.NewPtrFetchResponse()
		resp.ErrorCode = code(err)
		r.Reply(resp)
		return
	}
	op.maxBytes = int(min(req.MaxBytes, b.settings.Load().fetchMaxBytes))
	img := b.cfg.Loader.Current()
	for t := range req.Topics {
		op.addTopic(img, t)
	}
	done := op.read(false)
	if done || req.MaxWaitMillis <= 0 || len(op.parts) == 0 {
		op.reply()
		return
	}
	op.wait()
}

// sessionError refuses the sessions that this broker never gives out.
func sessionError(req *kmsg.FetchRequest) error {
	switch {
	case req.Version < 7 || req.SessionID == 0 && req.SessionEpoch <= 0:
		return nil
	case req.SessionID == 0:
		return kerr.InvalidFetchSessionEpoch
	case req.SessionEpoch == -1: // closes it
		return nil
	}
	return kerr.FetchSessionIDNotFound
}

// addTopic resolves one topic's partitions.
func (op *fetchOp) addTopic(img *metadata.Image, t int) {
	rt := &op.req.Topics[t]
	topic, err := findTopic(img, rt.Topic, rt.TopicID, op.req.Version >= 13)
	name := rt.Topic
	if err == nil {
		name = topic.Name
	}
	switch {
	case op.follower >= 0:
		if !op.b.clusterAllowed(op.r, kmsg.ACLOperationClusterAction) {
			err = kerr.ClusterAuthorizationFailed
		}
	case !op.b.topicAllowed(op.r, kmsg.ACLOperationRead, name):
		err = kerr.TopicAuthorizationFailed
	}
	for i := range rt.Partitions {
		part := fetchPart{topic: t, partition: i, err: err}
		if err == nil {
			part.id = topic.ID
			var ok bool
			if part.p, ok = op.b.replicas.Partition(topic.ID, rt.Partitions[i].Partition); !ok {
				part.err = absent(topic, rt.Partitions[i].Partition)
			}
		}
		op.parts = append(op.parts, part)
	}
}

// read reads every partition once. parked: the fetch was read before and waited. It reports whether there is something to say.
func (op *fetchOp) read(parked bool) (done bool) {
	op.bytes = 0
	left := op.maxBytes
	for i := range op.parts {
		part := &op.parts[i]
		if part.p == nil {
			done = true
			continue
		}
		fp := &op.req.Topics[part.topic].Partitions[part.partition]
		rr := replica.ReadRequest{
			LeaderEpoch: fp.CurrentLeaderEpoch, Offset: fp.FetchOffset, LastFetchedEpoch: -1,
			MaxBytes: min(int(fp.PartitionMaxBytes), left), MinOneBatch: op.bytes == 0, Parked: parked,
		}
		if op.req.Version >= 12 {
			rr.LastFetchedEpoch = fp.LastFetchedEpoch
		}
		if op.req.Version < 9 {
			rr.LeaderEpoch = -1
		}
		if op.follower >= 0 {
			f := &replica.FollowerFetch{Broker: op.follower, BrokerEpoch: -1, LogStart: fp.LogStartOffset}
			if op.req.Version >= 15 {
				f.BrokerEpoch = op.req.ReplicaState.Epoch
			}
			rr.Follower = f
		}
		part.res = part.p.Read(rr)
		n := part.res.Records.Len()
		op.bytes += n
		left = max(left-n, 0)
		done = done || part.res.Err != nil || part.res.Diverging != nil
	}
	return done || op.bytes >= int(op.req.MinBytes)
}

// wait parks the fetch until enough has come.
func (op *fetchOp) wait() {
	parts := make([]*replica.Partition, len(op.parts))
	seen := make([]replica.Seen, len(op.parts))
	for i := range op.parts {
		parts[i], seen[i] = op.parts[i].p, op.parts[i].res.Seen
	}
	w := replica.NewFetchWait(int(op.req.MinBytes)-op.bytes, op.follower >= 0, func() {
		op.read(true)
		op.reply()
	})
	w.Start(parts, seen, time.Duration(op.req.MaxWaitMillis)*time.Millisecond)
}

// reply answers with what the last read found.
func (op *fetchOp) reply() {
	reader := "follower"
	if op.follower < 0 {
		reader = "consumer"
		op.b.metrics.fetched.Observe(sinceSeconds(op.r.Received))
	}
	op.b.metrics.bytesOut.WithLabelValues(reader).Add(float64(op.bytes))
	resp := kmsg.NewPtrFetchResponse()
	resp.Topics = make([]kmsg.FetchResponseTopic, len(op.req.Topics))
	for t := range op.req.Topics {
		resp.Topics[t].Topic, resp.Topics[t].TopicID = op.req.Topics[t].Topic, op.req.Topics[t].TopicID
	}
	records := make([][][]wire.Segment, len(op.req.Topics))
	nodes := map[int32]bool{}
	for i := range op.parts {
		part := &op.parts[i]
		p, data := op.answer(part)
		if op.req.Version >= 16 && (p.ErrorCode == kerr.NotLeaderForPartition.Code || p.ErrorCode == kerr.FencedLeaderEpoch.Code) {
			op.hint(resp, &p, part, nodes)
		}
		resp.Topics[part.topic].Partitions = append(resp.Topics[part.topic].Partitions, p)
		records[part.topic] = append(records[part.topic], data)
	}
	resp.SetVersion(op.r.Version)
	op.r.ReplyRaw(server.RawReply{Segments: wire.FetchSegments(resp, func(t, p int) []wire.Segment { return records[t][p] })})
}

// answer is one partition's answer and its records.
func (op *fetchOp) answer(part *fetchPart) (kmsg.FetchResponseTopicPartition, []wire.Segment) {
	p := kmsg.NewFetchResponseTopicPartition()
	p.Partition = op.req.Topics[part.topic].Partitions[part.partition].Partition
	p.HighWatermark, p.LastStableOffset, p.LogStartOffset, p.PreferredReadReplica = -1, -1, -1, -1
	if op.req.IsolationLevel == 1 {
		p.AbortedTransactions = []kmsg.FetchResponseTopicPartitionAbortedTransaction{}
	}
	none := []wire.Segment{}
	res := &part.res
	if part.p == nil {
		p.ErrorCode = code(part.err)
		return p, none
	}
	if res.Err != nil {
		p.ErrorCode = code(res.Err)
		return p, none
	}
	p.HighWatermark, p.LastStableOffset, p.LogStartOffset = res.HighWatermark, res.HighWatermark, res.LogStart
	if d := res.Diverging; d != nil {
		p.DivergingEpoch.Epoch, p.DivergingEpoch.EndOffset = d.Epoch, d.EndOffset
		return p, none
	}
	switch n := res.Records.Len(); {
	case n == 0:
		return p, none
	case n <= inlineBytes:
		data, err := res.Records.AppendTo(make([]byte, 0, n))
		if err != nil { // its segment left the log meanwhile
			p.ErrorCode = kerr.OffsetOutOfRange.Code
			return p, none
		}
		return p, []wire.Segment{wire.BytesSegment(data)}
	default:
		return p, []wire.Segment{wire.FileSegment(res.Records.File(), res.Records.Position(), int64(n))}
	}
}

// hint names the leader to a client that asked the wrong broker.
func (op *fetchOp) hint(resp *kmsg.FetchResponse, p *kmsg.FetchResponseTopicPartition, part *fetchPart, nodes map[int32]bool) {
	h, ok := op.b.leaderHint(part.id, p.Partition, op.r.Conn.Listener)
	if !ok {
		return
	}
	p.CurrentLeader.LeaderID, p.CurrentLeader.LeaderEpoch = h.leader, h.epoch
	if h.known && !nodes[h.leader] {
		nodes[h.leader] = true
		resp.Brokers = append(resp.Brokers, kmsg.FetchResponseBroker{NodeID: h.node.ID, Host: h.node.Host, Port: h.node.Port, Rack: h.node.Rack})
	}
}
