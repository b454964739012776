package group

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kraft-dev/kraft-operator/internal/node/server"
	"github.com/kraft-dev/kraft-operator/internal/uuid"
)

// Partitions is what the coordinator needs of the broker's __consumer_offsets partitions.
type Partitions interface {
	// Append writes records to a partition that this broker leads. done is called exactly once, from any
	// goroutine: nil when every in-sync replica has them, else a kerr.Error.
	Append(partition int32, kvs []KV, timestampMs int64, done func(error))
	// Load reads a partition from its start to its end at the time of the call and gives each record to each.
	Load(ctx context.Context, partition int32, each func(KV) error) error
}

// Metadata is what the coordinator needs of the cluster's metadata.
type Metadata interface {
	// OffsetsPartitions is the number of partitions of __consumer_offsets; ok is false while it doesn't exist.
	OffsetsPartitions() (n int32, ok bool)
	// CreateOffsetsTopic asks for the topic. It is called often and must not block; it waits for as many
	// brokers as offsets.topic.replication.factor.
	CreateOffsetsTopic()
	// OffsetsLeader is who leads a partition, by its address on listener; ok is false while nobody does.
	OffsetsLeader(partition int32, listener string) (id int32, host string, port int32, ok bool)
	// TopicID and TopicName translate for the versions of requests that name topics by id.
	TopicID(name string) (uuid.UUID, bool)
	TopicName(id uuid.UUID) (string, bool)
	// PartitionExists tells whether an offset may be committed for it.
	PartitionExists(topic string, partition int32) bool
}

// Settings are the coordinator's; see group.* and offsets.* in Kafka's configuration.
type Settings struct {
	Group             Config
	MaxMetadataBytes  int           // offset.metadata.max.bytes
	OffsetsRetention  time.Duration // offsets.retention.minutes
	RetentionInterval time.Duration // offsets.retention.check.interval.ms
}

// Coordinator owns the groups of every __consumer_offsets partition that this broker leads.
type Coordinator struct {
	cfg        Settings
	partitions Partitions
	meta       Metadata
	log        *slog.Logger
	start      time.Time // the zero of the groups' monotonic clock

	inbox chan func()
	done  chan struct{} // closed when Run has ended
	loads sync.WaitGroup

	// Owned by Run's goroutine.
	shards    map[int32]*shard
	deadlines deadlines
	ctx       context.Context
}

// shard is one partition of __consumer_offsets.
type shard struct {
	partition   int32
	leaderEpoch int32
	loading     bool
	groups      map[string]*entry
	cancel      context.CancelFunc
}

// inboxSize bounds what waits for the loop; a full inbox slows down the connections that fill it.
const inboxSize = 1024

// NewCoordinator makes a coordinator; nothing happens before Run.
func NewCoordinator(cfg Settings, partitions Partitions, meta Metadata, log *slog.Logger) *Coordinator {
	return &Coordinator{
		cfg: cfg, partitions: partitions, meta: meta, log: log, start: time.Now(),
		inbox: make(chan func(), inboxSize), done: make(chan struct{}), shards: map[int32]*shard{},
	}
}

func (c *Coordinator) now() time.Duration { return time.Since(c.start) }

// Run owns all groups until ctx ends; parked requests are then answered with COORDINATOR_NOT_AVAILABLE.
func (c *Coordinator) Run(ctx context.Context) error {
	defer close(c.done)
	c.ctx = ctx
	retention := time.NewTicker(max(c.cfg.RetentionInterval, time.Second))
	defer retention.Stop()
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		timer.Reset(c.untilDeadline())
		select {
		case f := <-c.inbox:
			f()
			c.drain()
		case <-timer.C:
		case <-retention.C:
			c.expireOffsets()
		case <-ctx.Done():
			for p := range c.shards {
				c.unload(p, kerr.CoordinatorNotAvailable)
			}
			c.loads.Wait()
			return nil
		}
		c.tick()
	}
}

// drain runs what has piled up, within a bound, before timers are looked at again.
func (c *Coordinator) drain() {
	for range inboxSize {
		select {
		case f := <-c.inbox:
			f()
		default:
			return
		}
	}
}

// post hands f to the loop. After Run has ended it does nothing and says so.
func (c *Coordinator) post(f func()) bool {
	select {
	case c.inbox <- f:
		return true
	case <-c.done:
		return false
	}
}

// apply carries out effects: the record first, then the answers. Each change of a group comes here, even one without any.
func (c *Coordinator) apply(s *shard, e *entry, fx Effects) {
	c.schedule(s, e)
	if fx.Persist {
		generation := e.Generation
		c.append(s, e, []KV{groupRecord(e.Group, time.Now().UnixMilli())}, func(err error) {
			c.apply(s, e, e.Persisted(c.now(), generation, groupError(err)))
		})
	}
	for _, r := range fx.Replies {
		r.Waiter.(func(Reply))(r)
	}
}

// append writes records for a group and calls then on the loop.
func (c *Coordinator) append(s *shard, e *entry, kvs []KV, then func(error)) {
	e.inFlight++
	c.partitions.Append(s.partition, kvs, time.Now().UnixMilli(), func(err error) {
		// Completions must not wait for the loop, which may be the caller: the inbox can be full.
		finish := func() {
			e.inFlight--
			then(err)
		}
		select {
		case c.inbox <- finish:
		default:
			c.loads.Add(1)
			go func() {
				defer c.loads.Done()
				c.post(finish)
			}()
		}
	})
}

