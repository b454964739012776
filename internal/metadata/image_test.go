package metadata

import (
	"fmt"
	"iter"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kraft-dev/kraft-operator/internal/uuid"
)

func id(n int) uuid.UUID { return uuid.UUID{0: byte(n >> 8), 1: byte(n), 6: 0x40, 8: 0x80, 15: 200} }

func ptr[T any](v T) *T { return &v }

func apply(t testing.TB, img *Image, recs ...Record) *Image {
	t.Helper()
	next, err := img.Apply(recs, img.Offset+int64(len(recs)), 1)
	require.NoError(t, err)
	return next
}

func partition(topic, i int, replicas ...int32) *PartitionRecord {
	dirs := make([]uuid.UUID, len(replicas))
	return &PartitionRecord{PartitionID: int32(i), TopicID: id(topic), Replicas: replicas, ISR: replicas,
		Leader: replicas[0], Directories: dirs}
}

func change(topic, i int, edit func(*PartitionChangeRecord)) *PartitionChangeRecord {
	rec := NewPartitionChangeRecord()
	rec.TopicID, rec.PartitionID = id(topic), int32(i)
	edit(rec)
	return rec
}

// requireConsistent compares the indexes with a scan.
func requireConsistent(t testing.TB, img *Image) {
	t.Helper()
	roles, counts, n := map[roleKey]Role{}, map[int32]Counts{}, 0
	for _, topic := range img.Topics() {
		byID, ok := img.TopicByID(topic.ID)
		require.True(t, ok)
		require.Same(t, topic, byID)
		for i, p := range topic.Partitions() {
			n++
			for _, b := range append([]int32{p.Leader}, slices.Concat(p.Replicas, p.ISR, p.ELR)...) {
				roles[roleKey{b, topic.ID, i}] = roleOf(p, b)
			}
		}
	}
	for k, r := range roles {
		c := counts[k.broker]
		c.add(r, 1)
		counts[k.broker] = c
	}
	require.Equal(t, roles, maps.Collect(img.roles.all()))
	require.Equal(t, counts, maps.Collect(img.counts.all()))
	require.Equal(t, n, img.PartitionCount())
	require.Equal(t, img.topics.len(), img.topicIDs.len())
}

func TestPartitionChangeEpochs(t *testing.T) {
	base := apply(t, Empty(), &TopicRecord{Name: "t", TopicID: id(1)}, partition(1, 0, 1, 2, 3))
	for _, tc := range []struct {
		name                        string
		edit                        func(*PartitionChangeRecord)
		leader, leaderEpoch, pEpoch int32
		isr                         []int32
	}{
		{"an ISR change alone keeps the leader epoch", func(r *PartitionChangeRecord) { r.ISR = []int32{1, 2} }, 1, 0, 1, []int32{1, 2}},
		{"another leader bumps it", func(r *PartitionChangeRecord) { r.Leader = 2 }, 2, 1, 1, []int32{1, 2, 3}},
		{"the same leader bumps it too", func(r *PartitionChangeRecord) { r.Leader = 1 }, 1, 1, 1, []int32{1, 2, 3}},
		{"no leader bumps it", func(r *PartitionChangeRecord) { r.Leader = NoLeader }, NoLeader, 1, 1, []int32{1, 2, 3}},
		{"an empty ISR is not an absent one", func(r *PartitionChangeRecord) {
			r.ISR = []int32{}
			r.Leader = -1
			r.EligibleLeaderReplicas = []int32{1}
		}, -1, 1, 1, []int32{}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			img := apply(t, base, change(1, 0, tc.edit))
			p, ok := img.Partition(id(1), 0)
			require.True(t, ok)
			require.Equal(t, []int32{tc.leader, tc.leaderEpoch, tc.pEpoch}, []int32{p.Leader, p.LeaderEpoch, p.PartitionEpoch})
			require.Equal(t, tc.isr, p.ISR)
			requireConsistent(t, img)
			old, _ := base.Partition(id(1), 0)
			require.Zero(t, old.PartitionEpoch)
			require.Equal(t, []int32{1, 2, 3}, old.ISR)
		})
	}
}

