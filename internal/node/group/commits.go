package group

import (
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kraft-dev/kraft-operator/internal/node/server"
	"github.com/kraft-dev/kraft-operator/internal/uuid"
)

// listed tells whether a filter lets a value through; Kafka ignores case in filters.
func listed(filter []string, value string) bool {
	for _, f := range filter {
		if strings.EqualFold(f, value) {
			return true
		}
	}
	return len(filter) == 0
}

// offsetCommit serves OffsetCommit v2–10; topic ids from v10. It is answered when the records are replicated.
func (c *Coordinator) offsetCommit(r *server.Request, req *kmsg.OffsetCommitRequest) {
	resp := kmsg.NewPtrOffsetCommitResponse()
	s, e, err := c.lookup(req.Group)
	if err == nil {
		e, err = c.committer(s, e, req)
	}
	var kvs []KV
	commits := map[TopicPartition]Committed{}
	now := time.Now().UnixMilli()
	for _, t := range req.Topics {
		rt := kmsg.NewOffsetCommitResponseTopic()
		rt.Topic, rt.TopicID = t.Topic, t.TopicID
		name, known := t.Topic, true
		if r.Version >= 10 {
			name, known = c.meta.TopicName(uuid.UUID(t.TopicID))
		}
		for _, p := range t.Partitions {
			rp := kmsg.NewOffsetCommitResponseTopicPartition()
			rp.Partition = p.Partition
			switch {
			case err != nil:
				rp.ErrorCode = code(err)
			case !known:
				rp.ErrorCode = kerr.UnknownTopicID.Code
			case !c.meta.PartitionExists(name, p.Partition):
				rp.ErrorCode = kerr.UnknownTopicOrPartition.Code
			case p.Metadata != nil && len(*p.Metadata) > c.cfg.MaxMetadataBytes:
				rp.ErrorCode = kerr.OffsetMetadataTooLarge.Code
			default:
				tp := TopicPartition{name, p.Partition}
				cm := Committed{Offset: p.Offset, LeaderEpoch: p.LeaderEpoch, CommitTimestamp: now}
				if r.Version < 6 {
					cm.LeaderEpoch = -1
				}
				if p.Metadata != nil {
					cm.Metadata = *p.Metadata
				}
				commits[tp] = cm
				kvs = append(kvs, offsetRecord(req.Group, tp, cm))
			}
			rt.Partitions = append(rt.Partitions, rp)
		}
		resp.Topics = append(resp.Topics, rt)
	}
	if len(kvs) == 0 {
		r.Reply(resp)
		return
	}
	c.append(s, e, kvs, func(err error) {
		if err = groupError(err); err == nil {
			for tp, cm := range commits {
				e.offsets[tp] = cm
			}
		} else {
			failCommits(resp, err)
		}
		r.Reply(resp)
	})
}

// committer is the group to commit to; a consumer without a group of its own makes one (simple consumers).
func (c *Coordinator) committer(s *shard, e *entry, req *kmsg.OffsetCommitRequest) (*entry, error) {
	if e == nil {
		if req.Generation >= 0 || req.MemberID != "" {
			return nil, kerr.IllegalGeneration
		}
		e = newEntry(req.Group, c.cfg.Group)
		s.groups[req.Group] = e
	}
	return e, e.CheckCommit(c.now(), req.MemberID, req.InstanceID, req.Generation)
}

func failCommits(resp *kmsg.OffsetCommitResponse, err error) {
	for i := range resp.Topics {
		for j := range resp.Topics[i].Partitions {
			if p := &resp.Topics[i].Partitions[j]; p.ErrorCode == 0 {
				p.ErrorCode = code(err)
			}
		}
	}
}

