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

// leader is controllers.Admin over the fleet.
type leader struct{ w *world }

func (l leader) DescribeQuorum(_ context.Context, addrs []string) (*admin.Quorum, error) {
	return l.w.fleet.describeQuorum(addrs)
}

func (l leader) DescribeTopics(_ context.Context, addrs []string) (*admin.Topics, error) {
	return l.w.fleet.describeTopics(addrs)
}

func (l leader) AddVoter(_ context.Context, addrs []string, key admin.ReplicaKey, at []admin.Endpoint) error {
	want := admin.Endpoint{Listener: "CONTROLLER", Host: fmt.Sprintf("%s-controller-%d.%s.svc", clusterName, key.ID, l.w.namespace), Port: 9093}
	if !slices.Equal(at, []admin.Endpoint{want}) {
		return fmt.Errorf("endpoints %v: %w", at, kerr.InvalidRequest)
	}
	return l.w.fleet.changeVoters(addrs, false, voterOf(key))
}

func (l leader) RemoveVoter(_ context.Context, addrs []string, key admin.ReplicaKey) error {
	return l.w.fleet.changeVoters(addrs, true, voterOf(key))
}

func (l leader) DynamicDefaults(_ context.Context, leader string) (map[string]string, error) {
	if !l.w.fleet.leads(leader) {
		return nil, admin.ErrNoLeader
	}
	return maps.Clone(l.w.fleet.configs), nil
}

func (l leader) AlterDynamicDefaults(_ context.Context, leader string, set map[string]string, remove []string) error {
	f := l.w.fleet
	if !f.leads(leader) {
		return admin.ErrNoLeader
	}
	maps.Copy(f.configs, set)
	for _, key := range remove {
		delete(f.configs, key)
	}
	return nil
}

func (l leader) UnregisterBroker(_ context.Context, leader string, id int32) error {
	if !l.w.fleet.leads(leader) {
		return admin.ErrNoLeader
	}
	delete(l.w.fleet.registered, id)
	return nil
}

// leads tells whether the active controller is at an address.
func (f *fleet) leads(addr string) bool {
	return f.q != nil && slices.ContainsFunc(f.answering([]string{addr}, true), func(k *kraftd) bool { return k.id == f.q.leader && !k.stopping })
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
		out.HighWatermark = q.changed.Sub(q.formed).Milliseconds()/100 + f.records
	}
	describe := func(v voter) admin.Replica {
		r := admin.Replica{ID: v.id, DirectoryID: mustParse(v.dir), LogEndOffset: -1, SinceFetch: -1, SinceCaughtUp: -1}
		if at, ok := q.fetched[v]; ok {
			r.SinceFetch = f.now.Sub(at)
			r.SinceCaughtUp = r.SinceFetch
			r.LogEndOffset = end - r.SinceFetch.Milliseconds()/100
		}
		if k := f.up(v.id); k != nil && !k.slow.IsZero() && k.disk.dir == v.dir {
			r.SinceCaughtUp, r.LogEndOffset = f.now.Sub(k.slow), end-farBehind
		}
		if v.id == q.leader {
			r.SinceFetch, r.SinceCaughtUp, r.LogEndOffset = 0, 0, end
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
func (f *fleet) offset() int64 { return 1 + f.now.Sub(f.q.formed).Milliseconds()/100 + f.records }

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
