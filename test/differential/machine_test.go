package differential_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
)

// command is what clients ask of the store. Client and Seq make a repeated one count once.
type command struct {
	Client int    `json:"c"`
	Seq    int    `json:"s"`
	Op     string `json:"o"` // put, append, cas, delete, get, add
	Key    string `json:"k"`
	Value  string `json:"v,omitempty"`
	Old    string `json:"p,omitempty"` // cas
}

// store is the state machine: keys that belong to one client each, and one counter that belongs to all.
type store struct {
	mu       sync.Mutex
	keys     map[string]string
	counter  int
	sessions map[int]session
	applied  int
}

type session struct {
	seq    int
	answer string
}

func newStore() *store { return &store{keys: map[string]string{}, sessions: map[int]session{}} }

// Apply implements engine.Machine.
func (s *store) Apply(record []byte) []byte {
	var c command
	if err := json.Unmarshal(record, &c); err != nil {
		panic(fmt.Sprintf("record %q: %v", record, err)) // nobody else writes to this log
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.applied++
	if last, ok := s.sessions[c.Client]; ok && last.seq >= c.Seq {
		return []byte(last.answer)
	}
	answer := s.do(c)
	s.sessions[c.Client] = session{c.Seq, answer}
	return []byte(answer)
}

func (s *store) do(c command) string {
	old, ok := s.keys[c.Key]
	switch c.Op {
	case "put":
		s.keys[c.Key] = c.Value
	case "append":
		s.keys[c.Key] = old + c.Value
	case "cas":
		if old != c.Old {
			return "no: " + old
		}
		s.keys[c.Key] = c.Value
	case "delete":
		delete(s.keys, c.Key)
	case "add":
		s.counter += len(c.Value)
		return "added" // the sum depends on how clients interleave
	}
	if !ok {
		return "none"
	}
	return old
}

// state is all that was said, without how often it was said.
func (s *store) state() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var b strings.Builder
	fmt.Fprintf(&b, "counter=%d\n", s.counter)
	for _, k := range slices.Sorted(maps.Keys(s.keys)) {
		fmt.Fprintf(&b, "%s=%s\n", k, s.keys[k])
	}
	for _, c := range slices.Sorted(maps.Keys(s.sessions)) {
		fmt.Fprintf(&b, "client %d at %d\n", c, s.sessions[c].seq)
	}
	return b.String()
}
