package main

import (
	"crypto/rand"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kraft-dev/kraft-operator/internal/metadata"
	"github.com/kraft-dev/kraft-operator/internal/uuid"
)

// subject is what one leader writes and another one, of the other kind, has to act upon.
type subject struct {
	w       *world
	leader  kind // who writes
	topic   string
	topicID [16]byte
	first   int32 // id of the first of two brokers that exist on paper only
	epochs  map[int32]int64
	isr     int32 // partition epoch of partition 0
	pids    int64 // end of the producer ids that were handed out
}

// recordKind is a row: what one leader writes, by which records, and how a leader of the other kind shows that it has replayed them.
type recordKind struct {
	name  string
	types []metadata.RecordType
	write func(*subject)
	acts  func(*subject)
}

// recordKinds are in the order in which they need each other.
var recordKinds = []recordKind{
	{"registrations of brokers", []metadata.RecordType{metadata.TypeRegisterBroker, metadata.TypeBrokerRegistrationChange}, (*subject).registerBrokers, (*subject).heartbeats},
	{"topics and partitions", []metadata.RecordType{metadata.TypeTopic, metadata.TypePartition}, (*subject).createTopic, (*subject).topicExists},
	{"more partitions", []metadata.RecordType{metadata.TypePartition}, (*subject).addPartition, (*subject).partitionExists},
	{"configurations", []metadata.RecordType{metadata.TypeConfig, metadata.TypeClearElr}, (*subject).alterConfigs, (*subject).describesConfigs},
	{"changes of partitions", []metadata.RecordType{metadata.TypePartitionChange}, (*subject).shrinkISR, (*subject).growISR},
	{"client quotas", []metadata.RecordType{metadata.TypeClientQuota}, (*subject).setQuotas, (*subject).removesQuota},
	{"SCRAM credentials", []metadata.RecordType{metadata.TypeUserScramCredential, metadata.TypeRemoveUserScramCredential}, (*subject).setSCRAM, (*subject).removesSCRAM},
	{"producer ids", []metadata.RecordType{metadata.TypeProducerIds}, (*subject).allocateProducerIDs, (*subject).allocatesBeyond},
	{"feature levels", []metadata.RecordType{metadata.TypeFeatureLevel}, (*subject).lowerFeature, (*subject).raisesFeature},
	{"deleted topics", []metadata.RecordType{metadata.TypeRemoveTopic}, (*subject).deleteTopic, (*subject).topicIsGone},
	{"an idle controller's records", []metadata.RecordType{metadata.TypeNoOp}, (*subject).idle, nil},
	{"unregistered brokers", []metadata.RecordType{metadata.TypeUnregisterBroker}, (*subject).unregister, (*subject).brokerIsGone},
}

// aclKind is apart: a Go controller has no authorizer, so it replays ACLs without acting on them.
var aclKind = recordKind{"ACLs", []metadata.RecordType{metadata.TypeAccessControlEntry, metadata.TypeRemoveAccessControlEntry}, (*subject).createACLs, nil}

// replays lets a leader of one kind write every kind of record, and the next leader, of the other kind, act upon them.
func (w *world) replays(leader kind) {
	var s *quorumState
	if !w.check(fmt.Sprintf("a %s node leads to write every kind of record", leader), func() { s = w.lead(leader) }) {
		return
	}
	start := s.highWatermark
	sub := &subject{w: w, leader: leader, topic: "of-" + leader.String(), first: int32(500 + 10*int(leader)), epochs: map[int32]int64{}}
	rows := recordKinds
	if leader == javaKind {
		rows = append(append([]recordKind{}, rows...), aclKind, tokenKind)
	}
	wrote := map[string]error{}
	for _, row := range rows {
		wrote[row.name] = try(func() { row.write(sub) })
	}
	for _, row := range rows {
		w.check(fmt.Sprintf("%s written by a %s leader are in every node's log", row.name, leader), func() {
			need(wrote[row.name], "write")
			w.requireRecords(row, leader, start)
		})
	}
	if !w.check(fmt.Sprintf("a %s node takes over what the %s node wrote", leader.other(), leader), func() { w.lead(leader.other()) }) {
		return
	}
	defer sub.fence()
	for _, row := range rows {
		if row.acts != nil {
			w.check(fmt.Sprintf("%s written by a %s leader are acted upon by a %s leader", row.name, leader, leader.other()), func() {
				need(wrote[row.name], "write")
				row.acts(sub)
			})
		}
	}
}

