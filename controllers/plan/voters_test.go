package plan

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// council is a snapshot written in words: "0* 1 2! | 3 4~" are voters 0 (leader), 1 and 2 (silent), observers 3 and 4
// (lags). A node stands in zone id modulo 3; its directory is "d<id>", and "2'" is node 2 under "e2". Nodes are all ids.
func council(text string) Snapshot {
	s := Snapshot{Now: time.Unix(1_700_000_000, 0), Formed: true, Restarting: -1}
	s.LastAnswer = s.Now.Add(-time.Second)
	q := &Quorum{Leader: -1, Epoch: 5, HighWatermark: 5000, Settled: true, Moves: true}
	s.Quorum = q
	voters, observers, _ := strings.Cut(text, "|")
	for i, side := range []string{voters, observers} {
		for _, word := range strings.Fields(side) {
			var id int32
			if _, err := fmt.Sscan(strings.TrimRight(word, "*!~'"), &id); err != nil {
				panic(err)
			}
			r := Replica{ID: id, DirectoryID: fmt.Sprintf("d%d", id), LogEndOffset: 5000, SinceFetch: time.Second}
			if strings.Contains(word, "'") {
				r.DirectoryID = fmt.Sprintf("e%d", id)
			}
			if strings.Contains(word, "!") {
				r.SinceFetch = time.Minute
			}
			if strings.Contains(word, "~") {
				r.LogEndOffset = 10
			}
			if strings.Contains(word, "*") {
				q.Leader = id
			}
			if i == 0 {
				q.Voters = append(q.Voters, r)
			} else {
				q.Observers = append(q.Observers, r)
			}
			if !slices.ContainsFunc(s.Nodes, func(n Node) bool { return n.ID == id }) {
				s.Nodes = append(s.Nodes, Node{ID: id, Name: fmt.Sprintf("c%d", id), Controller: true, Zone: fmt.Sprint(id % 3), Pod: &Pod{Ready: true}})
			}
		}
	}
	slices.SortFunc(s.Nodes, func(a, b Node) int { return int(a.ID) - int(b.ID) })
	return s
}

// gone lets the clock of voters have run for so long.
func (s Snapshot) gone(d time.Duration, ids ...int32) Snapshot {
	for _, id := range ids {
		s.Gone = append(s.Gone, GoneVoter{Voter{id, fmt.Sprintf("d%d", id)}, s.Now.Add(-d)})
	}
	return s
}

func (v VoterStep) short() string {
	switch v.Do {
	case VotersAdd:
		return "add " + v.Voter.DirectoryID
	case VotersRemove:
		return "remove " + v.Voter.DirectoryID
	case VotersLeave:
		return fmt.Sprintf("leave %d", v.Node.ID)
	case VotersWait:
		return "wait"
	}
	return "done"
}

