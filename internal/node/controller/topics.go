package controller

import (
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kraft-dev/kraft-operator/internal/metadata"
	"github.com/kraft-dev/kraft-operator/internal/uuid"
)

// metadataTopic is the log's own topic, which no client creates.
const metadataTopic = "__cluster_metadata"

// maxPartitionsPerRequest bounds what one CreateTopics or CreatePartitions may add.
const maxPartitionsPerRequest = 10_000

// createTopics serves CreateTopics v2 to 7: everything that can be created is, in one commit; the rest gets its errors.
func createTopics(tx *tx, who access, req *kmsg.CreateTopicsRequest) (kmsg.Response, error) {
	resp := kmsg.NewPtrCreateTopicsResponse()
	if total := requestedPartitions(tx, req); total > maxPartitionsPerRequest {
		return nil, fail(kerr.PolicyViolation, "Excessively large number of partitions per request.")
	}
	counts := map[string]int{}
	for _, t := range req.Topics {
		counts[t.Topic]++
	}
	for _, t := range req.Topics {
		switch {
		case counts[t.Topic] > 1:
			resp.Topics = append(resp.Topics, createTopicError(t.Topic, fail(kerr.InvalidRequest, "Duplicate topic name.")))
			counts[t.Topic] = -1
		case counts[t.Topic] < 0: // answered once for all
		case t.Topic == metadataTopic:
			resp.Topics = append(resp.Topics, createTopicError(t.Topic, fail(kerr.InvalidRequest, "Creation of internal topic %s is prohibited.", metadataTopic)))
		case !who.cluster(kmsg.ACLOperationCreate) && !who.topic(kmsg.ACLOperationCreate, t.Topic):
			resp.Topics = append(resp.Topics, createTopicError(t.Topic, fail(kerr.TopicAuthorizationFailed, "Authorization failed.")))
		default:
			result, recs, e := tx.newTopic(&t)
			if e != nil {
				resp.Topics = append(resp.Topics, createTopicError(t.Topic, e))
				continue
			}
			tx.emit(recs...)
			if !who.topic(kmsg.ACLOperationDescribeConfigs, t.Topic) {
				result.ConfigErrorCode = kerr.TopicAuthorizationFailed.Code
				result.NumPartitions, result.ReplicationFactor, result.Configs = -1, -1, nil
			}
			resp.Topics = append(resp.Topics, result)
		}
	}
	if req.ValidateOnly {
		tx.discard()
	}
	return resp, nil
}

func requestedPartitions(tx *tx, req *kmsg.CreateTopicsRequest) int {
	total := 0
	for _, t := range req.Topics {
		switch {
		case len(t.ReplicaAssignment) > 0:
			total += len(t.ReplicaAssignment)
		case t.NumPartitions == -1:
			total += int(tx.cfg.NumPartitions)
		case t.NumPartitions > 0:
			total += int(t.NumPartitions)
		}
	}
	return total
}

// newTopic returns the records of one topic: the topic, its settings, then its partitions.
func (tx *tx) newTopic(t *kmsg.CreateTopicsRequestTopic) (kmsg.CreateTopicsResponseTopic, []metadata.Record, *apiError) {
	none := kmsg.CreateTopicsResponseTopic{}
	s := tx.view()
	if e := checkNewTopicName(s, t.Topic); e != nil {
		return none, nil, e
	}
	configs, e := tx.newTopicConfigs(t)
	if e != nil {
		return none, nil, e
	}
	var parts []*metadata.PartitionRecord
	if len(t.ReplicaAssignment) > 0 {
		parts, e = manualPartitions(s, t)
	} else {
		parts, e = tx.placedPartitions(s, t)
	}
	if e != nil {
		return none, nil, e
	}
	id := tx.newUUID()
	topic := metadata.NewTopicRecord()
	topic.Name, topic.TopicID = t.Topic, id
	recs := append([]metadata.Record{topic}, configs...)
	for _, p := range parts {
		p.TopicID = id
		recs = append(recs, p)
	}
	result := kmsg.NewCreateTopicsResponseTopic()
	result.Topic, result.TopicID = t.Topic, id
	result.NumPartitions, result.ReplicationFactor = int32(len(parts)), int16(len(parts[0].Replicas))
	result.Configs = tx.effectiveTopicConfigs(s, configs)
	return result, recs, nil
}

func checkNewTopicName(s *state, name string) *apiError {
	if e := checkTopicName(name); e != nil {
		return e
	}
	if _, ok := s.img.TopicByName(name); ok {
		return fail(kerr.TopicAlreadyExists, "Topic '%s' already exists.", name)
	}
	if other, ok := s.collidesWith(name); ok {
		return fail(kerr.InvalidTopicException, "Topic '%s' collides with existing topic: %s", name, other)
	}
	return nil
}

