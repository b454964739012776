package quorum

import (
	"slices"
	"strings"
)

// Voter is one member of a voter set.
type Voter struct {
	Key       ReplicaKey
	Endpoints []Endpoint
	Supported VersionRange // of kraft.version
}

// Endpoint returns the voter's address for a listener name.
func (v Voter) Endpoint(listener string) (Endpoint, bool) {
	for _, e := range v.Endpoints {
		if strings.EqualFold(e.Listener, listener) {
			return e, true
		}
	}
	return Endpoint{}, false
}

// sameAs compares two entries; the order of endpoints is of no account.
func (v Voter) sameAs(o Voter) bool {
	return v.Key == o.Key && v.Supported == o.Supported && len(v.Endpoints) == len(o.Endpoints) &&
		!slices.ContainsFunc(v.Endpoints, func(e Endpoint) bool {
			other, ok := o.Endpoint(e.Listener)
			return !ok || other.Host != e.Host || other.Port != e.Port
		})
}

// Contains reports whether a level lies in the range.
func (r VersionRange) Contains(level int16) bool { return r.Min <= level && level <= r.Max }

// VoterSet is an immutable set of voters, ordered by id; ids are unique in it. The zero value is empty.
type VoterSet struct{ voters []Voter }

// NewVoterSet orders voters by id. Where an id occurs twice, the later entry stands.
func NewVoterSet(voters ...Voter) VoterSet {
	out := make([]Voter, 0, len(voters))
	for _, v := range voters {
		out = slices.DeleteFunc(out, func(o Voter) bool { return o.Key.ID == v.Key.ID })
		out = append(out, v)
	}
	slices.SortFunc(out, func(a, b Voter) int { return int(a.Key.ID) - int(b.Key.ID) })
	return VoterSet{out}
}

// Len returns the number of voters.
func (s VoterSet) Len() int { return len(s.voters) }

// Voters returns the voters by id. The slice must not be changed.
func (s VoterSet) Voters() []Voter { return s.voters }

// Majority is the number of votes that any other majority must share a voter with.
func (s VoterSet) Majority() int { return len(s.voters)/2 + 1 }

// ByID finds a voter by node id, whatever its directory.
func (s VoterSet) ByID(id NodeID) (Voter, bool) {
	for _, v := range s.voters {
		if v.Key.ID == id {
			return v, true
		}
	}
	return Voter{}, false
}

// Contains reports whether key votes. An entry without directory id matches any directory of that node
// (static voters); an entry with one must match exactly.
func (s VoterSet) Contains(key ReplicaKey) bool {
	v, ok := s.ByID(key.ID)
	return ok && key.ID >= 0 && (v.Key.DirectoryID.IsZero() || v.Key.DirectoryID == key.DirectoryID)
}

// IDs returns the node ids in order.
func (s VoterSet) IDs() []NodeID {
	ids := make([]NodeID, len(s.voters))
	for i, v := range s.voters {
		ids[i] = v.Key.ID
	}
	return ids
}

func (s VoterSet) String() string {
	keys := make([]string, len(s.voters))
	for i, v := range s.voters {
		keys[i] = v.Key.String()
	}
	return "{" + strings.Join(keys, " ") + "}"
}

// With returns the set with one voter more.
func (s VoterSet) With(v Voter) VoterSet { return NewVoterSet(append(slices.Clone(s.voters), v)...) }

// Without returns the set without the voter that has exactly this key.
func (s VoterSet) Without(key ReplicaKey) VoterSet {
	return VoterSet{slices.DeleteFunc(slices.Clone(s.voters), func(v Voter) bool { return v.Key == key })}
}

// Updated returns the set with v in place of the entry that has exactly its key, and whether that differs.
func (s VoterSet) Updated(v Voter) (VoterSet, bool) {
	mine, ok := s.ByID(v.Key.ID)
	if !ok || mine.Key != v.Key || mine.sameAs(v) {
		return s, false
	}
	return s.With(v), true
}

// updatedByID replaces the entry of a node whatever its directory, as kraft.version 0 knows none.
func (s VoterSet) updatedByID(v Voter) (VoterSet, bool) {
	if _, ok := s.ByID(v.Key.ID); !ok {
		return s, false
	}
	return s.With(v), true
}

// SameKeys reports whether both sets have the same members.
func (s VoterSet) SameKeys(o VoterSet) bool {
	return slices.EqualFunc(s.voters, o.voters, func(a, b Voter) bool { return a.Key == b.Key })
}

// Equal reports whether both sets have the same entries.
func (s VoterSet) Equal(o VoterSet) bool {
	return slices.EqualFunc(s.voters, o.voters, Voter.sameAs)
}
