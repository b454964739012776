package plan

import (
	"go/build"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestPlannersHaveNoIO(t *testing.T) {
	p, err := build.ImportDir(".", 0)
	require.NoError(t, err)
	for _, imp := range []string{"net", "os", "context", "math/rand", "math/rand/v2", "sigs.k8s.io/controller-runtime/pkg/client"} {
		require.NotContains(t, p.Imports, imp, "take it from the reconciler")
	}
}

func TestNewIDsAreNeverMadeBesideClaims(t *testing.T) {
	voters := []Voter{{0, "a"}, {1, "b"}, {2, "c"}}
	ours := Identity{ClusterID: "X", Voters: voters, Formed: true}
	claim := func(name, id string, formed bool, v []Voter) Claim {
		return Claim{Name: name, Identity: Identity{ClusterID: id, Voters: v, Formed: formed}}
	}
	going := func(c Claim) Claim { c.Going = true; return c }
	moved := func(c Claim) Claim { c.Elsewhere = "old/demo"; return c }
	for _, tc := range []struct {
		name     string
		recorded Identity
		claims   []Claim
		adopt    string
		want     FormationAction
		why      string
		formed   bool
	}{
		{name: "nothing stands here", want: FormationNew},
		{name: "recorded, no claim yet", recorded: ours, want: FormationSettled},
		{name: "recorded, claims agree", recorded: ours, claims: []Claim{claim("c0", "X", true, voters)}, want: FormationSettled},
		{name: "recorded, a foreign claim", recorded: ours, claims: []Claim{claim("c0", "Y", true, voters)}, want: FormationRefuse, why: "claims of cluster Y: c0"},
		{name: "claims of one cluster that formed", claims: []Claim{claim("c0", "X", false, voters), claim("c1", "X", true, voters)}, want: FormationAdopt, formed: true},
		{name: "claims of one cluster that was forming", claims: []Claim{claim("c0", "X", false, voters)}, want: FormationAdopt},
		{name: "claims of two clusters", claims: []Claim{claim("c0", "X", true, voters), claim("c1", "Y", true, voters)}, want: FormationRefuse, why: "claims of 2 clusters: X (c0); Y (c1)"},
		{name: "a claim that doesn't say", claims: []Claim{claim("c0", "", false, nil)}, want: FormationRefuse, why: "without a cluster id: c0"},
		{name: "claims that name no voters", claims: []Claim{claim("c0", "X", true, nil)}, want: FormationRefuse, why: "names its initial voters"},
		{name: "claims that disagree on the voters", claims: []Claim{claim("c0", "X", true, voters), claim("c1", "X", true, voters[:1])}, want: FormationRefuse, why: "c1 names other initial voters"},
		{name: "adopt another than stands here", claims: []Claim{claim("c0", "X", true, voters)}, adopt: "Z", want: FormationRefuse, why: "spec.adopt.clusterID is Z"},
		{name: "adopt what isn't here", adopt: "Z", want: FormationRefuse, why: "no claim of cluster Z"},
		{name: "claims moved from elsewhere", claims: []Claim{moved(claim("c0", "X", true, voters)), claim("c1", "X", true, voters)}, want: FormationRefuse, why: "moved here from KRaftCluster old/demo (c0): if that is gone, or never runs again, set spec.adopt.clusterID to X"},
		{name: "adopt claims moved from elsewhere", claims: []Claim{moved(claim("c0", "X", true, voters)), claim("c1", "X", true, voters)}, adopt: "X", want: FormationAdopt, formed: true},
		{name: "adopt others than were moved here", claims: []Claim{moved(claim("c0", "X", true, voters))}, adopt: "Z", want: FormationRefuse, why: "the claims are of cluster X, spec.adopt.clusterID is Z"},
		{name: "recorded, and taken over before", recorded: ours, claims: []Claim{moved(claim("c0", "X", true, voters))}, want: FormationSettled},
		{name: "claims that go", claims: []Claim{going(claim("c0", "X", true, voters)), going(claim("c1", "X", true, voters))}, want: FormationWait, why: "waits for 2 claims of the deleted cluster to go, the first c0"},
		{name: "a claim that goes, and one that stays", claims: []Claim{going(claim("c0", "X", true, voters)), claim("c1", "X", true, voters)}, want: FormationAdopt, formed: true},
		{name: "recorded, and a claim goes", recorded: ours, claims: []Claim{going(claim("c0", "X", true, voters))}, want: FormationSettled},
		{name: "adopt what stands here", claims: []Claim{claim("c0", "X", true, voters)}, adopt: "X", want: FormationAdopt, formed: true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := Form(tc.recorded, tc.claims, tc.adopt)
			require.Equal(t, tc.want, got.Do, got.Why)
			require.Contains(t, got.Why, tc.why)
			require.Equal(t, tc.formed, got.Identity.Formed)
			if tc.want == FormationAdopt {
				require.Equal(t, voters, got.Identity.Voters)
			}
		})
	}
}

