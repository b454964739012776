package controller

import (
	"cmp"
	"math/rand/v2"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
)

// usableBroker is a broker that may hold new replicas: registered, not in controlled shutdown, with an uncordoned
// directory. A fenced one may follow but never leads.
type usableBroker struct {
	id     int32
	rack   *string
	fenced bool
}

// placeReplicas spreads the replicas of count new partitions over brokers, racks first (Kafka's striped placer).
//
// The result has count lists of factor distinct broker ids, each headed by an unfenced broker. Racks are visited in
// turn, one step further for each partition, and so are the brokers within a rack; after as many partitions as there
// are unfenced brokers all lists are shuffled. The error is INVALID_REPLICATION_FACTOR with Kafka's text.
func placeReplicas(rnd *rand.Rand, brokers []usableBroker, count, factor int) ([][]int32, *apiError) {
	p := newPlacer(rnd, brokers)
	if err := p.check(factor); err != nil {
		return nil, err
	}
	out := make([][]int32, count)
	for i := range out {
		out[i] = p.place(factor)
	}
	return out, nil
}

type placer struct {
	rnd      *rand.Rand
	racks    []*rack
	brokers  int
	unfenced int
	epoch    int // partitions placed since the last shuffle
	offset   int // the rack the next partition starts at
}

type rack struct {
	name     string
	named    bool
	unfenced brokerRing
	fenced   brokerRing
}

// brokerRing hands out its brokers once an epoch, from an offset that moves by one each epoch.
type brokerRing struct {
	ids    []int32
	epoch  int
	index  int
	offset int
}

func newPlacer(rnd *rand.Rand, brokers []usableBroker) *placer {
	p := &placer{rnd: rnd, brokers: len(brokers)}
	byName := map[string]*rack{}
	var unnamed *rack
	for _, b := range brokers {
		var r *rack
		if b.rack == nil {
			if unnamed == nil {
				unnamed = &rack{}
				p.racks = append(p.racks, unnamed)
			}
			r = unnamed
		} else if r = byName[*b.rack]; r == nil {
			r = &rack{name: *b.rack, named: true}
			byName[*b.rack] = r
			p.racks = append(p.racks, r)
		}
		if b.fenced {
			r.fenced.ids = append(r.fenced.ids, b.id)
		} else {
			r.unfenced.ids = append(r.unfenced.ids, b.id)
			p.unfenced++
		}
	}
	slices.SortFunc(p.racks, func(a, b *rack) int {
		if a.named != b.named {
			if b.named {
				return -1
			}
			return 1
		}
		return cmp.Compare(a.name, b.name)
	})
	for _, r := range p.racks {
		r.unfenced.start(rnd)
		r.fenced.start(rnd)
	}
	if len(p.racks) > 0 {
		p.offset = rnd.IntN(len(p.racks))
	}
	return p
}

func (p *placer) check(factor int) *apiError {
	switch {
	case factor <= 0:
		return fail(kerr.InvalidReplicationFactor, "Invalid replication factor %d: the replication factor must be positive.", factor)
	case p.unfenced == 0:
		return fail(kerr.InvalidReplicationFactor, "All brokers are currently fenced.")
	case factor > p.brokers:
		return fail(kerr.InvalidReplicationFactor,
			"The target replication factor of %d cannot be reached because only %d broker(s) are registered.", factor, p.brokers)
	}
	return nil
}

// place returns the next partition's replicas, leader first.
func (p *placer) place(factor int) []int32 {
	if p.epoch == p.unfenced {
		p.shuffle()
	}
	if p.offset == len(p.racks) {
		p.offset = 0
	}
	out := make([]int32, 0, factor)
	leaderRack := p.offset
	for {
		if id, ok := p.racks[leaderRack].unfenced.next(p.epoch); ok {
			out = append(out, id)
			break
		}
		leaderRack = (leaderRack + 1) % len(p.racks)
	}
	for i := p.offset; len(out) < factor; i = (i + 1) % len(p.racks) {
		if i == leaderRack {
			leaderRack = -1 // the leader's rack sits out the first round only
			continue
		}
		if id, ok := p.racks[i].next(p.epoch); ok {
			out = append(out, id)
		}
	}
	p.epoch++
	p.offset++
	return out
}

func (p *placer) shuffle() {
	p.epoch = 0
	p.rnd.Shuffle(len(p.racks), func(i, j int) { p.racks[i], p.racks[j] = p.racks[j], p.racks[i] })
	for _, r := range p.racks {
		r.unfenced.shuffle(p.rnd)
		r.fenced.shuffle(p.rnd)
	}
}

// next prefers unfenced brokers.
func (r *rack) next(epoch int) (int32, bool) {
	if id, ok := r.unfenced.next(epoch); ok {
		return id, true
	}
	return r.fenced.next(epoch)
}

func (b *brokerRing) start(rnd *rand.Rand) {
	slices.Sort(b.ids)
	if len(b.ids) > 0 {
		b.offset = rnd.IntN(len(b.ids))
	}
}

func (b *brokerRing) shuffle(rnd *rand.Rand) {
	rnd.Shuffle(len(b.ids), func(i, j int) { b.ids[i], b.ids[j] = b.ids[j], b.ids[i] })
	b.epoch, b.index, b.offset = 0, 0, 0
}

func (b *brokerRing) next(epoch int) (int32, bool) {
	if len(b.ids) == 0 {
		return 0, false
	}
	if b.epoch != epoch {
		b.epoch, b.index = epoch, 0
		b.offset = (b.offset + 1) % len(b.ids)
	}
	if b.index >= len(b.ids) {
		return 0, false
	}
	id := b.ids[(b.index+b.offset)%len(b.ids)]
	b.index++
	return id, true
}
