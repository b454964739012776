package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func (s *subject) user(name string) string { return strings.ToLower(s.leader.String()) + "-" + name }

func (s *subject) setQuotas() {
	need(setQuota(s.w.elected().leader.addr(), s.user("limited"), 1<<20), "set a quota")
}

func (s *subject) removesQuota() {
	need(setQuota(s.w.elected().leader.addr(), s.user("limited"), 1<<21), "set the quota again")
}

// scram changes credentials; an empty list of deletions or upsertions is left out.
func (s *subject) scram(set, remove []string) map[string]error {
	req := newest(kmsg.NewPtrAlterUserSCRAMCredentialsRequest())
	for _, name := range set {
		u := kmsg.NewAlterUserSCRAMCredentialsRequestUpsertion()
		u.Name, u.Mechanism, u.Iterations, u.Salt, u.SaltedPassword = s.user(name), 1, 4096, []byte("0123456789abcdef"), make([]byte, 32)
		req.Upsertions = append(req.Upsertions, u)
	}
	for _, name := range remove {
		d := kmsg.NewAlterUserSCRAMCredentialsRequestDeletion()
		d.Name, d.Mechanism = s.user(name), 1
		req.Deletions = append(req.Deletions, d)
	}
	resp := onLeader(s.w, req, func(r *kmsg.AlterUserSCRAMCredentialsResponse) int16 { return r.Results[0].ErrorCode })
	out := map[string]error{}
	for _, r := range resp.Results {
		out[strings.TrimPrefix(r.User, s.user(""))] = errorOf(r.ErrorCode, r.ErrorMessage)
	}
	return out
}

func (s *subject) setSCRAM() {
	need(s.scram([]string{"kept", "gone"}, nil)["kept"], "set a credential")
	need(s.scram(nil, []string{"gone"})["gone"], "remove a credential")
}

func (s *subject) removesSCRAM() {
	got := s.scram(nil, []string{"gone"})["gone"]
	want(errors.Is(got, kerr.ResourceNotFound), "removing what is gone: %v", got)
	need(s.scram(nil, []string{"kept"})["kept"], "remove the credential")
}

// producerIDs allocates a block.
func (s *subject) producerIDs() (start, end int64) {
	req := newest(kmsg.NewPtrAllocateProducerIDsRequest())
	req.BrokerID, req.BrokerEpoch = s.first, s.epochs[s.first]
	resp := onLeader(s.w, req, func(r *kmsg.AllocateProducerIDsResponse) int16 { return r.ErrorCode })
	need(kerr.ErrorForCode(resp.ErrorCode), "allocate producer ids")
	return resp.ProducerIDStart, resp.ProducerIDStart + int64(resp.ProducerIDLen)
}

func (s *subject) allocateProducerIDs() {
	_, s.pids = s.producerIDs()
	want(s.pids > 0, "no producer ids")
}

func (s *subject) allocatesBeyond() {
	start, _ := s.producerIDs()
	want(start >= s.pids, "producer ids from %d, but those below %d are taken", start, s.pids)
}

// feature sets the level of streams.version.
func (s *subject) feature(level int16, how int8) {
	req := newest(kmsg.NewPtrUpdateFeaturesRequest())
	u := kmsg.NewUpdateFeaturesRequestFeatureUpdate()
	u.Feature, u.MaxVersionLevel, u.UpgradeType = "streams.version", level, how
	req.FeatureUpdates, req.TimeoutMillis = append(req.FeatureUpdates, u), 10_000
	resp := onLeader(s.w, req, func(r *kmsg.UpdateFeaturesResponse) int16 { return r.ErrorCode })
	need(errorOf(resp.ErrorCode, resp.ErrorMessage), "set streams.version to %d", level)
}

func (s *subject) streamsLevel() int16 {
	for _, f := range s.w.elected().leader.apiVersions().FinalizedFeatures {
		if f.Name == "streams.version" {
			return f.MaxVersionLevel
		}
	}
	return 0
}