// TestAClusterKeepsItsRolesOverItsClaims: data under nodes of other roles would be nobody's.
func TestAClusterKeepsItsRolesOverItsClaims(t *testing.T) {
	controller, broker, combined := Roles{Controller: true}, Roles{Broker: true}, Roles{Controller: true, Broker: true}
	for _, tc := range []struct {
		name     string
		claims   []Claim
		combined bool
		why      string
	}{
		{name: "controllers and brokers, as before", claims: []Claim{{Name: "c0", Roles: controller}, {Name: "b0", Roles: broker}}},
		{name: "combined, as before", claims: []Claim{{Name: "c0", Roles: combined}}, combined: true},
		{name: "combined in the place of brokers", claims: []Claim{{Name: "c0", Roles: controller}, {Name: "b0", Roles: broker}}, combined: true, why: "claim b0 is of a broker of its own"},
		{name: "controllers in the place of combined", claims: []Claim{{Name: "c0", Roles: combined}}, why: "claim c0 is of a combined node"},
		{name: "a broker that has left", claims: []Claim{{Name: "c0", Roles: controller}, {Name: "b0", Roles: broker, Left: true}}, combined: true},
		{name: "claims that don't say", claims: []Claim{{Name: "c0"}}, combined: true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := OtherRoles(tc.claims, tc.combined)
			require.Contains(t, got, tc.why)
			require.Equal(t, tc.why == "", got == "")
		})
	}
}

func TestFormedMeansThatTheInitialVotersCommitted(t *testing.T) {
	initial := []Voter{{0, "a"}, {1, "b"}, {2, "c"}}
	q := func(leader, epoch int32, hw int64, voters ...int32) *Quorum {
		out := &Quorum{Leader: leader, Epoch: epoch, HighWatermark: hw}
		for _, id := range voters {
			out.Voters = append(out.Voters, Replica{ID: id})
		}
		return out
	}
	require.True(t, HasFormed(q(1, 1, 1, 0, 1, 2), initial))
	require.False(t, HasFormed(nil, initial), "nobody answers")
	require.False(t, HasFormed(q(-1, 1, 1, 0, 1, 2), initial), "no leader")
	require.False(t, HasFormed(q(1, 1, 0, 0, 1, 2), initial), "nothing is committed")
	require.False(t, HasFormed(q(1, 1, 1, 1), initial), "another voter set")
}

func TestAnIDWithAClaimIsNeverGivenToAnother(t *testing.T) {
	for _, tc := range []struct {
		name string
		m    Members
		want []int32
		err  bool
	}{
		{name: "a new pool", m: Members{First: 1000, Want: 3}, want: []int32{1000, 1001, 1002}},
		{name: "one more", m: Members{First: 1000, IDs: []int32{1000, 1001}, Kept: []int32{1000, 1001}, Want: 3}, want: []int32{1000, 1001, 1002}},
		{name: "an id whose node left", m: Members{First: 1000, IDs: []int32{1000, 1002}, Kept: []int32{1000, 1001, 1002}, Want: 3}, want: []int32{1000, 1002, 1003}},
		{name: "a gap without a claim", m: Members{First: 0, IDs: []int32{0, 2}, Want: 3}, want: []int32{0, 1, 2}},
		{name: "fewer is not its business", m: Members{First: 0, IDs: []int32{0, 1, 2}, Want: 1}, want: []int32{0, 1, 2}},
		{name: "no id left", m: Members{First: 0, Want: 1001}, err: true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := tc.m.Grow()
			require.Equal(t, tc.err, err != nil)
			if !tc.err {
				require.Equal(t, tc.want, got)
			}
		})
	}
}