func TestReassignmentWithoutDirectoriesKeepsThoseThatStay(t *testing.T) {
	p := partition(1, 0, 1, 2)
	p.Directories = []uuid.UUID{id(11), id(12)}
	img := apply(t, Empty(), &TopicRecord{Name: "t", TopicID: id(1)}, p)
	img = apply(t, img, change(1, 0, func(r *PartitionChangeRecord) { r.Replicas = []int32{2, 3} }))
	got, _ := img.Partition(id(1), 0)
	require.Equal(t, []uuid.UUID{id(12), DirMigrating}, got.Directories)
	require.Equal(t, id(12), got.Directory(2))
}

func TestApplyRefusesWhatDoesNotFit(t *testing.T) {
	base := apply(t, Empty(), &TopicRecord{Name: "t", TopicID: id(1)}, partition(1, 0, 1),
		&RegisterBrokerRecord{BrokerID: 1, BrokerEpoch: 7}, &ProducerIdsRecord{NextProducerID: 1000},
		&AccessControlEntryRecord{ID: id(5)})
	for name, rec := range map[string]Record{
		"a topic name taken":              &TopicRecord{Name: "t", TopicID: id(2)},
		"a topic id taken":                &TopicRecord{Name: "u", TopicID: id(1)},
		"a partition of no topic":         partition(9, 0, 1),
		"a negative partition":            partition(1, -1, 1),
		"a change of no topic":            change(9, 0, func(*PartitionChangeRecord) {}),
		"a change of no partition":        change(1, 1, func(*PartitionChangeRecord) {}),
		"directories unlike replicas":     change(1, 0, func(r *PartitionChangeRecord) { r.Directories = []uuid.UUID{} }),
		"removal of no topic":             &RemoveTopicRecord{TopicID: id(9)},
		"an unknown broker":               &FenceBrokerRecord{ID: 2},
		"another broker epoch":            &UnfenceBrokerRecord{ID: 1, Epoch: 6},
		"unregistering another epoch":     &UnregisterBrokerRecord{BrokerID: 1, BrokerEpoch: 8},
		"a fenced change beyond 1":        &BrokerRegistrationChangeRecord{BrokerID: 1, BrokerEpoch: 7, Fenced: 2},
		"a metadata.version not known":    &FeatureLevelRecord{Name: FeatureMetadataVersion, FeatureLevel: 31},
		"producer ids that go back":       &ProducerIdsRecord{NextProducerID: 999},
		"an ACL id taken":                 &AccessControlEntryRecord{ID: id(5)},
		"removal of no ACL":               &RemoveAccessControlEntryRecord{ID: id(6)},
		"removal of no credential":        &RemoveUserScramCredentialRecord{Name: "u"},
		"clearing the ELR of no topic":    &ClearElrRecord{TopicName: "nope"},
		"a transaction mark":              &BeginTransactionRecord{},
		"a recovery state that isn't one": change(1, 0, func(r *PartitionChangeRecord) { r.LeaderRecoveryState = 2 }),
	} {
		t.Run(name, func(t *testing.T) {
			before := snapshot(base)
			_, err := base.Apply([]Record{&NoOpRecord{}, &TopicRecord{Name: "new", TopicID: id(3)}, rec}, 100, 1)
			require.ErrorIs(t, err, ErrInconsistent)
			require.Equal(t, before, snapshot(base))
		})
	}
}

