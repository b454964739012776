package controller

import (
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kraft-dev/kraft-operator/internal/metadata"
	"github.com/kraft-dev/kraft-operator/internal/node/raft"
)

func TestActivationLaysDownTheBootstrapRecordsInOneTransaction(t *testing.T) {
	q := newQuorum(t, 1, 1, 2, 3)
	q.elect(1, 0)
	q.commit()
	c := q.nodes[1].core
	require.True(t, c.active())
	require.Zero(t, c.committed.stable().img.MetadataVersion(), "nothing of it is seen before it is committed")
	require.Equal(t, metadata.MVLatest, c.working.state.img.MetadataVersion())
	q.commit()
	img := c.committed.stable().img
	require.Equal(t, metadata.MVLatest, img.MetadataVersion())
	v, _ := img.ConfigValue(metadata.ResourceBroker, "", "min.insync.replicas")
	require.Equal(t, "2", v, "the cluster's min ISR, by which ELR counts")
	q.requireConverged()

	first := decode(t, q.batches[1].Records[0])
	require.Equal(t, "Bootstrap records", *first.(*metadata.BeginTransactionRecord).Name)
	records := q.batches[1].Records
	require.IsType(t, &metadata.EndTransactionRecord{}, decode(t, records[len(records)-1]))

	before := q.end()
	q.start(2)
	require.Equal(t, before+1, q.end(), "a later activation writes nothing but the log's own LeaderChange")
}

func decode(t *testing.T, value []byte) metadata.Record {
	rec, _, err := metadata.Decode(value)
	require.NoError(t, err)
	return rec
}

func TestHalfABootstrapTransactionIsAbortedAndDoneAgain(t *testing.T) {
	q := newQuorum(t, 1, 1, 2)
	begin := metadata.NewBeginTransactionRecord()
	q.elect(1, 0)
	q.append([][]byte{metadata.Encode(begin, 0), metadata.Encode(featureLevel(metadata.FeatureMetadataVersion, 30), 0)})
	q.commits = len(q.batches)
	q.nodes[2].deliver(10)
	c := q.nodes[2].core
	require.Zero(t, c.committed.stable().img.MetadataVersion())
	require.EqualValues(t, 0, c.lso, "the last stable offset stands before the open transaction")

	q.start(2)
	require.IsType(t, &metadata.AbortTransactionRecord{}, decode(t, q.batches[3].Records[0]))
	require.IsType(t, &metadata.BeginTransactionRecord{}, decode(t, q.batches[3].Records[1]))
	require.Equal(t, metadata.MVLatest, c.committed.stable().img.MetadataVersion())
	require.Equal(t, c.lastCommitted, c.lso)
	q.requireConverged()
}

func TestAnswersWaitForTheCommit(t *testing.T) {
	q := newQuorum(t, 1, 1, 2)
	c := q.start(1)
	q.join(c, 101)
	created := q.send(c, newTopic("a", 1, 1))
	require.Nil(t, created.resp)
	again := q.send(c, newTopic("a", 1, 1))
	require.Nil(t, again.resp, "a write that found uncommitted state and wrote nothing waits too")
	describe := kmsg.NewPtrDescribeConfigsRequest()
	describe.Resources = []kmsg.DescribeConfigsRequestResource{{ResourceType: kmsg.ConfigResourceTypeTopic, ResourceName: "a"}}
	seen := q.send(c, describe).resp.(*kmsg.DescribeConfigsResponse)
	require.Equal(t, kerr.UnknownTopicOrPartition.Code, seen.Resources[0].ErrorCode, "reads see what is committed")
	q.commit()
	require.Zero(t, created.resp.(*kmsg.CreateTopicsResponse).Topics[0].ErrorCode)
	require.Equal(t, kerr.TopicAlreadyExists.Code, again.resp.(*kmsg.CreateTopicsResponse).Topics[0].ErrorCode)
	require.Zero(t, q.send(c, describe).resp.(*kmsg.DescribeConfigsResponse).Resources[0].ErrorCode)
}

func TestLosingLeadershipGoesBackToWhatIsCommitted(t *testing.T) {
	for name, survives := range map[string]int{"the records are lost": 0, "the records survive": 1} {
		t.Run(name, func(t *testing.T) {
			q := newQuorum(t, 1, 1, 2)
			c := q.start(1)
			q.join(c, 101)
			p := q.send(c, newTopic("a", 1, 1))
			q.elect(2, survives)
			q.commit()
			require.Equal(t, kerr.NotController.Code, p.resp.(*kmsg.CreateTopicsResponse).Topics[0].ErrorCode, "nobody knows, so the caller asks the next")
			require.False(t, c.active())
			q.requireConverged()
			_, ok := c.committed.stable().img.TopicByName("a")
			require.Equal(t, survives == 1, ok)
			standby := do[*kmsg.CreateTopicsResponse](q, c, newTopic("b", 1, 1))
			require.Equal(t, kerr.NotController.Code, standby.Topics[0].ErrorCode)
		})
	}
}