func TestAVoterKeepsUpWithinBounds(t *testing.T) {
	q := &Quorum{Leader: 0, Voters: []Replica{{ID: 0, LogEndOffset: 5000}}}
	require.True(t, q.KeepsUp(Replica{ID: 0, SinceFetch: time.Hour}), "the leader itself")
	require.True(t, q.KeepsUp(Replica{ID: 1, LogEndOffset: 4000, SinceFetch: time.Second}))
	require.False(t, q.KeepsUp(Replica{ID: 1, LogEndOffset: 3999, SinceFetch: time.Second}), "too far behind")
	require.False(t, q.KeepsUp(Replica{ID: 1, LogEndOffset: 5000, SinceFetch: 5 * time.Second}), "silent")
	require.False(t, q.KeepsUp(Replica{ID: 1, LogEndOffset: 5000, SinceFetch: -1}), "never fetched in this epoch")
	require.Equal(t, int64(1001), q.Lag(Replica{ID: 1, LogEndOffset: 3999}))
	require.Equal(t, int64(-1), q.Lag(Replica{ID: 1, LogEndOffset: -1}))
}

func TestDiffNamesWhatChanged(t *testing.T) {
	a := map[string]any{"spec": map[string]any{"containers": []any{map[string]any{"name": "kraftd", "image": "a", "args": []any{"x"}}}, "gone": true}}
	b := map[string]any{"spec": map[string]any{"containers": []any{map[string]any{"name": "kraftd", "image": "b", "args": []any{"y"}}}, "come": 1}}
	require.Equal(t, []string{"spec.come", "spec.containers[kraftd].args[0]", "spec.containers[kraftd].image", "spec.gone"}, Diff(a, b))
	require.Empty(t, Diff(a, a))
	require.Equal(t, []string{"env[A]", "labels.a"}, Diff(map[string]any{},
		map[string]any{"labels": map[string]any{"a": "1"}, "env": []any{map[string]any{"name": "A", "value": "b"}}}), "what isn't there is empty")
	require.Equal(t, []string{"x"}, Diff(map[string]any{"x": map[string]any{}}, map[string]any{}))
}

func TestWhatABrokerHoldsIsNamed(t *testing.T) {
	p := &Partitions{Sets: []ReplicaSet{
		{Replicas: []int32{1, 2}, Count: 7, Examples: []string{"b-0", "b-1", "b-2", "b-3", "b-4"}},
		{Replicas: []int32{1}, Count: 1, Examples: []string{"a-0"}},
	}}
	require.Equal(t, "8 replicas (a-0, b-0, b-1, b-2, b-3 and 3 more)", p.Holds(1))
	require.Equal(t, "7 replicas (b-0, b-1, b-2, b-3, b-4 and 2 more)", p.Holds(2))
	require.Empty(t, p.Holds(3))
	p.Sets = p.Sets[1:]
	require.Equal(t, "1 replica (a-0)", p.Holds(1))
}

// TestARollStopsWhereNoPodIsMade: no pod's status says so (a quota, an admission, a class of priority that isn't), only time does.
func TestARollStopsWhereNoPodIsMade(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	node := Node{ID: 1000, Name: "demo-broker-1000", Broker: true, Has: "b", Want: "b"}
	for _, tc := range []struct {
		podless time.Time
		stopped bool
	}{{time.Time{}, false}, {now.Add(-time.Minute), false}, {now.Add(-61 * time.Second), true}} {
		node.Podless = tc.podless
		other := Node{ID: 1001, Name: "demo-broker-1001", Broker: true, Has: "a", Want: "b"}
		step := Roll(Snapshot{Now: now, Formed: true, Restarting: -1, Nodes: []Node{node, other}})
		require.Equal(t, RollWait, step.Do)
		require.Equal(t, int32(1000), step.Node.ID)
		require.Equal(t, tc.stopped, step.Stopped, tc.podless)
	}
	require.Contains(t, Roll(Snapshot{Now: now, Formed: true, Restarting: -1, Nodes: []Node{node, {ID: 1001, Has: "a", Want: "b"}}}).Why, "has made no pod")
}

