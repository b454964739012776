package quorum

import (
	"slices"
	"time"
)

// progress is what the leader knows of one replica, from its valid fetches alone.
type progress struct {
	key          ReplicaKey
	end          Offset // UnknownOffset until known
	lastFetch    Instant
	fetched      bool   // lastFetch is set
	lastFetchEnd Offset // the leader's log end at lastFetch
	lastCaughtUp Instant
	caughtUp     bool // lastCaughtUp is set
}

func newProgress(key ReplicaKey) *progress { return &progress{key: key, end: UnknownOffset} }

// fetch records a valid fetch at offset while the leader's log ends at leaderEnd. A replica is caught up when it asks
// for the leader's end, or for what was the end when it asked before.
func (p *progress) fetch(now Instant, offset, leaderEnd Offset) {
	switch {
	case offset >= leaderEnd:
		p.lastCaughtUp, p.caughtUp = now, true
	case p.fetched && offset >= p.lastFetchEnd:
		p.lastCaughtUp, p.caughtUp = p.lastFetch, true
	}
	p.end, p.lastFetch, p.fetched, p.lastFetchEnd = offset, now, true, leaderEnd
}

func (p *progress) state(now Instant) ReplicaState {
	s := ReplicaState{Key: p.key, LogEndOffset: p.end, LastFetch: UnknownAge, LastCaughtUp: UnknownAge}
	if p.fetched {
		s.LastFetch = now - p.lastFetch
	}
	if p.caughtUp {
		s.LastCaughtUp = now - p.lastCaughtUp
	}
	return s
}

// observerForgotten is how long an observer that doesn't fetch is still shown.
const observerForgotten = 300 * time.Second

// maxObservers bounds what strangers can make a leader remember. Observers past it are served, but not shown.
const maxObservers = 4096

// replicas holds one entry for each voter of the set in force, by id, and one for each observer, by key.
type replicas struct {
	set       VoterSet
	voters    map[NodeID]*progress
	observers map[ReplicaKey]*progress
}

func newReplicas(set VoterSet) replicas {
	r := replicas{observers: map[ReplicaKey]*progress{}}
	r.update(set)
	return r
}

// update follows a change of the voter set: new voters bring their observer entry, removed ones become observers.
func (r *replicas) update(set VoterSet) {
	old := r.voters
	r.set, r.voters = set, make(map[NodeID]*progress, set.Len())
	for _, v := range set.Voters() {
		id := v.Key.ID
		switch {
		case old[id] != nil && set.Contains(old[id].key):
			r.voters[id] = old[id]
			delete(old, id)
		case r.observers[v.Key] != nil:
			r.voters[id] = r.observers[v.Key]
			// What it had as an observer committed nothing, so nobody minded if its disk went back to an old copy meanwhile. It
			// counts from its next fetch on.
			r.voters[id].end = UnknownOffset
			delete(r.observers, v.Key)
		default:
			r.voters[id] = newProgress(v.Key)
		}
	}
	for _, p := range old {
		if _, votes := set.ByID(p.key.ID); votes && p.key.DirectoryID.IsZero() {
			continue // static voters have just got their directory ids: this entry says nothing of one of them
		}
		r.observers[p.key] = p
	}
}

// find returns the entry of a replica, a new observer's if it has none.
func (r *replicas) find(key ReplicaKey) *progress {
	if r.set.Contains(key) {
		return r.voters[key.ID]
	}
	p := r.observers[key]
	if p == nil {
		p = newProgress(key)
		if len(r.observers) < maxObservers {
			r.observers[key] = p
		}
	}
	return p
}

// forget drops observers that stopped fetching long ago.
func (r *replicas) forget(now Instant, self ReplicaKey) {
	for k, p := range r.observers {
		if k != self && (!p.fetched || now-p.lastFetch >= observerForgotten) {
			delete(r.observers, k)
		}
	}
}

func (r *replicas) voterEnds() []Offset {
	ends := make([]Offset, 0, len(r.voters))
	for _, v := range r.set.Voters() {
		ends = append(ends, r.voters[v.Key.ID].end)
	}
	if planted == observerCounts {
		for _, p := range r.sortedObservers() {
			ends = append(ends, p.end)
		}
	}
	return ends
}

// sortedObservers is in the order of their keys, for answers that don't depend on map order.
func (r *replicas) sortedObservers() []*progress {
	out := make([]*progress, 0, len(r.observers))
	for _, p := range r.observers {
		out = append(out, p)
	}
	slices.SortFunc(out, func(a, b *progress) int { return compareKeys(a.key, b.key) })
	return out
}

func compareKeys(a, b ReplicaKey) int {
	if a.ID != b.ID {
		return int(a.ID) - int(b.ID)
	}
	return slices.Compare(a.DirectoryID[:], b.DirectoryID[:])
}
