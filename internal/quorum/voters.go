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