func TestRemovedTopicTakesItsSettingsAlong(t *testing.T) {
	img := apply(t, Empty(), &TopicRecord{Name: "t", TopicID: id(1)}, partition(1, 0, 1, 2), partition(1, 1, 2, 1),
		&ConfigRecord{ResourceType: ResourceTopic, ResourceName: "t", Name: "retention.ms", Value: ptr("1")})
	require.Equal(t, Counts{Replicas: 2, ISR: 2, Leaders: 1}, img.BrokerCounts(1))
	next, delta, err := img.ApplyDelta([]Record{&RemoveTopicRecord{TopicID: id(1)}}, 9, 2)
	require.NoError(t, err)
	requireConsistent(t, next)
	require.Nil(t, next.Config(ResourceTopic, "t"))
	require.Zero(t, next.BrokerCounts(1))
	require.True(t, delta.Topics[id(1)].Deleted)
	require.Equal(t, map[int32]bool{0: true, 1: true}, delta.Topics[id(1)].Partitions)
	again := apply(t, next, &TopicRecord{Name: "t", TopicID: id(2)})
	topic, ok := again.TopicByName("t")
	require.True(t, ok)
	require.Equal(t, id(2), topic.ID)

	set := func(name string) Record {
		return &ConfigRecord{ResourceType: ResourceTopic, ResourceName: "t", Name: name, Value: ptr("2")}
	}
	again = apply(t, img, set("segment.ms"), &RemoveTopicRecord{TopicID: id(1)}, &TopicRecord{Name: "t", TopicID: id(2)}, set("flush.ms"))
	require.Equal(t, map[string]string{"flush.ms": "2"}, again.Config(ResourceTopic, "t"), "all in one step")
	require.Equal(t, map[string]string{"retention.ms": "1"}, img.Config(ResourceTopic, "t"))
}

func TestClearELR(t *testing.T) {
	p := partition(1, 0, 1, 2)
	p.EligibleLeaderReplicas, p.LastKnownELR = []int32{2}, []int32{1}
	img := apply(t, Empty(), &TopicRecord{Name: "t", TopicID: id(1)}, p, partition(1, 1, 1, 2))
	require.Equal(t, 1, img.BrokerCounts(2).ELR)
	for _, name := range []string{"", "t"} {
		next := apply(t, img, &ClearElrRecord{TopicName: name})
		got, _ := next.Partition(id(1), 0)
		require.Empty(t, got.ELR)
		require.Empty(t, got.LastKnownELR)
		require.EqualValues(t, 1, got.PartitionEpoch)
		untouched, _ := next.Partition(id(1), 1)
		require.Zero(t, untouched.PartitionEpoch)
		require.Zero(t, next.BrokerCounts(2).ELR)
	}
}

func TestPartitionsOfABroker(t *testing.T) {
	img := apply(t, Empty(), &TopicRecord{Name: "a", TopicID: id(1)}, &TopicRecord{Name: "b", TopicID: id(2)},
		partition(1, 0, 1, 2), partition(1, 1, 2, 3), partition(2, 0, 3, 1))
	img = apply(t, img, change(2, 0, func(r *PartitionChangeRecord) { r.ISR = []int32{1}; r.Leader = NoLeader }))
	refs := func(it iter.Seq2[PartitionRef, *Partition]) (out []string) {
		for ref := range it {
			out = append(out, fmt.Sprintf("%d-%d", ref.TopicID[1], ref.Partition))
		}
		return out
	}
	require.Equal(t, []string{"1-0", "2-0"}, refs(img.PartitionsOf(1, RoleReplica)))
	require.Equal(t, []string{"1-1"}, refs(img.PartitionsOf(3, RoleISR)))
	require.Equal(t, []string{"1-1"}, refs(img.PartitionsOf(2, RoleLeader)))
	require.Equal(t, []string{"2-0"}, refs(img.LeaderlessPartitions()))
	require.Equal(t, 1, img.LeaderlessCount())
	requireConsistent(t, img)
}

// snapshot is an image as values, by way of the records' own encoding.
func snapshot(img *Image) []string {
	var out []string
	for rec := range img.Records() {
		out = append(out, string(Encode(rec, img.recordVersion(rec))))
	}
	return out
}

func (img *Image) recordVersion(rec Record) int16 {
	return max(img.MetadataVersion(), MVLowest).RecordVersion(rec)
}