func TestTheNextChangeOfTheVoters(t *testing.T) {
	const after = 5 * time.Minute
	pending := func(s Snapshot, remove bool, v Voter, age time.Duration) Snapshot {
		s.Pending = &VoterChange{Remove: remove, Voter: v, Since: s.Now.Add(-age)}
		return s
	}
	with := func(s Snapshot, change func(*Snapshot)) Snapshot { change(&s); return s }
	for _, tc := range []struct {
		name                string
		s                   Snapshot
		controllers, voters int
		want, why           string
	}{
		{"as it should be", council("0* 1 2 |"), 3, 3, "done", ""},
		{"before the quorum has formed nothing changes", with(council("0* 1 2 | 3 4"), func(s *Snapshot) { s.Formed = false }), 5, 5, "done", ""},
		{"without a leader nothing changes", council("0 1 2 | 3 4"), 5, 5, "wait", "leader"},
		{"nobody answers", with(council("0* 1 2 | 3 4"), func(s *Snapshot) { s.Quorum = nil }), 5, 5, "wait", "leader"},

		{"more voters, the lowest first", council("0* 1 2 | 3 4"), 5, 5, "add d3", "5 voters are asked for"},
		{"one that was refused is asked for after the others", with(council("0* 1 2 | 3 4"), func(s *Snapshot) { s.InVain = []Voter{{3, "d3"}} }), 5, 5, "add d4", ""},
		{"all were refused: the first of them again", with(council("0* 1 2 | 3 4"), func(s *Snapshot) { s.InVain = []Voter{{4, "d4"}, {3, "d3"}} }), 5, 5, "add d4", ""},
		{"one that was refused, and none beside it", with(council("0* 1 2 | 3"), func(s *Snapshot) { s.InVain = []Voter{{3, "d3"}} }), 5, 5, "add d3", ""},
		{"its other disk was refused", with(council("0* 1 2 | 3 4"), func(s *Snapshot) { s.InVain = []Voter{{3, "e3"}} }), 5, 5, "add d3", ""},
		{"one that lags is passed over", council("0* 1 2 | 3~ 4"), 5, 5, "add d4", ""},
		{"one that is silent is passed over", council("0* 1 2 | 3! 4"), 5, 5, "add d4", ""},
		{"one whose pod isn't Ready is passed over", with(council("0* 1 2 | 3 4"), func(s *Snapshot) { s.Nodes[3].Pod = &Pod{} }), 5, 5, "add d4", ""},
		{"all lag", council("0* 1 2 | 3~ 4~"), 5, 5, "wait", "c3 to catch up"},
		{"the zone with the fewest voters first", council("0* 3 1 | 4 5"), 5, 5, "add d5", ""},
		{"a broker is no candidate", with(council("0* 1 2 | 1000"), func(s *Snapshot) { s.Nodes[3].Controller, s.Nodes[3].Broker = false, true }), 3, 5, "wait", "no other controller"},
		{"one to three", council("0* | 1 2"), 3, 3, "add d1", ""},
		{"two are on the way to three", council("0* 1 | 2"), 3, 3, "add d2", ""},

		{"fewer voters: the highest, not the leader", council("0 1 2 3 4* |"), 5, 3, "remove d3", "3 voters are asked for"},
		{"fewer voters: the fullest zone first", council("0* 1 2 4 5 7 8 |"), 7, 5, "remove d8", ""},
		{"fewer voters: the silent one first", council("0* 1! 2 3 4 |"), 5, 3, "remove d1", ""},
		{"fewer controllers: first it stops voting", council("0* 1 2 3 4 |"), 3, 3, "remove d4", "spec.controllers.replicas is 3"},
		{"fewer controllers: then it leaves", council("0* 1 2 | 3 4"), 3, 3, "leave 4", ""},
		{"fewer controllers: an observer leaves, no voter", council("0* 2 4 | 1 3"), 4, 3, "leave 3", ""},
		{"fewer controllers: one that is gone leaves, not its replacement", council("0* 1 2! | 3").gone(after, 2), 3, 3, "add d3", ""},
		{"fewer controllers: one that leaves is no candidate, whatever its zone", council("0* 1 3! | 4 5").gone(after, 3), 3, 3, "add d4", ""},
		{"to a single one: the leader stays", council("0 1 2* |"), 1, 1, "remove d1", ""},
		{"a combined node holds replicas", with(council("0* 1 2 | 3"), func(s *Snapshot) { s.Nodes[3].Broker = true }), 3, 3, "wait", "no replicas"},

		{"a blip", council("0* 1 2! | 3").gone(after-time.Second, 2), 4, 3, "done", ""},
		{"silent, and no clock ran", council("0* 1 2! | 3"), 4, 3, "done", ""},
		{"gone: add first", council("0* 1 2! | 3").gone(after, 2), 4, 3, "add d3", "voter 2 is gone for 5m0s"},
		{"gone: then remove", council("0* 1 2! 3 |").gone(after, 2), 4, 3, "remove d2", "its place is taken"},
		{"gone, back when its place is taken: it observes", council("0* 1 2 3 |").gone(after, 2), 4, 3, "remove d2", ""},
		{"gone, and nobody stands by", council("0* 1 2! |").gone(after, 2), 3, 3, "wait", "no other controller stands by"},
		{"two of five gone: one after the other", council("0* 1 2 3! 4! | 5 6").gone(after, 3, 4), 7, 5, "add d5", ""},
		{"the clock of another disk doesn't count", with(council("0* 1 2! | 3"), func(s *Snapshot) { s.Gone = []GoneVoter{{Voter{2, "old"}, time.Unix(0, 0)}} }), 4, 3, "done", ""},

		{"a lost disk: the old key goes at once", council("0* 1 2! | 2'"), 3, 3, "remove d2", "another disk"},
		{"a voter that lags for a moment", council("0* 1 2~ | 3").gone(after-time.Second, 2), 4, 3, "done", ""},
		{"a voter that lags for good: first another is added", council("0* 1 2~ | 3").gone(after, 2), 4, 3, "add d3", "voter 2 is gone for 5m0s"},
		{"a voter that lags for good: then it goes", council("0* 1 2~ 3 |").gone(after, 2), 4, 3, "remove d2", "its place is taken"},
		{"a voter that lags for good, and so do the others", council("0* 1 2~ | 3~").gone(after, 2), 4, 3, "wait", "c3 to catch up"},
		{"a voter that lags for good, and nobody stands by", council("0* 1 2~ |").gone(after, 2), 3, 3, "wait", "no other controller stands by"},
		{"two of three lag: no majority would keep up", council("0* 1~ 2~ | 3").gone(after, 1, 2), 4, 3, "wait", "a majority to keep up"},
		{"a lost disk: though it lags yet", council("0* 1 2! | 2'~"), 3, 3, "remove d2", ""},
		{"a lost disk: then the new key comes", council("0* 1 | 2'"), 3, 3, "add e2", ""},
		{"a lost disk, with a standby: zones and order decide", council("0* 1 | 3 2'"), 4, 3, "add e2", ""},
		{"no lost disk while the old key fetches", council("0* 1 2 | 2'"), 3, 3, "done", ""},
		{"no lost disk while the new key is silent", council("0* 1 2! | 2'!"), 3, 3, "done", ""},

		{"an addition beside two that are silent", council("0* 1! 2 3! | 4 5 "), 6, 5, "add d4", ""},
		{"an addition may make the majority", council("0* 1! | 2 3"), 4, 3, "add d2", ""},
		{"a removal takes the silent first", council("0* 1 2! 3! 4 |"), 5, 3, "remove d3", ""},
		{"down to one: the silent first", council("0* 1! 2 |"), 3, 1, "remove d1", ""},
		{"a removal that would leave two of four", council("0* 1 2! 3! 4!~ |").gone(after, 2, 3), 5, 5, "wait", "no other controller"},
		{"a node that leaves and is silent", council("0* 1 2! |"), 2, 1, "remove d2", ""},

		{"the last change isn't committed", with(council("0* 1 2 | 3 4"), func(s *Snapshot) { s.Quorum.Settled = false }), 5, 5, "wait", "committed"},
		{"nothing is committed at all", with(council("0* 1 2 | 3 4"), func(s *Snapshot) { s.Quorum.Moves = false }), 5, 5, "wait", "to commit"},
		{"an unclear change isn't tried again", pending(council("0* 1 2 | 3 4"), false, Voter{3, "d3"}, 2*time.Second), 5, 5, "wait", "add voter 3, which may still be made"},
		{"an unclear change that is seen", pending(council("0* 1 2 3 | 4"), false, Voter{3, "d3"}, 2*time.Second), 5, 5, "add d4", ""},
		{"an unclear change that can't come any more", pending(council("0* 1 2 | 3 4"), false, Voter{3, "d3"}, UnclearFor), 5, 5, "add d3", ""},
		{"an unclear removal that is seen", pending(council("0* 1 2 3 |"), true, Voter{4, "d4"}, time.Second), 4, 3, "remove d3", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := Voters(tc.s, VoterGoal{Controllers: tc.controllers, Voters: tc.voters, ReplaceAfter: after})
			require.Equal(t, tc.want, got.short(), got.Why)
			require.Contains(t, got.Why, tc.why)
		})
	}
}

