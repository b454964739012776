package crashpoints

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/kraft-dev/kraft-operator/internal/admin"
	"github.com/kraft-dev/kraft-operator/internal/uuid"
)

// asker is controllers.Admin over the fleet; every request passes the fault.
type asker struct{ m *manager }

func uncertain(p point) error { return fmt.Errorf("%s: %w", p, admin.ErrUncertain) }

func (a *asker) DescribeQuorum(_ context.Context, addrs []string) (q *admin.Quorum, err error) {
	err = a.m.call(point{Verb: "ask", Object: "DescribeQuorum", read: true, admin: true}, func() effect {
		got, err := a.m.w.fleet.describeQuorum(addrs)
		return effect{func() { q = got }, err}
	})
	return q, err
}

func (a *asker) DescribeTopics(_ context.Context, addrs []string) (t *admin.Topics, err error) {
	err = a.m.call(point{Verb: "ask", Object: "DescribeTopics", read: true, admin: true}, func() effect {
		got, err := a.m.w.fleet.describeTopics(addrs)
		return effect{func() { t = got }, err}
	})
	return t, err
}

func (a *asker) AddVoter(_ context.Context, addrs []string, key admin.ReplicaKey, at []admin.Endpoint) error {
	return a.m.call(point{Verb: "ask", Object: fmt.Sprintf("AddVoter %d", key.ID), admin: true}, func() effect {
		v := voter{key.ID, uuid.UUID(key.DirectoryID).String()}
		want := admin.Endpoint{Listener: "CONTROLLER", Host: fmt.Sprintf("%s-controller-%d.%s.svc", clusterName, v.id, namespace), Port: 9093}
		if !slices.Equal(at, []admin.Endpoint{want}) {
			return failed(fmt.Errorf("endpoints %v: %w", at, kerr.InvalidRequest))
		}
		return failed(a.change(addrs, false, v))
	})
}

func (a *asker) RemoveVoter(_ context.Context, addrs []string, key admin.ReplicaKey) error {
	return a.m.call(point{Verb: "ask", Object: fmt.Sprintf("RemoveVoter %d", key.ID), admin: true}, func() effect {
		return failed(a.change(addrs, true, voter{key.ID, uuid.UUID(key.DirectoryID).String()}))
	})
}

func (a *asker) DynamicDefaults(_ context.Context, leader string) (all map[string]string, err error) {
	err = a.m.call(point{Verb: "ask", Object: "DynamicDefaults", read: true, admin: true}, func() effect {
		f := a.m.w.fleet
		if !f.leads(leader) {
			return failed(admin.ErrNoLeader)
		}
		got := maps.Clone(f.configs)
		return effect{func() { all = got }, nil}
	})
	return all, err
}

func (a *asker) AlterDynamicDefaults(_ context.Context, leader string, set map[string]string, remove []string) error {
	return a.m.call(point{Verb: "ask", Object: "AlterDynamicDefaults", admin: true}, func() effect {
		f := a.m.w.fleet
		if !f.leads(leader) {
			return failed(admin.ErrNoLeader)
		}
		maps.Copy(f.configs, set)
		for _, key := range remove {
			delete(f.configs, key)
		}
		return effect{}
	})
}

func (a *asker) UnregisterBroker(_ context.Context, leader string, id int32) error {
	return a.m.call(point{Verb: "ask", Object: fmt.Sprintf("UnregisterBroker %d", id), admin: true}, func() effect {
		f := a.m.w.fleet
		if !f.leads(leader) {
			return failed(admin.ErrNoLeader)
		}
		a.m.w.rules.unregisters(a.m, id)
		delete(f.registered, id)
		return effect{}
	})
}

// leads tells whether the active controller is at an address.
func (f *fleet) leads(addr string) bool {
	return f.q != nil && slices.ContainsFunc(f.answering([]string{addr}, true), func(k *kraftd) bool { return k.id == f.q.leader && !k.stopping })
}

func (a *asker) change(addrs []string, remove bool, v voter) error {
	w := a.m.w
	w.rules.changes(a.m, remove, v)
	return w.fleet.changeVoters(addrs, remove, v)
}

// answering are the processes behind addresses that take connections.
func (f *fleet) answering(addrs []string, controllers bool) (out []*kraftd) {
	for _, k := range f.sorted() {
		at := slices.ContainsFunc(addrs, func(a string) bool { return strings.HasPrefix(a, k.ip+":") })
		if at && !k.cut && (controllers && k.controller || !controllers && k.broker) {
			out = append(out, k)
		}
	}
	return out
}