// TestWhoIsBlindTakesNobodyDown: probes and questions of a busy machine run into their limits together. Only where nobody is Ready for long, and nobody
// answers, there is nothing to lose.
func TestWhoIsBlindTakesNobodyDown(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	for _, tc := range []struct {
		name    string
		unready time.Duration
		quorum  *Quorum
		ready   bool // the other controller
		do      RollAction
	}{
		{"for a moment", 10 * time.Second, nil, false, RollWait},
		{"for a while", 2 * time.Minute, nil, false, RollWait},
		{"for long", 121 * time.Second, nil, false, RollDelete},
		{"for long, and another is Ready", 121 * time.Second, nil, true, RollWait},
		{"no leader, for a moment", 10 * time.Second, &Quorum{Leader: -1}, false, RollWait},
		{"no leader, for a while", 21 * time.Second, &Quorum{Leader: -1}, false, RollDelete},
	} {
		t.Run(tc.name, func(t *testing.T) {
			pod := Pod{Hash: "a", Created: now.Add(-100 * time.Hour), ReadySince: now.Add(-tc.unready)}
			other := pod
			other.Ready = tc.ready
			s := Snapshot{Now: now, Formed: true, Restarting: -1, Quorum: tc.quorum, Nodes: []Node{
				{ID: 0, Name: "c0", Controller: true, Has: "a", Want: "b", Pod: &pod}, {ID: 1, Name: "c1", Controller: true, Has: "a", Want: "b", Pod: &other},
			}}
			require.Equal(t, tc.do, Roll(s).Do, Roll(s).Why)
		})
	}
}

// TestARollDoesntWaitForANodeThatCantBeMade, whether or not it is known what it would be made from.
func TestARollDoesntWaitForANodeThatCantBeMade(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	stale := Node{ID: 1000, Name: "demo-broker-1000", Broker: true, Has: "a", Want: "b", Pod: &Pod{Hash: "a", Ready: true}}
	for _, want := range []string{"", "b"} {
		refused := Node{ID: 1001, Name: "demo-broker-1001", Broker: true, Want: want, Stopped: true, Refused: true}
		s := Snapshot{Now: now, Formed: true, Restarting: -1, Quorum: &Quorum{}, Partitions: &Partitions{}, Nodes: []Node{stale, refused}}
		step := Roll(s)
		require.Equal(t, RollEvict, step.Do)
		require.Equal(t, int32(1000), step.Node.ID)
		s.Nodes = s.Nodes[1:]
		require.Equal(t, RollDone, Roll(s).Do)
	}
}