// TestNoChangeWithoutAMajorityAfterIt: whatever is asked for.
func TestNoChangeWithoutAMajorityAfterIt(t *testing.T) {
	s := council("0* 1 2! 3! | 4") // not even now, as after a loss that the leader hasn't noticed
	got := Voters(s, VoterGoal{Controllers: 5, Voters: 5, ReplaceAfter: time.Minute})
	require.Equal(t, "add d4", got.short(), "three of five")
	s = council("0* 1! 2! | 4")
	got = Voters(s, VoterGoal{Controllers: 4, Voters: 5, ReplaceAfter: time.Minute})
	require.Equal(t, "wait", got.short())
	require.Contains(t, got.Why, "of the 4 voters then, 2 do")
	s = council("0* 1 2! 3! 4 |")
	s.Quorum.Voters[4].LogEndOffset = 10
	got = Voters(s, VoterGoal{Controllers: 5, Voters: 3, ReplaceAfter: time.Minute})
	require.Equal(t, "wait", got.short())
	require.Contains(t, got.Why, "to remove voter 4: of the 4 voters then, 2 do")
}

// TestTheClockOfAVoterThatIsGone runs only while the operator watches a led quorum and doesn't itself keep the node down.
func TestTheClockOfAVoterThatIsGone(t *testing.T) {
	goal := VoterGoal{Controllers: 4, Voters: 3, ReplaceAfter: 5 * time.Minute}
	base := func(text string) Snapshot { return council(text).gone(time.Minute, 2) }
	age := func(s Snapshot) time.Duration {
		got := Clock(s, goal)
		if len(got) == 0 {
			return -1
		}
		require.Len(t, got, 1)
		require.Equal(t, Voter{2, "d2"}, got[0].Voter)
		return s.Now.Sub(got[0].Since)
	}
	silent := func(fetched, heard time.Duration) Snapshot {
		s := council("0* 1 2! | 3")
		s.LastAnswer = s.Now.Add(-heard)
		s.Quorum.Voters[2].SinceFetch = fetched
		return s
	}
	require.Equal(t, 6*time.Second, age(silent(6*time.Second, 10*time.Second)), "it begins with the last fetch")
	require.Equal(t, 10*time.Second, age(silent(time.Minute, 10*time.Second)), "but not before the operator last looked")
	require.Equal(t, time.Duration(0), age(silent(-1, 10*time.Second)), "no fetch in this epoch: who knows")
	require.Equal(t, time.Duration(0), age(council("0* 1 2~ | 3")), "since when it lags nobody says")
	require.Equal(t, time.Duration(0), age(silent(time.Minute, Unwatched+time.Second)), "nobody watched")
	require.Equal(t, time.Minute, age(base("0* 1 2! | 3")), "it runs")
	require.Equal(t, time.Minute, age(base("0* 1 2~ | 3")), "one that lags is no use either")
	require.Equal(t, time.Duration(-1), age(base("0* 1 2 | 3")), "it is back")
	require.Equal(t, time.Minute, age(base("0 1 2! | 3")), "no leader: as it was")
	s := base("0* 1 2! | 3")
	s.LastAnswer = s.Now.Add(-Unwatched - time.Second)
	require.Equal(t, time.Duration(0), age(s), "nobody watched: anew")
	s = base("0* 1 2! | 3")
	s.Paused = true
	require.Equal(t, time.Duration(-1), age(s))
	s = base("0* 1 2! | 3")
	s.Restarting = 2
	require.Equal(t, time.Duration(-1), age(s), "the operator restarts it")
	require.Equal(t, 6*time.Minute, age(council("0* 1 2 3 |").gone(6*time.Minute, 2)), "its place is taken")
	require.Equal(t, time.Duration(-1), age(council("0* 1 2 | 3").gone(6*time.Minute, 2)), "its place isn't taken: it goes on voting")
	require.Empty(t, Clock(council("0* 1 | 2").gone(time.Minute, 2), goal), "it doesn't vote any more")
}