func (f *fleet) describeQuorum(addrs []string) (*admin.Quorum, error) {
	up := f.answering(addrs, true)
	if len(up) == 0 {
		return nil, admin.ErrNobody
	}
	none := &admin.Quorum{Leader: -1, LeaderEpoch: -1, HighWatermark: -1}
	q := f.q
	if q == nil || !slices.ContainsFunc(up, func(k *kraftd) bool { return k.id == q.leader }) {
		return none, nil
	}
	end := f.offset()
	out := &admin.Quorum{Leader: q.leader, LeaderEpoch: q.epoch, HighWatermark: end}
	if !q.committed {
		out.HighWatermark = q.changed.Sub(q.formed).Milliseconds() / 100
	}
	describe := func(v voter) admin.Replica {
		r := admin.Replica{ID: v.id, DirectoryID: mustParse(v.dir), LogEndOffset: -1, SinceFetch: -1}
		if at, ok := q.fetched[v]; ok {
			r.SinceFetch = f.now.Sub(at)
			r.LogEndOffset = end - r.SinceFetch.Milliseconds()/100
		}
		if v.id == q.leader {
			r.SinceFetch, r.LogEndOffset = 0, end
		}
		return r
	}
	for _, v := range q.voters {
		out.Voters = append(out.Voters, describe(v))
	}
	for v := range q.fetched {
		if !slices.Contains(q.voters, v) {
			out.Observers = append(out.Observers, describe(v))
		}
	}
	slices.SortFunc(out.Observers, func(a, b admin.Replica) int {
		if a.ID != b.ID {
			return int(a.ID - b.ID)
		}
		return slices.Compare(a.DirectoryID[:], b.DirectoryID[:])
	})
	return out, nil
}

// offset is the leader's log end.
func (f *fleet) offset() int64 { return 1 + f.now.Sub(f.q.formed).Milliseconds()/100 }

func (f *fleet) describeTopics(addrs []string) (*admin.Topics, error) {
	up := f.answering(addrs, false)
	if len(up) == 0 {
		return nil, admin.ErrNobody
	}
	t := &admin.Topics{}
	for _, k := range f.sorted() {
		if k.broker && !k.unfenced.IsZero() {
			t.Unfenced = append(t.Unfenced, k.id)
		}
	}
	for _, p := range f.partitions {
		t.Partitions = append(t.Partitions, admin.Partition{
			Topic: p.topic, Leader: p.leader, Replicas: slices.Clone(p.replicas), ISR: slices.Clone(p.isr), MinISR: p.minISR,
		})
	}
	return t, nil
}

// changeVoters is the leader's part of AddRaftVoter and RemoveRaftVoter.
func (f *fleet) changeVoters(addrs []string, remove bool, v voter) error {
	q := f.q
	if q == nil || !slices.ContainsFunc(f.answering(addrs, true), func(k *kraftd) bool { return k.id == q.leader && !k.stopping }) {
		return admin.ErrNoLeader
	}
	if err := f.refuses(remove, v); err != nil {
		return err
	}
	if f.late > 0 {
		f.pending = append(f.pending, lateChange{f.now.Add(f.late), remove, v})
		f.late = 0
		return nil
	}
	f.makeChange(remove, v)
	return nil
}

func (f *fleet) refuses(remove bool, v voter) error {
	q := f.q
	there := slices.ContainsFunc(q.voters, func(o voter) bool { return o.id == v.id })
	_, fetches := q.fetched[v]
	switch {
	case !q.committed:
		return &admin.VoterError{Code: kerr.RequestTimedOut, Text: "another change of the voters is under way"}
	case remove && !slices.Contains(q.voters, v):
		return &admin.VoterError{Code: kerr.VoterNotFound}
	case !remove && there:
		return &admin.VoterError{Code: kerr.DuplicateVoter}
	case !remove && (!fetches || !f.live(v)):
		return &admin.VoterError{Code: kerr.RequestTimedOut, Text: "it hasn't caught up"}
	}
	return nil
}

func (f *fleet) makeChange(remove bool, v voter) {
	q := f.q
	if remove {
		q.voters = slices.DeleteFunc(slices.Clone(q.voters), func(o voter) bool { return o == v })
	} else {
		q.voters = append(slices.Clone(q.voters), v)
		slices.SortFunc(q.voters, func(a, b voter) int { return int(a.id - b.id) })
	}
	q.changed, q.committed = f.now, false
	if remove && v.id == q.leader {
		q.leader, q.lost = -1, f.now.Add(-elects)
	}
	f.note("voters %v", q.voters)
}

// makeLate makes the changes whose answers were lost.
func (f *fleet) makeLate() {
	f.pending = slices.DeleteFunc(f.pending, func(c lateChange) bool {
		if f.now.Before(c.at) {
			return false
		}
		if f.q.leader >= 0 && f.refuses(c.remove, c.v) == nil {
			f.note("a change whose answer was lost is made")
			f.makeChange(c.remove, c.v)
		}
		return true
	})
}

func mustParse(dir string) [16]byte {
	id, err := uuid.Parse(dir)
	if err != nil {
		panic(fmt.Sprintf("directory id %q of the model: %v", dir, err))
	}
	return id
}
