package metadata

import (
	"maps"
	"reflect"

	"github.com/kraft-dev/kraft-operator/internal/uuid"
)

// Delta names what differs between two images. It holds names, not values: look them up in the older and the
// newer image. What was made and removed again in between is named too and is in neither.
type Delta struct {
	Topics      map[uuid.UUID]*TopicDelta
	Brokers     map[int32]bool
	Controllers map[int32]bool
	Configs     map[ConfigResource]bool
	Features    map[string]bool
	Quotas      map[string]bool // by QuotaKey
	ACLs        map[uuid.UUID]bool
	Scram       map[ScramKey]bool
	Tokens      map[string]bool
	ProducerIDs bool
}

// TopicDelta names the changed partitions of one topic. All of them are named when it was created or deleted.
type TopicDelta struct {
	ID         uuid.UUID
	Name       string
	Created    bool // absent from the older image
	Deleted    bool // absent from the newer one
	Partitions map[int32]bool
}

// NewDelta returns a delta that names nothing. Its maps are made when they are needed: one is made for each commit, and names one thing or two.
func NewDelta() *Delta { return &Delta{} }

// mark adds a name.
func mark[K comparable](names *map[K]bool, name K) { put(names, name, true) }

// put writes to a map that may be nil.
func put[K comparable, V any](m *map[K]V, k K, v V) {
	if *m == nil {
		*m = map[K]V{}
	}
	(*m)[k] = v
}

// markAll adds a later delta's names.
func markAll[K comparable](names *map[K]bool, later map[K]bool) {
	if *names == nil && len(later) > 0 {
		*names = make(map[K]bool, len(later))
	}
	maps.Copy(*names, later)
}

// IsEmpty tells whether d names nothing.
func (d *Delta) IsEmpty() bool {
	return len(d.Topics)+len(d.Brokers)+len(d.Controllers)+len(d.Configs)+len(d.Features)+
		len(d.Quotas)+len(d.ACLs)+len(d.Scram)+len(d.Tokens) == 0 && !d.ProducerIDs
}

// Merge adds what a later delta names, so that d leads from its older image to later's newer one.
func (d *Delta) Merge(later *Delta) {
	for id, t := range later.Topics {
		mine := d.topic(id, t.Name)
		mine.Created = mine.Created || t.Created
		mine.Deleted = t.Deleted
		markAll(&mine.Partitions, t.Partitions)
	}
	markAll(&d.Brokers, later.Brokers)
	markAll(&d.Controllers, later.Controllers)
	markAll(&d.Configs, later.Configs)
	markAll(&d.Features, later.Features)
	markAll(&d.Quotas, later.Quotas)
	markAll(&d.ACLs, later.ACLs)
	markAll(&d.Scram, later.Scram)
	markAll(&d.Tokens, later.Tokens)
	d.ProducerIDs = d.ProducerIDs || later.ProducerIDs
}

func (d *Delta) topic(id uuid.UUID, name string) *TopicDelta {
	t, ok := d.Topics[id]
	if !ok {
		t = &TopicDelta{ID: id, Name: name}
		put(&d.Topics, id, t)
	}
	return t
}

// Changes compares two images in full, for a snapshot that replaced the state and for a publisher that starts
// late (prev is Empty then). Parts that the images share cost nothing; ApplyDelta gives the same without a scan.
func Changes(prev, next *Image) *Delta {
	d := NewDelta()
	changed(prev.features, next.features, &d.Features)
	changed(prev.brokers, next.brokers, &d.Brokers)
	changed(prev.controllers, next.controllers, &d.Controllers)
	changed(prev.configs, next.configs, &d.Configs)
	changed(prev.quotas, next.quotas, &d.Quotas)
	changed(prev.acls, next.acls, &d.ACLs)
	changed(prev.scram, next.scram, &d.Scram)
	changed(prev.tokens, next.tokens, &d.Tokens)
	d.ProducerIDs = prev.nextProducerID != next.nextProducerID
	if prev.topics == next.topics {
		return d
	}
	none := newOrdered[int32, *Partition]()
	for id, t := range prev.topics.all() {
		if n, ok := next.topics.get(id); !ok {
			td := d.topic(id, t.Name)
			td.Deleted = true
			changed(t.parts, none, &td.Partitions)
		} else if n != t {
			var parts map[int32]bool
			if changed(t.parts, n.parts, &parts); len(parts) > 0 {
				d.topic(id, t.Name).Partitions = parts
			}
		}
	}
	for id, t := range next.topics.all() {
		if _, ok := prev.topics.get(id); !ok {
			td := d.topic(id, t.Name)
			td.Created = true
			changed(none, t.parts, &td.Partitions)
		}
	}
	return d
}

// changed names the keys whose values differ.
func changed[K comparable, V any](prev, next *pmap[K, V], into *map[K]bool) {
	if prev == next {
		return
	}
	for k, v := range prev.all() {
		if n, ok := next.get(k); !ok || !same(v, n) {
			mark(into, k)
		}
	}
	for k := range next.all() {
		if _, ok := prev.get(k); !ok {
			mark(into, k)
		}
	}
}

// same compares values, pointers first; empty and nil slices are the same.
func same[V any](a, b V) bool {
	if p, ok := any(a).(*Partition); ok {
		q := any(b).(*Partition)
		return p == q || p.equal(q)
	}
	return reflect.DeepEqual(a, b)
}