// TestARollEndsWithItsLastNode: until that is back it is under way, and no clock runs for it; one that came back and fell again is lost.
func TestARollEndsWithItsLastNode(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	up := Node{ID: 1001, Name: "demo-broker-1001", Broker: true, Has: "b", Want: "b", Pod: &Pod{UID: "u1", Hash: "b", Ready: true}}
	started := Pod{UID: "new", Hash: "b", Created: now.Add(-5 * time.Second)}
	gone := Pod{UID: "new", Hash: "b", Terminating: true, StopBy: now.Add(-2 * time.Minute)}
	for _, tc := range []struct {
		name string
		last *Pod
		set  func(*Snapshot)
		do   RollAction
		lost bool
	}{
		{"its pod is gone", nil, func(s *Snapshot) { s.Restarting = 1000 }, RollWait, false},
		{"it starts", &started, func(s *Snapshot) { s.Restarting = 1000 }, RollWait, false},
		{"it starts, one of a batch", &started, func(s *Snapshot) { s.Batch = []BatchPod{{Node: 1000, UID: "old", Hash: "b"}} }, RollWait, false},
		{"of a batch, it was back", &started, func(s *Snapshot) { s.Batch = []BatchPod{{Node: 1000, UID: "old", Hash: "b", Back: true}} }, RollDone, true},
		{"its machine is gone", &gone, func(s *Snapshot) { s.Restarting = 1000 }, RollDone, true},
		{"nobody took it down", &started, func(*Snapshot) {}, RollDone, true},
		{"it is back", up.Pod, func(s *Snapshot) { s.Restarting = 1000 }, RollDone, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			last := Node{ID: 1000, Name: "demo-broker-1000", Broker: true, Has: "b", Want: "b", Pod: tc.last}
			s := Snapshot{Now: now, LastAnswer: now, Formed: true, Restarting: -1, Quorum: &Quorum{}, Partitions: &Partitions{}, Nodes: []Node{last, up}}
			tc.set(&s)
			require.Equal(t, tc.do, Roll(s).Do, Roll(s).Why)
			require.Equal(t, tc.lost, len(ClockBrokers(s, BrokerGoal{Brokers: 2, ReplaceAfter: 10 * time.Second})) == 1)
		})
	}
}

// TestATemplateIsSeenToRunBeforeOthersGetIt: without a leader nobody can be Ready, so the first of them shows no more than that it stays up.
func TestATemplateIsSeenToRunBeforeOthersGetIt(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	for _, tc := range []struct {
		name  string
		first *Pod // of the new template
		other Pod
		do    RollAction
	}{
		{"it is gone", nil, Pod{}, RollWait},
		{"it terminates", &Pod{Hash: "b", Terminating: true}, Pod{}, RollWait},
		{"it starts", &Pod{Hash: "b", Created: now.Add(-19 * time.Second)}, Pod{}, RollWait},
		{"it runs", &Pod{Hash: "b", Created: now.Add(-20 * time.Second)}, Pod{}, RollDelete},
		{"it starts, and others don't run at all", &Pod{Hash: "b", Created: now}, Pod{Broken: "CrashLoopBackOff"}, RollDelete},
		{"it is broken", &Pod{Hash: "b", Created: now.Add(-time.Minute), Broken: "ImagePullBackOff"}, Pod{Broken: "CrashLoopBackOff"}, RollWait},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tc.other.Hash, tc.other.Created = "a", now.Add(-time.Hour)
			s := Snapshot{Now: now, Formed: true, Restarting: -1, Quorum: &Quorum{Leader: -1}, Nodes: []Node{
				{ID: 0, Name: "c0", Controller: true, Has: "b", Want: "b", Pod: tc.first}, {ID: 1, Name: "c1", Controller: true, Has: "a", Want: "b", Pod: &tc.other},
			}}
			require.Equal(t, tc.do, Roll(s).Do, Roll(s).Why)
		})
	}
}

// TestABrokerThatNeverStopsHoldsNobodyUp: its machine is gone, and a roll may be what the rest needs.
func TestABrokerThatNeverStopsHoldsNobodyUp(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	stays := Node{ID: 1000, Name: "demo-broker-1000", Broker: true, Has: "a", Want: "b", Pod: &Pod{Hash: "a", Ready: true}}
	for _, tc := range []struct {
		over time.Duration
		busy bool
	}{{0, true}, {time.Minute, true}, {61 * time.Second, false}} {
		leaves := Node{ID: 1001, Name: "demo-broker-1001", Broker: true, Leaving: true, Stopped: true, Pod: &Pod{Terminating: true, StopBy: now.Add(-tc.over)}}
		s := Snapshot{Now: now, Formed: true, Restarting: -1, Quorum: &Quorum{}, Partitions: &Partitions{}, Nodes: []Node{stays, leaves}}
		step := Shrink(s, BrokerGoal{Brokers: 1})
		require.Equal(t, BrokersWait, step.Do)
		require.Equal(t, tc.busy, step.Busy, tc.over)
		require.Equal(t, RollEvict, Roll(s).Do)
	}
}