func manualPartitions(s *state, t *kmsg.CreateTopicsRequestTopic) ([]*metadata.PartitionRecord, *apiError) {
	switch {
	case t.ReplicationFactor != -1:
		return nil, fail(kerr.InvalidRequest, "A manual partition assignment was specified, but replication factor was not set to -1.")
	case t.NumPartitions != -1:
		return nil, fail(kerr.InvalidRequest, "A manual partition assignment was specified, but numPartitions was not set to -1.")
	}
	parts := make([]*metadata.PartitionRecord, len(t.ReplicaAssignment))
	factor := -1
	seen := map[int32]bool{}
	for _, a := range t.ReplicaAssignment {
		if seen[a.Partition] {
			return nil, fail(kerr.InvalidReplicaAssignment, "Found multiple manual partition assignments for partition %d", a.Partition)
		}
		seen[a.Partition] = true
		p, e := manualPartition(s, a.Partition, a.Replicas, factor)
		if e != nil {
			return nil, e
		}
		factor = len(a.Replicas)
		if a.Partition >= 0 && int(a.Partition) < len(parts) {
			parts[a.Partition] = p
		}
	}
	if slices.Contains(parts, nil) {
		return nil, fail(kerr.InvalidReplicaAssignment, "partitions should be a consecutive 0-based integer sequence")
	}
	return parts, nil
}

// manualPartition checks one assignment; factor is the replica count of those before it, -1 for none.
func manualPartition(s *state, partition int32, replicas []int32, factor int) (*metadata.PartitionRecord, *apiError) {
	if len(replicas) == 0 {
		return nil, fail(kerr.InvalidReplicaAssignment, "The manual partition assignment includes an empty replica list.")
	}
	sorted := slices.Sorted(slices.Values(replicas))
	for i, id := range sorted {
		if _, ok := s.img.Broker(id); !ok {
			return nil, fail(kerr.InvalidReplicaAssignment, "The manual partition assignment includes broker %d, but no such broker is registered.", id)
		}
		if i > 0 && sorted[i-1] == id {
			return nil, fail(kerr.InvalidReplicaAssignment, "The manual partition assignment includes the broker %d more than once.", id)
		}
	}
	if factor >= 0 && len(replicas) != factor {
		return nil, fail(kerr.InvalidReplicaAssignment, "The manual partition assignment includes a partition with %d replica(s), "+
			"but this is not consistent with previous partitions, which have %d replica(s).", len(replicas), factor)
	}
	p := newPartition(s, partition, slices.Clone(replicas))
	if p == nil {
		return nil, fail(kerr.InvalidReplicaAssignment, "All brokers specified in the manual partition assignment for partition %d are fenced or in controlled shutdown.", partition)
	}
	return p, nil
}

func (tx *tx) placedPartitions(s *state, t *kmsg.CreateTopicsRequestTopic) ([]*metadata.PartitionRecord, *apiError) {
	switch {
	case t.ReplicationFactor < -1 || t.ReplicationFactor == 0:
		return nil, fail(kerr.InvalidReplicationFactor, "Replication factor must be larger than 0, or -1 to use the default value.")
	case t.NumPartitions < -1 || t.NumPartitions == 0:
		return nil, fail(kerr.InvalidPartitions, "Number of partitions was set to an invalid non-positive value.")
	}
	count, factor := int(t.NumPartitions), int(t.ReplicationFactor)
	if count == -1 {
		count = int(tx.cfg.NumPartitions)
	}
	if factor == -1 {
		factor = int(tx.cfg.DefaultReplicationFactor)
	}
	return tx.place(s, 0, count, factor)
}

// place puts count new partitions, the first of them numbered first, on usable brokers.
func (tx *tx) place(s *state, first, count, factor int) ([]*metadata.PartitionRecord, *apiError) {
	lists, e := placeReplicas(tx.rnd, s.usableBrokers(), count, factor)
	if e != nil {
		return nil, fail(kerr.TypedErrorForCode(e.code), "Unable to replicate the partition %d time(s): %s", factor, e.message)
	}
	parts := make([]*metadata.PartitionRecord, count)
	for i, replicas := range lists {
		if parts[i] = newPartition(s, int32(first+i), replicas); parts[i] == nil {
			return nil, fail(kerr.InvalidReplicationFactor, "Unable to replicate the partition %d time(s): All brokers are currently fenced or in controlled shutdown.", factor)
		}
	}
	return parts, nil
}