func TestARefusedAppendCostsNothingOrLeadership(t *testing.T) {
	q := newQuorum(t, 1, 1, 2)
	c := q.start(1)
	q.join(c, 101)
	q.full = true
	resp := do[*kmsg.CreateTopicsResponse](q, c, newTopic("a", 1, 1))
	require.Equal(t, kerr.RequestTimedOut.Code, resp.Topics[0].ErrorCode)
	require.True(t, c.active(), "a log that is behind costs the caller an answer, not the node its leadership")
	q.full = false
	q.create(c, newTopic("a", 1, 1))

	q.leader.Epoch++ // the log knows of another epoch; this node doesn't yet
	p := q.send(c, newTopic("b", 1, 1))
	require.Equal(t, kerr.NotController.Code, p.resp.(*kmsg.CreateTopicsResponse).Topics[0].ErrorCode)
	require.False(t, c.active())
}

func TestAPanickingOperationCostsLeadershipNotTheProcess(t *testing.T) {
	q := newQuorum(t, 1, 1)
	c := q.start(1)
	var got *apiError
	c.write("bug", q.now, func(tx *tx) error { panic("bug") }, func(e *apiError) { got = e })
	require.Equal(t, kerr.UnknownServerError.Code, got.code)
	require.False(t, c.active())
	require.EqualValues(t, -1, q.leader.LeaderID, "the log was told")
	require.NoError(t, c.fault)
}

func TestRecordsThatDoNotApplyAreNeverAppended(t *testing.T) {
	q := newQuorum(t, 1, 1)
	c := q.start(1)
	end := q.end()
	c.write("bug", q.now, func(tx *tx) error {
		rec := metadata.NewRemoveTopicRecord()
		rec.TopicID = tx.newUUID()
		tx.emit(rec)
		return nil
	}, func(*apiError) {})
	require.Equal(t, end, q.end())
	require.False(t, c.active())
}

func TestAStandbyThatCannotReplayStops(t *testing.T) {
	q := newQuorum(t, 1, 1, 2)
	q.start(1)
	rec := metadata.NewUnregisterBrokerRecord()
	rec.BrokerID = 9
	q.append([][]byte{metadata.Encode(rec, 0)})
	err := q.nodes[2].core.commit(q.batches[len(q.batches)-1:])
	require.ErrorContains(t, err, "replaying batch")
	var f *fatalError
	require.ErrorAs(t, err, &f)
}

func TestASnapshotReplacesTheStateOfAStandby(t *testing.T) {
	q := newQuorum(t, 1, 1, 2)
	c := q.start(1)
	q.join(c, 101, 102)
	q.create(c, newTopic("a.b", 4, 2))
	late := q.newNode(3, 2)
	snap := &fakeSnapshot{img: c.committed.stable().img}
	require.NoError(t, late.core.loadSnapshot(snap))
	require.Equal(t, snap.EndOffset()-1, late.core.lso)
	late.delivered = q.commits
	q.nodes[3] = late
	q.create(c, newTopic("c", 1, 1))
	q.requireConverged()
	_, collides := late.core.committed.state.collidesWith("a_b")
	require.True(t, collides)
	require.Error(t, c.loadSnapshot(snap), "an active controller never loads one")

	// Brokers that were registered by the snapshot have caught up when they stand at its end.
	q.start(3)
	off, ok := late.core.working.state.registered.Get(101)
	require.True(t, ok)
	require.Equal(t, snap.EndOffset()-1, off)
}

func TestControlBatchesBetweenPreparedRecords(t *testing.T) {
	q := newQuorum(t, 1, 1, 2)
	c := q.start(1)
	q.join(c, 101)
	first := q.send(c, newTopic("a", 1, 1))
	q.append(nil) // the log's own: voters
	second := q.send(c, newTopic("b", 1, 1))
	q.commit()
	require.NotNil(t, first.resp)
	require.NotNil(t, second.resp)
	q.requireConverged()
}

// TestSmallBatchesAreReplayedTogether: as far as they follow each other within an epoch, with the outcome that they have one by one.
func TestSmallBatchesAreReplayedTogether(t *testing.T) {
	q := newQuorum(t, 1, 1, 2, 3)
	c := q.start(1)
	q.join(c, 101)
	for _, name := range []string{"a", "b"} {
		q.create(c, newTopic(name, 1, 1))
	}
	q.elect(2, 0) // a control batch, and another epoch
	q.commit()
	q.commit()
	q.create(q.nodes[2].core, newTopic("c", 1, 1))
	late := q.newNode(3, 3).core
	runs := 0
	for rest := q.batches; len(rest) > 0; runs++ {
		rest = rest[raft.RunLength(rest, maxRecordsPerBatch):]
	}
	require.Less(t, runs, len(q.batches)/2)
	require.NoError(t, late.commit(q.batches))
	require.Equal(t, q.end(), late.applied)
	require.Equal(t, q.nodes[3].core.lastCommitted, late.lastCommitted)
	require.Equal(t, contents(q.nodes[3].core.committed.state.img), contents(late.committed.state.img))
	require.ErrorContains(t, late.commit(q.batches[len(q.batches)-2:]), "was committed again")
}