// TestOnlyAChangeUnderWayHoldsARollUp: a quorum without a leader may need one to be mended.
func TestOnlyAChangeUnderWayHoldsARollUp(t *testing.T) {
	goal := VoterGoal{Controllers: 5, Voters: 5, ReplaceAfter: time.Minute}
	s := council("0* 1 2 | 3 4")
	s.Pending = &VoterChange{Voter: Voter{3, "d3"}, Since: s.Now}
	require.True(t, Voters(s, goal).Busy)
	s.Quorum.Leader = -1
	require.False(t, Voters(s, goal).Busy)
	require.False(t, Voters(council("0* 1 2 | 3~ 4~"), goal).Busy, "it waits for others")
}

func TestAChangeStaysOpenUntilItIsSeenOrCantCome(t *testing.T) {
	s := council("0* 1 2 | 3")
	require.Nil(t, s.Open())
	s.Pending = &VoterChange{Voter: Voter{3, "d3"}, Since: s.Now.Add(-time.Second)}
	require.NotNil(t, s.Open())
	s.Pending.Since = s.Now.Add(-time.Minute)
	require.Nil(t, s.Open(), "can't come any more")
	s.Quorum.Leader = -1
	require.NotNil(t, s.Open(), "who knows")
	s = council("0* 1 2 3 |")
	s.Pending = &VoterChange{Voter: Voter{3, "d3"}, Since: s.Now}
	require.Nil(t, s.Open(), "made")
	s.Quorum.Settled = false
	require.NotNil(t, s.Open(), "not committed")
}

