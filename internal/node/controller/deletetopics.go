package controller

import (
	"bytes"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kraft-dev/kraft-operator/internal/metadata"
	"github.com/kraft-dev/kraft-operator/internal/uuid"
)

// topicDeletion gathers what one DeleteTopics names, by name and by id (KIP-516), and the answers.
type topicDeletion struct {
	resp *kmsg.DeleteTopicsResponse
	who  access

	names, ids       map[string]int // occurrences; ids by their bytes
	orderN, orderIDs []string
}

func (d *topicDeletion) answer(name *string, id uuid.UUID, e *apiError) {
	t := kmsg.NewDeleteTopicsResponseTopic()
	t.Topic, t.TopicID, t.ErrorCode, t.ErrorMessage = name, id, codeOf(e), e.text()
	d.resp.Topics = append(d.resp.Topics, t)
}

// deleteTopics serves DeleteTopics v1 to 6: what can be deleted is, in one commit.
func deleteTopics(tx *tx, who access, req *kmsg.DeleteTopicsRequest) (kmsg.Response, error) {
	if tx.cfg.DisableTopicDeletion {
		if req.Version < 3 {
			return nil, fail(kerr.InvalidRequest, "Topic deletion is disabled.")
		}
		return nil, failCode(kerr.TopicDeletionDisabled)
	}
	d := &topicDeletion{resp: kmsg.NewPtrDeleteTopicsResponse(), who: who, names: map[string]int{}, ids: map[string]int{}}
	d.collect(req)
	s := tx.view()
	doomed := map[uuid.UUID]string{}
	d.resolveIDs(s, doomed)
	d.resolveNames(s, doomed)
	for _, id := range slices.SortedFunc(keys(doomed), func(a, b uuid.UUID) int { return bytes.Compare(a[:], b[:]) }) {
		rec := metadata.NewRemoveTopicRecord()
		rec.TopicID = id
		tx.emit(rec)
		d.answer(ptr(doomed[id]), id, nil)
	}
	return d.resp, nil
}

func (d *topicDeletion) collect(req *kmsg.DeleteTopicsRequest) {
	add := func(m map[string]int, order *[]string, key string) {
		if m[key]++; m[key] == 1 {
			*order = append(*order, key)
		}
	}
	for _, n := range req.TopicNames {
		add(d.names, &d.orderN, n)
	}
	for _, t := range req.Topics {
		id := uuid.UUID(t.TopicID)
		switch {
		case t.Topic == nil && id == uuid.Zero:
			d.answer(nil, id, fail(kerr.InvalidRequest, "Neither topic name nor id were specified."))
		case t.Topic == nil:
			add(d.ids, &d.orderIDs, string(id[:]))
		case id != uuid.Zero:
			d.answer(t.Topic, id, fail(kerr.InvalidRequest, "You may not specify both topic name and topic id."))
		default:
			add(d.names, &d.orderN, *t.Topic)
		}
	}
}

// resolveIDs names no topic to someone who may not describe it.
func (d *topicDeletion) resolveIDs(s *state, doomed map[uuid.UUID]string) {
	for _, key := range d.orderIDs {
		id := uuid.UUID([]byte(key))
		t, ok := s.img.TopicByID(id)
		switch {
		case d.ids[key] > 1:
			d.answer(nil, id, fail(kerr.InvalidRequest, "Duplicate topic id."))
		case !ok:
			d.answer(nil, id, failCode(kerr.UnknownTopicID))
		case d.mayDelete(t.Name):
			doomed[id] = t.Name
		case d.who.topic(kmsg.ACLOperationDescribe, t.Name):
			d.answer(&t.Name, id, failCode(kerr.TopicAuthorizationFailed))
		default:
			d.answer(nil, id, failCode(kerr.TopicAuthorizationFailed))
		}
	}
}

func (d *topicDeletion) resolveNames(s *state, doomed map[uuid.UUID]string) {
	for _, name := range d.orderN {
		if d.names[name] > 1 {
			d.answer(&name, uuid.Zero, fail(kerr.InvalidRequest, "Duplicate topic name."))
			continue
		}
		if !d.mayDelete(name) && !d.who.topic(kmsg.ACLOperationDescribe, name) {
			d.answer(&name, uuid.Zero, failCode(kerr.TopicAuthorizationFailed))
			continue
		}
		t, ok := s.img.TopicByName(name)
		switch {
		case !ok:
			d.answer(&name, uuid.Zero, failCode(kerr.UnknownTopicOrPartition))
		case !d.mayDelete(name):
			d.answer(&name, uuid.Zero, failCode(kerr.TopicAuthorizationFailed))
		case doomed[t.ID] != "" || d.ids[string(t.ID[:])] > 1:
			delete(doomed, t.ID)
			d.answer(&name, t.ID, fail(kerr.InvalidRequest, "The provided topic name maps to an ID that was already supplied."))
		default:
			doomed[t.ID] = name
		}
	}
}

func (d *topicDeletion) mayDelete(name string) bool {
	return d.who.cluster(kmsg.ACLOperationDelete) || d.who.topic(kmsg.ACLOperationDelete, name)
}