// TestRandomHistories applies random valid records and holds for each step: the older images keep their
// values; the delta of the step is what a full comparison finds; the indexes agree with a scan; and the
// image's records, encoded and decoded, build an equal image.
func TestRandomHistories(t *testing.T) {
	for seed := range uint64(30) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			g := &generator{Rand: rand.New(rand.NewPCG(seed, 7))}
			img := Empty()
			mv := []MetadataVersion{MVLatest, MV4_0_IV1, MV3_7_IV2, MVLowest}[seed%4]
			img = apply(t, img, &FeatureLevelRecord{Name: FeatureMetadataVersion, FeatureLevel: int16(mv)})
			var olds []*Image
			var texts [][]string
			for step := range 120 {
				var recs []Record
				shadow := img
				for range 1 + g.IntN(4) {
					rec := g.record(shadow)
					shadow = apply(t, shadow, rec)
					recs = append(recs, roundTrip(t, rec, mv))
				}
				next, delta, err := img.ApplyDelta(recs, shadow.Offset, 1)
				require.NoError(t, err)
				require.Equal(t, snapshot(shadow), snapshot(next), "one by one and together give the same")
				requireCovers(t, delta, Changes(img, next))
				if step%20 == 0 {
					olds, texts = append(olds, img), append(texts, snapshot(img))
				}
				img = next
			}
			requireConsistent(t, img)
			for i, old := range olds {
				require.Equal(t, texts[i], snapshot(old), "an older image changed")
				requireConsistent(t, old)
			}
			var recs []Record
			for rec := range img.Records() {
				recs = append(recs, roundTrip(t, rec, mv))
			}
			rebuilt, err := Empty().Apply(recs, img.Offset, img.Epoch)
			require.NoError(t, err)
			require.True(t, Changes(img, rebuilt).IsEmpty(), "%+v", Changes(img, rebuilt))
			require.Equal(t, snapshot(img), snapshot(rebuilt))
			requireConsistent(t, rebuilt)
		})
	}
}

// requireCovers: a delta may name what changed and changed back, never less than what differs.
func requireCovers(t *testing.T, got, want *Delta) {
	t.Helper()
	subset(t, got.Brokers, want.Brokers)
	subset(t, got.Controllers, want.Controllers)
	subset(t, got.Configs, want.Configs)
	subset(t, got.Features, want.Features)
	subset(t, got.Quotas, want.Quotas)
	subset(t, got.ACLs, want.ACLs)
	subset(t, got.Scram, want.Scram)
	subset(t, got.Tokens, want.Tokens)
	require.True(t, got.ProducerIDs || !want.ProducerIDs)
	for id, w := range want.Topics {
		g := got.Topics[id]
		require.NotNil(t, g)
		require.Equal(t, [2]bool{w.Created, w.Deleted}, [2]bool{g.Created, g.Deleted})
		subset(t, g.Partitions, w.Partitions)
	}
}

func subset[K comparable](t *testing.T, got, want map[K]bool) {
	t.Helper()
	for k := range want {
		require.True(t, got[k], "%v changed and is not named", k)
	}
}

func roundTrip(t *testing.T, rec Record, mv MetadataVersion) Record {
	out, _, err := Decode(Encode(rec, mv.RecordVersion(rec)))
	require.NoError(t, err)
	return out
}

// Readers of old and new images run while the next ones are made, and two goroutines may go on from one image.
func TestImagesAreSafeToShare(t *testing.T) {
	g := &generator{Rand: rand.New(rand.NewPCG(1, 2))}
	img := apply(t, Empty(), &FeatureLevelRecord{Name: FeatureMetadataVersion, FeatureLevel: int16(MVLatest)})
	for range 200 {
		img = apply(t, img, g.record(img))
	}
	want := snapshot(img)
	var wg sync.WaitGroup
	for w := range 2 {
		wg.Go(func() {
			g, mine := &generator{Rand: rand.New(rand.NewPCG(3, uint64(w)))}, img
			for range 200 {
				next, err := mine.Apply([]Record{g.record(mine)}, mine.Offset+1, 1)
				if err != nil {
					panic(err)
				}
				mine = next
			}
		})
		wg.Go(func() {
			for range 10 {
				if !slices.Equal(want, snapshot(img)) {
					panic("a reader saw a change")
				}
			}
		})
	}
	wg.Wait()
	require.Equal(t, want, snapshot(img))
}