// sighting is a type of record, written by a leader of some kind, in a node's log.
type sighting struct {
	node   int32
	leader kind
	record metadata.RecordType
}

// requireRecords looks for the records of a row, written by a leader of this kind from an offset on, in every voter's log. It remembers what it
// saw of other records: a log that is behind a snapshot's epoch is replaced by that snapshot.
func (w *world) requireRecords(row recordKind, leader kind, from int64) {
	s := w.caughtUp()
	for _, n := range w.voters {
		entries, err := readEntries(n.metadataLog(), s.highWatermark)
		need(err, "the log of %s", n)
		seen := map[metadata.RecordType]bool{}
		for _, e := range entries {
			if e.record == nil || e.leader < 0 {
				continue
			}
			by := w.node(e.leader).kind
			w.seen[sighting{n.id, by, e.record.Type()}] = true
			if e.offset >= from && by == leader {
				seen[e.record.Type()] = true
			}
		}
		for _, t := range row.types {
			want(seen[t], "%s has no record of type %d", n, t)
		}
	}
}

// requireEveryType gives up unless records of all types, written by a leader of this kind, were seen in every voter's log.
func (w *world) requireEveryType(leader kind) {
	for _, n := range w.voters {
		for _, t := range everyType {
			want(w.seen[sighting{n.id, leader, t}], "%s has had no record of type %d", n, t)
		}
	}
}

// everyType has all types of records of Apache Kafka 4.3 but FenceBroker and UnfenceBroker, which were for versions before 3.3, and
// ZkMigrationState, which was for ZooKeeper: its controllers write those no more.
var everyType = []metadata.RecordType{
	metadata.TypeRegisterBroker, metadata.TypeUnregisterBroker, metadata.TypeTopic, metadata.TypePartition, metadata.TypeConfig, metadata.TypePartitionChange,
	metadata.TypeRemoveTopic, metadata.TypeDelegationToken, metadata.TypeUserScramCredential, metadata.TypeFeatureLevel, metadata.TypeClientQuota,
	metadata.TypeProducerIds, metadata.TypeBrokerRegistrationChange, metadata.TypeAccessControlEntry, metadata.TypeRemoveAccessControlEntry, metadata.TypeNoOp,
	metadata.TypeRemoveUserScramCredential, metadata.TypeBeginTransaction, metadata.TypeEndTransaction, metadata.TypeAbortTransaction,
	metadata.TypeRemoveDelegationToken, metadata.TypeRegisterController, metadata.TypeClearElr,
}

// idle waits for a record that the controller writes when nobody asks for any.
func (s *subject) idle() {
	start := s.w.elected().highWatermark
	s.w.ledger.hold()
	defer s.w.ledger.release()
	eventually(electsWithin, "records that nobody asked for", func() error {
		now, err := s.w.state()
		if err == nil && now.highWatermark < start+2 {
			err = fmt.Errorf("%d", now.highWatermark-start)
		}
		return err
	})
}

func (s *subject) second() int32 { return s.first + 1 }

// gone is the id of a broker that is registered and unregistered.
func (s *subject) gone() int32 { return s.first + 2 }