// TestAVoterThatStopsIsNotCounted: it fetched a moment ago, and is known to be on its way out.
func TestAVoterThatStopsIsNotCounted(t *testing.T) {
	goal := VoterGoal{Voters: 1, Controllers: 3, ReplaceAfter: time.Minute}
	s := council("0* 1 2")
	require.Equal(t, VotersRemove, Voters(s, goal).Do)
	for _, pod := range []*Pod{nil, {Terminating: true}} {
		s.Nodes[1].Pod = pod
		step := Voters(s, goal)
		if step.Do == VotersRemove { // the one that is down
			require.EqualValues(t, 1, step.Voter.ID)
			continue
		}
		require.Equal(t, VotersWait, step.Do)
		require.Contains(t, step.Why, "a majority to keep up")
	}
}

// TestANodeThatARollTookDownAndThatDiesIsGone: its machine went with it; no clock stands still for that.
func TestANodeThatARollTookDownAndThatDiesIsGone(t *testing.T) {
	s := council("0* 1! 2")
	s.Restarting = 1
	goal := VoterGoal{Voters: 3, Controllers: 3, ReplaceAfter: time.Minute}
	n := &s.Nodes[1]
	for _, tc := range []struct {
		over time.Duration
		gone bool
	}{{0, false}, {time.Minute, false}, {61 * time.Second, true}} {
		n.Pod = &Pod{Terminating: true, StopBy: s.Now.Add(-tc.over)}
		require.Equal(t, tc.gone, len(Clock(s, goal)) == 1, tc.over)
		n.Has, n.Want = "b", "b"
		step := Roll(s)
		require.Equal(t, RollWait, step.Do)
		require.Equal(t, tc.gone, step.Stopped, tc.over)
		n.Has, n.Want = "", ""
	}
}

// TestANodeThatARollTookDownAndThatFindsNoPlaceIsGone: the machine that has its volume went while it was down.
func TestANodeThatARollTookDownAndThatFindsNoPlaceIsGone(t *testing.T) {
	s := council("0* 1! 2")
	s.Restarting = 1
	goal := VoterGoal{Voters: 3, Controllers: 3, ReplaceAfter: time.Minute}
	for _, tc := range []struct {
		age    time.Duration
		broken string
		gone   bool
	}{
		{time.Minute, Unschedulable, false},
		{61 * time.Second, Unschedulable, true},
		{61 * time.Second, "ImagePullBackOff", false}, // the template's fault: the next would be no better
		{61 * time.Second, "", false},
	} {
		s.Nodes[1].Pod = &Pod{Created: s.Now.Add(-tc.age), Broken: tc.broken}
		require.Equal(t, tc.gone, len(Clock(s, goal)) == 1, "%+v", tc)
	}
}

// TestAVoterWithoutAPodSparesNobody: its last fetch was a moment ago, and a drain would come between.
func TestAVoterWithoutAPodSparesNobody(t *testing.T) {
	s := council("0* 1 2")
	require.Empty(t, s.CantSpare(s.Nodes[2]))
	for _, pod := range []*Pod{nil, {Ready: true, Terminating: true}} {
		s.Nodes[1].Pod = pod
		require.Contains(t, s.CantSpare(s.Nodes[2]), "without it 1 of 3 voters keep up")
	}
}
