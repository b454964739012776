package plan

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// VoterDisk is a voter as it was recorded last, and what is left of it.
type VoterDisk struct {
	Voter
	// Gone says why its disk is gone for good, such as "its claim was deleted"; "" while it may come back.
	Gone string
	// Waits says what keeps it from answering, such as "its pod is Pending"; "" when it answers.
	Waits string
	// Epoch and End are its leader epoch and the exclusive end of its log by its own word, or, with ByLeader, by the
	// leader's last one; End is -1 when nobody said.
	Epoch    int32
	End      int64
	ByLeader bool
}

// Loss is what is known of a quorum without a leader.
type Loss struct {
	// Lost: too few voters' disks are left for a majority, whatever is waited for.
	Lost      bool
	Voters    int
	Survivors []VoterDisk // best first: the latest epoch, then the longest log, by what is known
	Gone      []VoterDisk
}

// Lose tells a quorum that is lost for good from one whose voters may come back.
func Lose(voters []VoterDisk) Loss {
	l := Loss{Voters: len(voters)}
	for _, v := range voters {
		if v.Gone != "" {
			l.Gone = append(l.Gone, v)
		} else {
			l.Survivors = append(l.Survivors, v)
		}
	}
	slices.SortStableFunc(l.Survivors, func(a, b VoterDisk) int {
		return cmp.Or(cmp.Compare(b.Epoch, a.Epoch), cmp.Compare(b.End, a.End), cmp.Compare(a.ID, b.ID))
	})
	l.Lost = len(voters) > 0 && len(l.Survivors) < l.majority()
	return l
}

func (l Loss) majority() int { return l.Voters/2 + 1 }

// String is the facts in a sentence or two.
func (l Loss) String() string {
	if !l.Lost {
		var waits []string
		for _, v := range l.Survivors {
			if v.Waits != "" {
				waits = append(waits, fmt.Sprintf("voter %d (%s)", v.ID, v.Waits))
			}
		}
		out := fmt.Sprintf("no controller says that it leads; the disks of %d of %d voters are there, a majority is %d", len(l.Survivors), l.Voters, l.majority())
		if len(waits) > 0 {
			out += "; waits for " + strings.Join(waits, ", ")
		}
		return out + l.gone()
	}
	out := fmt.Sprintf("%d of %d voters are left, a majority is %d: no leader can be elected any more", len(l.Survivors), l.Voters, l.majority())
	out += l.gone()
	var left []string
	for _, v := range l.Survivors {
		left = append(left, v.String())
	}
	if len(left) == 0 {
		return out + "; no voter's disk is left: the metadata is lost"
	}
	return out + "; survives: " + strings.Join(left, ", ")
}

func (l Loss) gone() string {
	var out []string
	for _, v := range l.Gone {
		out = append(out, fmt.Sprintf("voter %d, directory %s (%s)", v.ID, v.DirectoryID, v.Gone))
	}
	if len(out) == 0 {
		return ""
	}
	return "; gone for good: " + strings.Join(out, ", ")
}

// String names a survivor and where its log ends.
func (v VoterDisk) String() string {
	where := fmt.Sprintf("epoch %d, offset %d", v.Epoch, v.End)
	switch {
	case v.End < 0:
		where = "it doesn't say where its log ends"
	case v.ByLeader:
		where += " by the last leader's word"
	}
	if v.Waits != "" {
		where += "; " + v.Waits
	}
	return fmt.Sprintf("voter %d, directory %s (%s)", v.ID, v.DirectoryID, where)
}