func (s *subject) register(id int32) {
	req := newest(kmsg.NewPtrBrokerRegistrationRequest())
	req.BrokerID, req.ClusterID, req.PreviousBrokerEpoch = id, s.w.clusterID, -1
	req.IncarnationID, req.LogDirs = randomUUID(), [][16]byte{randomUUID()}
	l := kmsg.NewBrokerRegistrationRequestListener()
	l.Name, l.Host, l.Port = "INTERNAL", "127.0.0.1", 9
	req.Listeners = append(req.Listeners, l)
	for _, f := range s.w.elected().leader.apiVersions().SupportedFeatures {
		rf := kmsg.NewBrokerRegistrationRequestFeature()
		rf.Name, rf.MinSupportedVersion, rf.MaxSupportedVersion = f.Name, f.MinVersion, f.MaxVersion
		req.Features = append(req.Features, rf)
	}
	resp := onLeader(s.w, req, func(r *kmsg.BrokerRegistrationResponse) int16 { return r.ErrorCode })
	need(kerr.ErrorForCode(resp.ErrorCode), "register broker %d", id)
	s.epochs[id] = resp.BrokerEpoch
}

func randomUUID() [16]byte {
	id, err := uuid.New(rand.Reader)
	need(err, "a random id")
	return id
}

func (s *subject) heartbeat(id int32, fence ...bool) error {
	req := newest(kmsg.NewPtrBrokerHeartbeatRequest())
	req.WantFence = len(fence) > 0
	req.BrokerID, req.BrokerEpoch, req.CurrentMetadataOffset = id, s.epochs[id], s.w.elected().highWatermark
	resp := onLeader(s.w, req, func(r *kmsg.BrokerHeartbeatResponse) int16 { return r.ErrorCode })
	if err := kerr.ErrorForCode(resp.ErrorCode); err != nil {
		return err
	}
	if resp.IsFenced != req.WantFence {
		return fmt.Errorf("broker %d is fenced: %t", id, resp.IsFenced)
	}
	return nil
}

func (s *subject) registerBrokers() {
	for _, id := range []int32{s.first, s.second()} {
		s.register(id)
		eventually(electsWithin, fmt.Sprintf("broker %d is unfenced", id), func() error { return s.heartbeat(id) })
	}
}

// fence takes the brokers on paper out of the way of real ones.
func (s *subject) fence() {
	for _, id := range []int32{s.first, s.second()} {
		_ = try(func() { _ = s.heartbeat(id, true) })
	}
}

func (s *subject) heartbeats() {
	for _, id := range []int32{s.first, s.second()} {
		need(s.heartbeat(id), "heartbeat of broker %d in its epoch", id)
	}
}

// create makes a topic on the two brokers.
func (s *subject) create(name string, partitions int32) (*kmsg.CreateTopicsResponseTopic, error) {
	req := newest(kmsg.NewPtrCreateTopicsRequest())
	topic := kmsg.NewCreateTopicsRequestTopic()
	topic.Topic, topic.NumPartitions, topic.ReplicationFactor = name, -1, -1
	for p := range partitions {
		a := kmsg.NewCreateTopicsRequestTopicReplicaAssignment()
		a.Partition, a.Replicas = p, []int32{s.first, s.second()}
		topic.ReplicaAssignment = append(topic.ReplicaAssignment, a)
	}
	req.Topics = append(req.Topics, topic)
	resp := onLeader(s.w, req, func(r *kmsg.CreateTopicsResponse) int16 { return r.Topics[0].ErrorCode })
	return &resp.Topics[0], errorOf(resp.Topics[0].ErrorCode, resp.Topics[0].ErrorMessage)
}

func (s *subject) createTopic() {
	topic, err := s.create(s.topic, 2)
	need(err, "create %s", s.topic)
	s.topicID = topic.TopicID
}

func (s *subject) topicExists() {
	_, err := s.create(s.topic, 2)
	want(errors.Is(err, kerr.TopicAlreadyExists), "creating %s again: %v", s.topic, err)
}

func (s *subject) partitions(count int32) error {
	req := newest(kmsg.NewPtrCreatePartitionsRequest())
	topic := kmsg.NewCreatePartitionsRequestTopic()
	topic.Topic, topic.Count = s.topic, count
	a := kmsg.NewCreatePartitionsRequestTopicAssignment()
	a.Replicas = []int32{s.second(), s.first}
	topic.Assignment = append(topic.Assignment, a)
	req.Topics = append(req.Topics, topic)
	resp := onLeader(s.w, req, func(r *kmsg.CreatePartitionsResponse) int16 { return r.Topics[0].ErrorCode })
	return errorOf(resp.Topics[0].ErrorCode, resp.Topics[0].ErrorMessage)
}