// usableBrokers are those that new replicas may be put on, by id.
func (s *state) usableBrokers() []usableBroker {
	var out []usableBroker
	for id, b := range s.img.Brokers() {
		cordoned := len(b.LogDirs) > 0 && len(withoutUUIDs(b.LogDirs, b.CordonedLogDirs)) == 0
		if !b.InControlledShutdown && !cordoned {
			out = append(out, usableBroker{id: id, rack: b.Rack, fenced: b.Fenced})
		}
	}
	return out
}

// newPartition starts with the active replicas in sync and the first of them as leader; nil if none is active.
func newPartition(s *state, id int32, replicas []int32) *metadata.PartitionRecord {
	rec := metadata.NewPartitionRecord()
	rec.PartitionID, rec.Replicas = id, replicas
	rec.LeaderEpoch, rec.PartitionEpoch = 0, 0
	for _, r := range replicas {
		b, ok := s.img.Broker(r)
		if ok && b.Active() {
			rec.ISR = append(rec.ISR, r)
		}
	}
	if len(rec.ISR) == 0 {
		return nil
	}
	rec.Leader = rec.ISR[0]
	if s.img.MetadataVersion().DirectoryAssignment() {
		rec.Directories = make([]uuid.UUID, len(replicas))
		for i, r := range replicas {
			rec.Directories[i] = s.newReplicaDirectory(r)
		}
	}
	return rec
}

// newReplicaDirectory is the broker's only directory; one with several chooses and reports (KIP-858).
func (s *state) newReplicaDirectory(broker int32) uuid.UUID {
	b, ok := s.img.Broker(broker)
	switch {
	case !ok || len(b.LogDirs) == 0:
		return metadata.DirMigrating
	case len(b.LogDirs) == 1:
		return b.LogDirs[0]
	}
	return metadata.DirUnassigned
}

// createPartitions serves CreatePartitions v0 to 3.
func createPartitions(tx *tx, who access, req *kmsg.CreatePartitionsRequest) (kmsg.Response, error) {
	resp := kmsg.NewPtrCreatePartitionsResponse()
	counts := map[string]int{}
	total := 0
	for _, t := range req.Topics {
		counts[t.Topic]++
		if topic, ok := tx.view().img.TopicByName(t.Topic); ok {
			total += max(0, int(t.Count)-topic.PartitionCount())
		}
	}
	if total > maxPartitionsPerRequest {
		return nil, fail(kerr.PolicyViolation, "Excessively large number of partitions per request.")
	}
	for _, t := range req.Topics {
		var e *apiError
		switch {
		case counts[t.Topic] < 0:
			continue
		case counts[t.Topic] > 1:
			e = fail(kerr.InvalidRequest, "Duplicate topic name.")
			counts[t.Topic] = -1
		case !who.topic(kmsg.ACLOperationAlter, t.Topic):
			e = failCode(kerr.TopicAuthorizationFailed)
		default:
			e = tx.addPartitions(&t)
		}
		rt := kmsg.NewCreatePartitionsResponseTopic()
		rt.Topic, rt.ErrorCode, rt.ErrorMessage = t.Topic, codeOf(e), e.text()
		resp.Topics = append(resp.Topics, rt)
	}
	if req.ValidateOnly {
		tx.discard()
	}
	return resp, nil
}

func (tx *tx) addPartitions(t *kmsg.CreatePartitionsRequestTopic) *apiError {
	s := tx.view()
	topic, ok := s.img.TopicByName(t.Topic)
	if !ok {
		return failCode(kerr.UnknownTopicOrPartition)
	}
	have := topic.PartitionCount()
	first, ok := topic.Partition(0)
	switch {
	case int(t.Count) == have:
		return fail(kerr.InvalidPartitions, "Topic already has %d partition(s).", have)
	case int(t.Count) < have:
		return fail(kerr.InvalidPartitions, "The topic %s currently has %d partition(s); %d would not be an increase.", t.Topic, have, t.Count)
	case !ok:
		return fail(kerr.UnknownServerError, "Invalid state: topic %s appears to have no partitions.", t.Topic)
	}
	additional, factor := int(t.Count)-have, len(first.Replicas)
	if t.Assignment != nil && len(t.Assignment) != additional {
		return fail(kerr.InvalidReplicaAssignment, "Attempted to add %d additional partition(s), but only %d assignment(s) were specified.", additional, len(t.Assignment))
	}
	var parts []*metadata.PartitionRecord
	var e *apiError
	if t.Assignment == nil {
		parts, e = tx.place(s, have, additional, factor)
	}
	for i, a := range t.Assignment {
		var p *metadata.PartitionRecord
		if p, e = manualPartition(s, int32(have+i), a.Replicas, factor); e != nil {
			break
		}
		parts = append(parts, p)
	}
	if e != nil {
		return e
	}
	for _, p := range parts {
		p.TopicID = topic.ID
		tx.emit(p)
	}
	return nil
}