// groupError is what a group member is told when its group's record could not be written (Kafka's mapping).
func groupError(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, kerr.UnknownTopicOrPartition), errors.Is(err, kerr.NotEnoughReplicas), errors.Is(err, kerr.NotEnoughReplicasAfterAppend), errors.Is(err, kerr.RequestTimedOut):
		return kerr.CoordinatorNotAvailable
	case errors.Is(err, kerr.NotLeaderForPartition), errors.Is(err, kerr.KafkaStorageError):
		return kerr.NotCoordinator
	case errors.Is(err, kerr.MessageTooLarge), errors.Is(err, kerr.RecordListTooLarge):
		return kerr.UnknownServerError
	}
	return err
}

// BecomeLeader loads a partition's groups; BecomeFollower forgets them. Any goroutine may call them, in the
// order of the metadata log.
func (c *Coordinator) BecomeLeader(partition, leaderEpoch int32) {
	c.post(func() {
		if s := c.shards[partition]; s != nil {
			if s.leaderEpoch >= leaderEpoch {
				return
			}
			// We stayed leader: what we hold is what the log holds.
			s.leaderEpoch = leaderEpoch
			return
		}
		ctx, cancel := context.WithCancel(c.ctx)
		s := &shard{partition: partition, leaderEpoch: leaderEpoch, loading: true, groups: map[string]*entry{}, cancel: cancel}
		c.shards[partition] = s
		c.loads.Add(1)
		go c.load(ctx, s)
	})
}

// BecomeFollower ends this broker's coordination of a partition's groups.
func (c *Coordinator) BecomeFollower(partition int32) {
	c.post(func() { c.unload(partition, kerr.NotCoordinator) })
}

func (c *Coordinator) unload(partition int32, err error) {
	s := c.shards[partition]
	if s == nil {
		return
	}
	delete(c.shards, partition)
	s.cancel()
	for _, e := range s.groups {
		c.apply(s, e, e.Unload(c.now(), err))
	}
}

// load reads a partition in a goroutine of its own and hands the groups to the loop.
func (c *Coordinator) load(ctx context.Context, s *shard) {
	defer c.loads.Done()
	groups := map[string]*entry{}
	began := time.Now()
	err := c.partitions.Load(ctx, s.partition, func(kv KV) error { return replay(groups, c.cfg.Group, c.now(), kv) })
	c.post(func() {
		if c.shards[s.partition] != s {
			return // no longer ours
		}
		if err != nil {
			c.log.Error("Loading groups", "partition", s.partition, "err", err)
			delete(c.shards, s.partition)
			return
		}
		s.loading, s.groups = false, groups
		for id, e := range groups {
			if e.State == Empty && len(e.offsets) == 0 && e.Generation == 0 {
				delete(groups, id)
			} else {
				c.schedule(s, e)
			}
		}
		c.log.Info("Loaded groups", "partition", s.partition, "leaderEpoch", s.leaderEpoch, "groups", len(groups), "took", time.Since(began))
	})
}

// partitionFor is Kafka's choice: the group id's Java hash, made positive, modulo the partitions.
func partitionFor(group string, partitions int32) int32 {
	return (javaHash(group) & 0x7fffffff) % partitions
}

// javaHash is java.lang.String.hashCode: over UTF-16 code units.
func javaHash(s string) (h int32) {
	for _, r := range s {
		if r >= 0x10000 {
			r -= 0x10000
			h = 31*h + (0xd800 + r>>10)
			h = 31*h + (0xdc00 + r&0x3ff)
			continue
		}
		h = 31*h + r
	}
	return h
}

// find returns the shard that holds a group, or why this broker can't answer for it now.
func (c *Coordinator) find(group string) (*shard, error) {
	n, ok := c.meta.OffsetsPartitions()
	if !ok {
		return nil, kerr.NotCoordinator
	}
	s := c.shards[partitionFor(group, n)]
	switch {
	case s == nil:
		return nil, kerr.NotCoordinator
	case s.loading:
		return nil, kerr.CoordinatorLoadInProgress
	}
	return s, nil
}

// lookup is find with the group itself, nil if there is none.
func (c *Coordinator) lookup(group string) (*shard, *entry, error) {
	s, err := c.find(group)
	if err != nil {
		return nil, nil, err
	}
	return s, s.groups[group], nil
}

// Handle serves the group APIs; it returns false for a key that isn't one of them.
func (c *Coordinator) Handle(r *server.Request) bool {
	var f func()
	switch body := r.Body.(type) {
	case *kmsg.FindCoordinatorRequest:
		c.findCoordinator(r, body) // needs no group
		return true
	case *kmsg.JoinGroupRequest:
		f = func() { c.joinGroup(r, body) }
	case *kmsg.SyncGroupRequest:
		f = func() { c.syncGroup(r, body) }
	case *kmsg.HeartbeatRequest:
		f = func() { c.heartbeat(r, body) }
	case *kmsg.LeaveGroupRequest:
		f = func() { c.leaveGroup(r, body) }
	case *kmsg.OffsetCommitRequest:
		f = func() { c.offsetCommit(r, body) }
	case *kmsg.OffsetFetchRequest:
		f = func() { c.offsetFetch(r, body) }
	case *kmsg.DescribeGroupsRequest:
		f = func() { c.describeGroups(r, body) }
	case *kmsg.ListGroupsRequest:
		f = func() { c.listGroups(r, body) }
	case *kmsg.DeleteGroupsRequest:
		f = func() { c.deleteGroups(r, body) }
	case *kmsg.OffsetDeleteRequest:
		f = func() { c.offsetDelete(r, body) }
	default:
		return false
	}
	if !c.post(f) {
		r.Close(errors.New("the node is shutting down"))
	}
	return true
}

// code is an error's number on the wire; an error that isn't Kafka's is UNKNOWN_SERVER_ERROR.
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
