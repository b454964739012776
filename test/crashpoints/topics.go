package crashpoints

import (
	"fmt"
	"slices"
	"time"
)

// partition is one of a topic, with its in-sync replicas; leader -1 is none.
type partition struct {
	topic         string
	leader        int32
	replicas, isr []int32
	minISR        int
}

// topicsOver lays out a topic of one partition for each of the brokers, with as many replicas as there are brokers, 3 at most.
func topicsOver(brokers ...int32) (out []partition) {
	replicas := min(3, len(brokers))
	for i, id := range brokers {
		p := partition{topic: fmt.Sprintf("topic-%d", i), leader: id, minISR: max(1, replicas-1)}
		for j := range replicas {
			p.replicas = append(p.replicas, brokers[(i+j)%len(brokers)])
		}
		p.isr = slices.Sorted(slices.Values(p.replicas))
		out = append(out, p)
	}
	return out
}

// serve is the brokers' part: registration, leaders and in-sync replicas.
func (f *fleet) serve() {
	if f.q == nil || f.q.leader < 0 {
		return
	}
	for _, k := range f.sorted() {
		if !k.broker || k.stopping || k.cut {
			continue
		}
		if k.unfenced.IsZero() && f.now.Sub(k.started) >= registers {
			k.unfenced = f.now
			f.registered[k.id] = true
		}
		if k.unfenced.IsZero() {
			continue
		}
		for i := range f.partitions {
			p := &f.partitions[i]
			in := slices.Contains(p.isr, k.id)
			switch {
			case p.leader < 0 && in:
				p.leader = k.id
			case p.leader >= 0 && !in && slices.Contains(p.replicas, k.id) && f.now.Sub(k.unfenced) >= rejoins:
				p.isr = append(p.isr, k.id)
				slices.Sort(p.isr)
			}
		}
	}
}

// fence takes a broker out of the in-sync replicas it can be taken out of.
func (f *fleet) fence(k *kraftd) {
	k.unfenced = time.Time{}
	for i := range f.partitions {
		p := &f.partitions[i]
		if at := slices.Index(p.isr, k.id); at >= 0 && len(p.isr) > 1 {
			p.isr = slices.Delete(p.isr, at, at+1)
		}
		if p.leader == k.id {
			p.leader = -1
			if p.isr[0] != k.id {
				p.leader = p.isr[0]
			}
		}
	}
}
