package plan

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestAQuorumIsLostWhenAMajorityOfDisksIs(t *testing.T) {
	there := func(id int32, epoch int32, end int64) VoterDisk {
		return VoterDisk{Voter: Voter{ID: id, DirectoryID: string('a' + id)}, Epoch: epoch, End: end}
	}
	gone := func(id int32) VoterDisk {
		v := there(id, 0, -1)
		v.Gone = "its claim was deleted"
		return v
	}
	down := func(id int32) VoterDisk {
		v := there(id, 3, 90)
		v.Waits, v.ByLeader = "its pod is Pending", true
		return v
	}
	for _, tc := range []struct {
		name   string
		voters []VoterDisk
		lost   bool
		text   string
	}{
		{"two of three are gone", []VoterDisk{gone(0), there(1, 7, 120), gone(2)}, true,
			"1 of 3 voters are left, a majority is 2: no leader can be elected any more; gone for good: voter 0, directory a (its claim was deleted), voter 2, directory c (its claim was deleted); survives: voter 1, directory b (epoch 7, offset 120)"},
		{"one of three is gone, one is down", []VoterDisk{gone(0), there(1, 7, 120), down(2)}, false,
			"no controller says that it leads; the disks of 2 of 3 voters are there, a majority is 2; waits for voter 2 (its pod is Pending); gone for good: voter 0, directory a (its claim was deleted)"},
		{"all are down", []VoterDisk{down(0), down(1), down(2)}, false,
			"no controller says that it leads; the disks of 3 of 3 voters are there, a majority is 2; waits for voter 0 (its pod is Pending), voter 1 (its pod is Pending), voter 2 (its pod is Pending)"},
		{"an election", []VoterDisk{there(0, 7, 1), there(1, 7, 1), there(2, 7, 1)}, false,
			"no controller says that it leads; the disks of 3 of 3 voters are there, a majority is 2"},
		{"survivors are ranked, the latest epoch before the longest log", []VoterDisk{there(0, 7, 500), gone(1), there(2, 8, 300), gone(3), gone(4)}, true,
			"2 of 5 voters are left, a majority is 3: no leader can be elected any more; gone for good: voter 1, directory b (its claim was deleted), voter 3, directory d (its claim was deleted), voter 4, directory e (its claim was deleted); survives: voter 2, directory c (epoch 8, offset 300), voter 0, directory a (epoch 7, offset 500)"},
		{"a survivor that is down itself", []VoterDisk{gone(0), down(1), gone(2)}, true,
			"1 of 3 voters are left, a majority is 2: no leader can be elected any more; gone for good: voter 0, directory a (its claim was deleted), voter 2, directory c (its claim was deleted); survives: voter 1, directory b (epoch 3, offset 90 by the last leader's word; its pod is Pending)"},
		{"the only one", []VoterDisk{gone(0)}, true,
			"0 of 1 voters are left, a majority is 1: no leader can be elected any more; gone for good: voter 0, directory a (its claim was deleted); no voter's disk is left: the metadata is lost"},
		{"nobody is known", nil, false, "no controller says that it leads; the disks of 0 of 0 voters are there, a majority is 1"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			l := Lose(tc.voters)
			require.Equal(t, tc.lost, l.Lost)
			require.Equal(t, tc.text, l.String())
		})
	}
}