func (s *subject) lowerFeature() { s.feature(0, 2) } // 2: safe downgrade

func (s *subject) raisesFeature() {
	want(s.streamsLevel() == 0, "streams.version is %d", s.streamsLevel())
	s.feature(1, 1) // 1: upgrade
	want(s.streamsLevel() == 1, "streams.version is %d", s.streamsLevel())
}

func (s *subject) remove(name string) error {
	req := newest(kmsg.NewPtrDeleteTopicsRequest())
	topic := kmsg.NewDeleteTopicsRequestTopic()
	topic.Topic = &name
	req.Topics = append(req.Topics, topic)
	resp := onLeader(s.w, req, func(r *kmsg.DeleteTopicsResponse) int16 { return r.Topics[0].ErrorCode })
	return errorOf(resp.Topics[0].ErrorCode, resp.Topics[0].ErrorMessage)
}

func (s *subject) deleteTopic() {
	_, err := s.create(s.topic+"-gone", 1)
	need(err, "create a topic")
	need(s.remove(s.topic+"-gone"), "delete it")
}

func (s *subject) topicIsGone() {
	err := s.remove(s.topic + "-gone")
	want(errors.Is(err, kerr.UnknownTopicOrPartition), "deleting a topic that is gone: %v", err)
	_, err = s.create(s.topic+"-gone", 1)
	need(err, "create it again")
}

func (s *subject) unregister() {
	s.register(s.gone())
	req := newest(kmsg.NewPtrUnregisterBrokerRequest())
	req.BrokerID = s.gone()
	resp := onLeader(s.w, req, func(r *kmsg.UnregisterBrokerResponse) int16 { return r.ErrorCode })
	need(errorOf(resp.ErrorCode, resp.ErrorMessage), "unregister broker %d", s.gone())
}

func (s *subject) brokerIsGone() {
	err := s.heartbeat(s.gone())
	want(errors.Is(err, kerr.StaleBrokerEpoch), "a heartbeat of a broker that is gone: %v", err)
}

func (s *subject) createACLs() {
	req := newest(kmsg.NewPtrCreateACLsRequest())
	for _, name := range []string{"kept", "gone"} {
		c := kmsg.NewCreateACLsRequestCreation()
		c.ResourceType, c.ResourceName, c.ResourcePatternType = kmsg.ACLResourceTypeTopic, name, kmsg.ACLResourcePatternTypeLiteral
		c.Principal, c.Host, c.Operation, c.PermissionType = "User:"+s.user("reader"), "*", kmsg.ACLOperationRead, kmsg.ACLPermissionTypeAllow
		req.Creations = append(req.Creations, c)
	}
	resp := onLeader(s.w, req, func(r *kmsg.CreateACLsResponse) int16 { return r.Results[0].ErrorCode })
	need(errorOf(resp.Results[0].ErrorCode, resp.Results[0].ErrorMessage), "create ACLs")
	del := newest(kmsg.NewPtrDeleteACLsRequest())
	f := kmsg.NewDeleteACLsRequestFilter()
	f.ResourceType, f.ResourceName, f.ResourcePatternType = kmsg.ACLResourceTypeTopic, kmsg.StringPtr("gone"), kmsg.ACLResourcePatternTypeLiteral
	f.Operation, f.PermissionType = kmsg.ACLOperationAny, kmsg.ACLPermissionTypeAny
	del.Filters = append(del.Filters, f)
	deleted := onLeader(s.w, del, func(r *kmsg.DeleteACLsResponse) int16 { return r.Results[0].ErrorCode })
	need(errorOf(deleted.Results[0].ErrorCode, deleted.Results[0].ErrorMessage), "delete an ACL")
	want(len(deleted.Results[0].MatchingACLs) == 1, "%s", fmt.Sprintf("%d ACLs deleted", len(deleted.Results[0].MatchingACLs)))
}