func (s *subject) addPartition() { need(s.partitions(3), "a third partition of %s", s.topic) }

func (s *subject) partitionExists() {
	err := s.partitions(3)
	want(errors.Is(err, kerr.InvalidPartitions), "a third partition again: %v", err)
	need(s.partitions(4), "a fourth partition of %s", s.topic)
}

// The settings that alterConfigs sets.
var settings = map[string]string{"retention.ms": "1234567", "min.insync.replicas": "2"}

func (s *subject) alterConfigs() {
	req := newest(kmsg.NewPtrIncrementalAlterConfigsRequest())
	r := kmsg.NewIncrementalAlterConfigsRequestResource()
	r.ResourceType, r.ResourceName = kmsg.ConfigResourceTypeTopic, s.topic
	for name, value := range settings {
		c := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
		c.Name, c.Value = name, kmsg.StringPtr(value)
		r.Configs = append(r.Configs, c)
	}
	req.Resources = append(req.Resources, r)
	resp := onLeader(s.w, req, func(r *kmsg.IncrementalAlterConfigsResponse) int16 { return r.Resources[0].ErrorCode })
	need(errorOf(resp.Resources[0].ErrorCode, resp.Resources[0].ErrorMessage), "configure %s", s.topic)
}

func (s *subject) describesConfigs() {
	req := newest(kmsg.NewPtrDescribeConfigsRequest())
	r := kmsg.NewDescribeConfigsRequestResource()
	r.ResourceType, r.ResourceName = kmsg.ConfigResourceTypeTopic, s.topic
	req.Resources = append(req.Resources, r)
	resp, err := ask[*kmsg.DescribeConfigsResponse](s.w.elected().leader.addr(), req)
	need(err, "describe %s", s.topic)
	need(errorOf(resp.Resources[0].ErrorCode, resp.Resources[0].ErrorMessage), "describe %s", s.topic)
	got := map[string]string{}
	for _, c := range resp.Resources[0].Configs {
		if c.Value != nil {
			got[c.Name] = *c.Value
		}
	}
	for name, value := range settings {
		want(got[name] == value, "%s is %q, expected %q", name, got[name], value)
	}
}

// alterISR asks as the leader of partition 0 in the partition epoch s.isr.
func (s *subject) alterISR(isr ...int32) error {
	req := newest(kmsg.NewPtrAlterPartitionRequest())
	req.BrokerID, req.BrokerEpoch = s.first, s.epochs[s.first]
	p := kmsg.NewAlterPartitionRequestTopicPartition()
	p.PartitionEpoch = s.isr
	for _, id := range isr {
		in := kmsg.NewAlterPartitionRequestTopicPartitionNewEpochISR()
		in.BrokerID, in.BrokerEpoch = id, s.epochs[id]
		p.NewEpochISR = append(p.NewEpochISR, in)
	}
	topic := kmsg.NewAlterPartitionRequestTopic()
	topic.TopicID, topic.Partitions = s.topicID, append(topic.Partitions, p)
	req.Topics = append(req.Topics, topic)
	resp := onLeader(s.w, req, func(r *kmsg.AlterPartitionResponse) int16 { return r.ErrorCode })
	if err := kerr.ErrorForCode(resp.ErrorCode); err != nil {
		return err
	}
	got := resp.Topics[0].Partitions[0]
	if err := kerr.ErrorForCode(got.ErrorCode); err != nil {
		return err
	}
	s.isr = got.PartitionEpoch
	return nil
}

func (s *subject) shrinkISR() { need(s.alterISR(s.first), "shrink the ISR") }

func (s *subject) growISR() {
	s.isr--
	err := s.alterISR(s.first, s.second())
	want(errors.Is(err, kerr.InvalidUpdateVersion), "an ISR of the past partition epoch: %v", err)
	s.isr++
	need(s.alterISR(s.first, s.second()), "grow the ISR")
}
