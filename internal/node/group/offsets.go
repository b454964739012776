package group

import (
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kraft-dev/kraft-operator/internal/uuid"
)

// TopicPartition names what an offset is committed for.
type TopicPartition struct {
	Topic     string
	Partition int32
}

// Committed is one committed offset. CommitTimestamp is wall-clock milliseconds.
type Committed struct {
	Offset          int64
	LeaderEpoch     int32 // -1 when the client did not say
	Metadata        string
	CommitTimestamp int64
	TopicID         uuid.UUID
}

// KV is a record of __consumer_offsets; a nil Value is a tombstone.
type KV struct{ Key, Value []byte }

// Versions that are written: those that Kafka 4.3 writes by default, readable by every 3.x and 4.x broker.
const (
	offsetKeyVersion   = 1
	offsetValueVersion = 3
	groupKeyVersion    = 2
	groupValueVersion  = 3
)

func offsetKey(group string, tp TopicPartition) []byte {
	k := kmsg.OffsetCommitKey{Version: offsetKeyVersion, Group: group, Topic: tp.Topic, Partition: tp.Partition}
	return k.AppendTo(nil)
}

func offsetRecord(group string, tp TopicPartition, c Committed) KV {
	v := kmsg.OffsetCommitValue{Version: offsetValueVersion, Offset: c.Offset, LeaderEpoch: c.LeaderEpoch, Metadata: c.Metadata, CommitTimestamp: c.CommitTimestamp}
	return KV{Key: offsetKey(group, tp), Value: v.AppendTo(nil)}
}

func offsetTombstone(group string, tp TopicPartition) KV { return KV{Key: offsetKey(group, tp)} }

func groupKey(group string) []byte {
	k := kmsg.GroupMetadataKey{Version: groupKeyVersion, Group: group}
	return k.AppendTo(nil)
}

func groupTombstone(group string) KV { return KV{Key: groupKey(group)} }

// groupRecord is the group's generation and members with their subscriptions and assignments.
func groupRecord(g *Group, nowMs int64) KV {
	v := kmsg.GroupMetadataValue{Version: groupValueVersion, ProtocolType: g.ProtocolType, Generation: g.Generation, CurrentStateTimestamp: nowMs}
	if g.Protocol != "" {
		v.Protocol = &g.Protocol
	}
	if g.Leader != "" {
		v.Leader = &g.Leader
	}
	for _, m := range g.Ordered() {
		v.Members = append(v.Members, kmsg.GroupMetadataValueMember{
			MemberID: m.ID, InstanceID: m.InstanceID, ClientID: m.ClientID, ClientHost: m.ClientHost,
			RebalanceTimeoutMillis: int32(m.RebalanceTimeout.Milliseconds()), SessionTimeoutMillis: int32(m.SessionTimeout.Milliseconds()),
			Subscription: m.Metadata(g.Protocol), Assignment: m.Assignment,
		})
	}
	return KV{Key: groupKey(g.ID), Value: v.AppendTo(nil)}
}

// entry is one group with its offsets.
type entry struct {
	*Group
	offsets map[TopicPartition]Committed
	// inFlight is how many appends of this group are under way; a group with any isn't removed.
	inFlight int
	timed
}

func newEntry(id string, cfg Config) *entry {
	return &entry{Group: New(id, cfg), offsets: map[TopicPartition]Committed{}, timed: timed{index: -1}}
}

// replay applies one record read back from the log. A record of a kind that this coordinator does not keep
// (transactions, KIP-848 and share groups) is passed over.
func replay(groups map[string]*entry, cfg Config, now time.Duration, kv KV) error {
	if len(kv.Key) < 2 {
		return fmt.Errorf("__consumer_offsets: key of %d bytes", len(kv.Key))
	}
	get := func(id string) *entry {
		e := groups[id]
		if e == nil {
			e = newEntry(id, cfg)
			groups[id] = e
		}
		return e
	}
	switch version := int16(kv.Key[0])<<8 | int16(kv.Key[1]); version {
	case 0, 1:
		var k kmsg.OffsetCommitKey
		if err := k.ReadFrom(kv.Key); err != nil {
			return fmt.Errorf("__consumer_offsets: offset key: %w", err)
		}
		tp := TopicPartition{k.Topic, k.Partition}
		if kv.Value == nil {
			delete(get(k.Group).offsets, tp)
			return nil
		}
		v := kmsg.OffsetCommitValue{LeaderEpoch: -1}
		if err := v.ReadFrom(kv.Value); err != nil {
			return fmt.Errorf("__consumer_offsets: offset of group %q for %s-%d: %w", k.Group, k.Topic, k.Partition, err)
		}
		if v.Version < 3 {
			v.LeaderEpoch = -1
		}
		get(k.Group).offsets[tp] = Committed{Offset: v.Offset, LeaderEpoch: v.LeaderEpoch, Metadata: v.Metadata, CommitTimestamp: v.CommitTimestamp, TopicID: v.TopicID}
	case 2:
		var k kmsg.GroupMetadataKey
		if err := k.ReadFrom(kv.Key); err != nil {
			return fmt.Errorf("__consumer_offsets: group key: %w", err)
		}
		e := get(k.Group)
		e.Group = New(k.Group, cfg)
		if kv.Value == nil {
			return nil
		}
		return restore(e.Group, now, kv.Value)
	}
	return nil
}

func restore(g *Group, now time.Duration, value []byte) error {
	var v kmsg.GroupMetadataValue
	if err := v.ReadFrom(value); err != nil {
		return fmt.Errorf("__consumer_offsets: group %q: %w", g.ID, err)
	}
	deref := func(s *string) string {
		if s == nil {
			return ""
		}
		return *s
	}
	members := make([]*Member, 0, len(v.Members))
	for _, m := range v.Members {
		members = append(members, &Member{
			ID: m.MemberID, InstanceID: m.InstanceID, ClientID: m.ClientID, ClientHost: m.ClientHost,
			RebalanceTimeout: time.Duration(m.RebalanceTimeoutMillis) * time.Millisecond,
			SessionTimeout:   time.Duration(m.SessionTimeoutMillis) * time.Millisecond,
			Protocols:        []Protocol{{Name: deref(v.Protocol), Metadata: m.Subscription}},
			Assignment:       m.Assignment,
		})
	}
	state := Stable
	if len(members) == 0 {
		state = Empty
	}
	g.Restore(now, state, v.ProtocolType, deref(v.Protocol), deref(v.Leader), v.Generation, members)
	return nil
}
