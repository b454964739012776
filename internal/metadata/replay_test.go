package metadata

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func topicRecord(n int, name string) Record { return &TopicRecord{TopicID: id(n), Name: name} }

func TestReplayerKeepsTransactionsOutOfSight(t *testing.T) {
	r := NewReplayer(Empty())
	names := func(img *Image) (out []string) {
		for n := range img.Topics() {
			out = append(out, n)
		}
		return out
	}
	require.NoError(t, r.Apply([]Record{topicRecord(1, "a"), &BeginTransactionRecord{}, topicRecord(2, "b")}, 2, 1))
	require.True(t, r.InTransaction())
	_, img, delta := r.Publish()
	require.Equal(t, []string{"a"}, names(img))
	require.EqualValues(t, 0, img.Offset, "the image ends before the transaction")
	require.Len(t, delta.Topics, 1)

	require.NoError(t, r.Apply([]Record{topicRecord(3, "c")}, 3, 1))
	prev, img, delta := r.Publish()
	require.Same(t, prev, img)
	require.True(t, delta.IsEmpty())

	require.NoError(t, r.Apply([]Record{topicRecord(4, "d"), &EndTransactionRecord{}, topicRecord(5, "e")}, 6, 1))
	require.False(t, r.InTransaction())
	prev, img, delta = r.Publish()
	require.Equal(t, []string{"a", "b", "c", "d", "e"}, names(img))
	require.EqualValues(t, 6, img.Offset)
	require.Len(t, delta.Topics, 4)
	subset(t, keys(delta), keys(Changes(prev, img)))

	require.NoError(t, r.Apply([]Record{&BeginTransactionRecord{}, topicRecord(6, "f")}, 8, 1))
	require.NoError(t, r.Apply([]Record{topicRecord(7, "g"), &AbortTransactionRecord{}, topicRecord(8, "h"), &BeginTransactionRecord{}, topicRecord(9, "i"), &EndTransactionRecord{}}, 14, 1))
	_, img, delta = r.Publish()
	require.Equal(t, []string{"a", "b", "c", "d", "e", "h", "i"}, names(img))
	require.Len(t, delta.Topics, 2)
	require.Equal(t, img.Offset, int64(14))
}

func keys(d *Delta) map[any]bool {
	out := map[any]bool{}
	for id := range d.Topics {
		out[id] = true
	}
	return out
}

func TestReplayerStandsStillAfterAnError(t *testing.T) {
	r := NewReplayer(Empty())
	require.NoError(t, r.Apply([]Record{&BeginTransactionRecord{}, topicRecord(1, "a")}, 1, 1))
	for name, recs := range map[string][]Record{
		"a transaction inside another":  {topicRecord(2, "b"), &BeginTransactionRecord{}},
		"a record that doesn't fit":     {topicRecord(2, "b"), &EndTransactionRecord{}, topicRecord(3, "b")},
		"an end without a begin":        {&EndTransactionRecord{}, &EndTransactionRecord{}},
		"an abort without a begin":      {&AbortTransactionRecord{}, &AbortTransactionRecord{}},
		"what the transaction has made": {topicRecord(2, "a")},
	} {
		t.Run(name, func(t *testing.T) { require.ErrorIs(t, r.Apply(recs, 5, 1), ErrInconsistent) })
	}
	require.True(t, r.InTransaction())
	require.NoError(t, r.Apply([]Record{&EndTransactionRecord{}}, 2, 1))
	_, img, delta := r.Publish()
	require.Equal(t, 1, img.TopicCount())
	require.Len(t, delta.Topics, 1)
}

func TestReplayerMovesOverControlBatches(t *testing.T) {
	r := NewReplayer(Empty())
	require.NoError(t, r.Apply(nil, 0, 3))
	_, img, delta := r.Publish()
	require.EqualValues(t, 0, img.Offset)
	require.EqualValues(t, 3, img.Epoch)
	require.True(t, delta.IsEmpty())
}

func TestReplayerLoadsASnapshot(t *testing.T) {
	old := apply(t, Empty(), topicRecord(1, "a"), topicRecord(2, "b"))
	r := NewReplayer(old)
	require.NoError(t, r.Apply([]Record{&BeginTransactionRecord{}, topicRecord(9, "x")}, 5, 1))
	img := apply(t, Empty(), topicRecord(2, "b"), topicRecord(3, "c"))
	r.Load(img)
	require.False(t, r.InTransaction())
	_, next, delta := r.Publish()
	require.Same(t, img, next)
	require.Len(t, delta.Topics, 2)
	require.True(t, delta.Topics[id(1)].Deleted)
	require.True(t, delta.Topics[id(3)].Created)
}
