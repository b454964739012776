package quorum

import (
	"cmp"
	"slices"
)

// history keeps the voter sets and kraft.version levels by the offset of their record. The newest is in
// force as soon as it is in the log, committed or not; truncation brings the one before back (KIP-853).
type history struct {
	static   VoterSet // in force while there is no record
	voters   []votersAt
	versions []versionAt
}

type votersAt struct {
	offset Offset // -1: the 0-0 checkpoint
	set    VoterSet
}

type versionAt struct {
	offset Offset
	level  int16
}

func newHistory(static VoterSet, control []ControlAt) history {
	h := history{static: static}
	// A snapshot's records stand at its end, which may be above the log's start.
	control = slices.Clone(control)
	slices.SortStableFunc(control, func(a, b ControlAt) int { return cmp.Compare(a.Offset, b.Offset) })
	for _, c := range control {
		h.add(c.Offset, c.Record)
	}
	return h
}

func (h *history) add(offset Offset, r ControlRecord) {
	if r.Voters != nil {
		h.voters = append(h.voters, votersAt{offset, *r.Voters})
	}
	if r.KRaftVersion != nil {
		h.versions = append(h.versions, versionAt{offset, *r.KRaftVersion})
	}
}

// addBatch notes the control records of a batch that is being appended.
func (h *history) addBatch(base Offset, control []ControlRecord) {
	for i, r := range control {
		h.add(base+Offset(i), r)
	}
}

func (h *history) truncate(to Offset) {
	for n := len(h.voters); n > 0 && h.voters[n-1].offset >= to && planted != votersUncut; n-- {
		h.voters = h.voters[:n-1]
	}
	for n := len(h.versions); n > 0 && h.versions[n-1].offset >= to && planted != versionsUncut; n-- {
		h.versions = h.versions[:n-1]
	}
}

// dropPrefix forgets what was in force only below the new start of the log.
func (h *history) dropPrefix(to Offset) {
	first := 0
	for i, v := range h.voters {
		if v.offset < to {
			first = i
		}
	}
	h.voters = slices.Clone(h.voters[first:])
	first = 0
	for i, v := range h.versions {
		if v.offset < to {
			first = i
		}
	}
	h.versions = slices.Clone(h.versions[first:])
}

func (h *history) current() VoterSet {
	if n := len(h.voters); n > 0 {
		return h.voters[n-1].set
	}
	return h.static
}

// fromBootstrap reports that the set in force still stands in the 0-0 checkpoint alone, so that the log must
// take it over.
func (h *history) fromBootstrap() bool {
	n := len(h.voters)
	return n > 0 && h.voters[n-1].offset < 0
}

// leaving reports that the set in force, not known to be committed, follows one that had key, and has it no more.
func (h *history) leaving(key ReplicaKey, committed Offset) bool {
	n := len(h.voters)
	if n == 0 || h.voters[n-1].set.Contains(key) || h.voters[n-1].offset < committed {
		return false
	}
	before := h.static
	if n > 1 {
		before = h.voters[n-2].set
	}
	if planted == onlyPairsLeave && before.Len() != 2 {
		return false
	}
	return before.Contains(key)
}

// votersOffset is where the record of the set in force stands: -1 for the 0-0 checkpoint; false for static voters.
func (h *history) votersOffset() (Offset, bool) {
	if n := len(h.voters); n > 0 {
		return h.voters[n-1].offset, true
	}
	return UnknownOffset, false
}

func (h *history) kraftVersion() int16 {
	if n := len(h.versions); n > 0 {
		return h.versions[n-1].level
	}
	return 0
}