// offsetFetch serves OffsetFetch v1–10: several groups from v8, topic ids from v10.
func (c *Coordinator) offsetFetch(r *server.Request, req *kmsg.OffsetFetchRequest) {
	resp := kmsg.NewPtrOffsetFetchResponse()
	if r.Version >= 8 {
		for _, g := range req.Groups {
			resp.Groups = append(resp.Groups, c.fetchGroup(r.Version, g))
		}
		r.Reply(resp)
		return
	}
	one := kmsg.OffsetFetchRequestGroup{Group: req.Group}
	if req.Topics != nil {
		one.Topics = []kmsg.OffsetFetchRequestGroupTopic{}
	}
	for _, t := range req.Topics {
		one.Topics = append(one.Topics, kmsg.OffsetFetchRequestGroupTopic{Topic: t.Topic, Partitions: t.Partitions})
	}
	g := c.fetchGroup(r.Version, one)
	resp.ErrorCode = g.ErrorCode
	for _, t := range g.Topics {
		rt := kmsg.OffsetFetchResponseTopic{Topic: t.Topic}
		for _, p := range t.Partitions {
			if r.Version < 2 {
				p.ErrorCode = g.ErrorCode // v1 has no other place for it
			}
			rt.Partitions = append(rt.Partitions, kmsg.OffsetFetchResponseTopicPartition{Partition: p.Partition, Offset: p.Offset, LeaderEpoch: p.LeaderEpoch, Metadata: p.Metadata, ErrorCode: p.ErrorCode})
		}
		resp.Topics = append(resp.Topics, rt)
	}
	r.Reply(resp)
}

// fetchGroup answers one group; nil topics means all that have a committed offset.
func (c *Coordinator) fetchGroup(version int16, req kmsg.OffsetFetchRequestGroup) kmsg.OffsetFetchResponseGroup {
	out := kmsg.NewOffsetFetchResponseGroup()
	out.Group = req.Group
	_, e, err := c.lookup(req.Group)
	out.ErrorCode = code(err)
	if err != nil && version >= 2 {
		return out
	}
	if req.Topics == nil {
		if e != nil {
			out.Topics = c.allOffsets(version, e)
		}
		return out
	}
	for _, t := range req.Topics {
		rt := kmsg.NewOffsetFetchResponseGroupTopic()
		rt.Topic, rt.TopicID = t.Topic, t.TopicID
		name, known := t.Topic, true
		if version >= 10 {
			name, known = c.meta.TopicName(uuid.UUID(t.TopicID))
		}
		for _, p := range t.Partitions {
			rp := offsetPartition(p, Committed{Offset: -1, LeaderEpoch: -1})
			if !known {
				rp.ErrorCode = kerr.UnknownTopicID.Code
			} else if e != nil {
				if cm, ok := e.offsets[TopicPartition{name, p}]; ok {
					rp = offsetPartition(p, cm)
				}
			}
			rt.Partitions = append(rt.Partitions, rp)
		}
		out.Topics = append(out.Topics, rt)
	}
	return out
}

func offsetPartition(p int32, cm Committed) kmsg.OffsetFetchResponseGroupTopicPartition {
	rp := kmsg.NewOffsetFetchResponseGroupTopicPartition()
	rp.Partition, rp.Offset, rp.LeaderEpoch, rp.Metadata = p, cm.Offset, cm.LeaderEpoch, &cm.Metadata
	return rp
}

func (c *Coordinator) allOffsets(version int16, e *entry) []kmsg.OffsetFetchResponseGroupTopic {
	at := map[string]int{}
	var out []kmsg.OffsetFetchResponseGroupTopic
	for tp, cm := range e.offsets {
		i, ok := at[tp.Topic]
		if !ok {
			t := kmsg.NewOffsetFetchResponseGroupTopic()
			t.Topic = tp.Topic
			if version >= 10 {
				id, exists := c.meta.TopicID(tp.Topic)
				if !exists {
					continue
				}
				t.TopicID = id
			}
			i = len(out)
			at[tp.Topic] = i
			out = append(out, t)
		}
		out[i].Partitions = append(out[i].Partitions, offsetPartition(tp.Partition, cm))
	}
	return out
}

// deleteGroups serves DeleteGroups v0–2: only a group without members goes, with all its offsets.
func (c *Coordinator) deleteGroups(r *server.Request, req *kmsg.DeleteGroupsRequest) {
	resp := kmsg.NewPtrDeleteGroupsResponse()
	resp.Groups = make([]kmsg.DeleteGroupsResponseGroup, len(req.Groups))
	waiting := 1
	finish := func() {
		if waiting--; waiting == 0 {
			r.Reply(resp)
		}
	}
	for i, id := range req.Groups {
		out := &resp.Groups[i]
		*out = kmsg.NewDeleteGroupsResponseGroup()
		out.Group = id
		s, e, err := c.lookup(id)
		switch {
		case err != nil:
		case e == nil || e.State == Dead:
			err = kerr.GroupIDNotFound
		case e.State != Empty:
			err = kerr.NonEmptyGroup
		}
		if out.ErrorCode = code(err); err != nil {
			continue
		}
		kvs := []KV{groupTombstone(id)}
		for tp := range e.offsets {
			kvs = append(kvs, offsetTombstone(id, tp))
		}
		waiting++
		c.append(s, e, kvs, func(err error) {
			if err = groupError(err); err == nil && e.State == Empty && s.groups[id] == e {
				delete(s.groups, id)
				e.Unload(c.now(), kerr.GroupIDNotFound)
			}
			out.ErrorCode = code(err)
			finish()
		})
	}
	finish()
}

// offsetDelete serves OffsetDelete v0: offsets of topics that no member subscribes to.
func (c *Coordinator) offsetDelete(r *server.Request, req *kmsg.OffsetDeleteRequest) {
	resp := kmsg.NewPtrOffsetDeleteResponse()
	s, e, err := c.lookup(req.Group)
	switch {
	case err != nil:
	case e == nil:
		err = kerr.GroupIDNotFound
	case e.State != Empty && e.ProtocolType != consumerProtocol:
		err = kerr.NonEmptyGroup
	}
	if resp.ErrorCode = code(err); err != nil {
		r.Reply(resp)
		return
	}
	var kvs []KV
	var gone []TopicPartition
	for _, t := range req.Topics {
		rt := kmsg.NewOffsetDeleteResponseTopic()
		rt.Topic = t.Topic
		subscribed := e.subscribed(t.Topic)
		for _, p := range t.Partitions {
			rp := kmsg.NewOffsetDeleteResponseTopicPartition()
			rp.Partition = p.Partition
			tp := TopicPartition{t.Topic, p.Partition}
			if subscribed {
				rp.ErrorCode = kerr.GroupSubscribedToTopic.Code
			} else if _, ok := e.offsets[tp]; ok {
				kvs, gone = append(kvs, offsetTombstone(req.Group, tp)), append(gone, tp)
			}
			rt.Partitions = append(rt.Partitions, rp)
		}
		resp.Topics = append(resp.Topics, rt)
	}
	if len(kvs) == 0 {
		r.Reply(resp)
		return
	}
	c.append(s, e, kvs, func(err error) {
		if resp.ErrorCode = code(groupError(err)); err == nil {
			for _, tp := range gone {
				delete(e.offsets, tp)
			}
		}
		r.Reply(resp)
	})
}

// subscribed tells whether a member's consumer subscription names topic. One that can't be read counts as
// subscribing to everything: offsets are not deleted on a guess.
func (e *entry) subscribed(topic string) bool {
	for _, m := range e.Members {
		for _, p := range m.Protocols {
			var sub kmsg.ConsumerMemberMetadata
			if err := sub.ReadFrom(p.Metadata); err != nil {
				return true
			}
			for _, t := range sub.Topics {
				if t == topic {
					return true
				}
			}
		}
	}
	return false
}

// expireOffsets removes offsets of empty groups after offsets.retention.minutes without a commit, and the groups
// that then hold nothing (KIP-211).
func (c *Coordinator) expireOffsets() {
	limit := time.Now().Add(-c.cfg.OffsetsRetention).UnixMilli()
	now := c.now()
	for _, s := range c.shards {
		for id, e := range s.groups {
			if e.State != Empty || e.inFlight > 0 || now-e.Since < min(c.cfg.OffsetsRetention, now) {
				continue
			}
			var kvs []KV
			var gone []TopicPartition
			for tp, cm := range e.offsets {
				if cm.CommitTimestamp < limit {
					kvs, gone = append(kvs, offsetTombstone(id, tp)), append(gone, tp)
				}
			}
			last := len(gone) == len(e.offsets)
			if last && e.Generation > 0 {
				kvs = append(kvs, groupTombstone(id))
			}
			if len(kvs) == 0 {
				continue
			}
			c.append(s, e, kvs, func(err error) {
				if err != nil {
					return
				}
				for _, tp := range gone {
					delete(e.offsets, tp)
				}
				if last && e.State == Empty && len(e.offsets) == 0 && s.groups[id] == e {
					delete(s.groups, id)
				}
			})
		}
	}
}
