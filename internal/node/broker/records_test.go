package broker

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kraft-dev/kraft-operator/internal/metadata"
	"github.com/kraft-dev/kraft-operator/internal/storage/record"
	"github.com/kraft-dev/kraft-operator/internal/uuid"
)

// in runs f with a broker in virtual time.
func in(t *testing.T, brokers int32, f func(*fixture)) {
	synctest.Test(t, func(t *testing.T) {
		x := newFixture(t)
		defer x.close()
		x.brokers(brokers)
		f(x)
	})
}

func TestProduceAndFetchInEveryVersion(t *testing.T) {
	in(t, 1, func(f *fixture) {
		id := f.topic("t", 7, []int32{1})
		for v := int16(3); v <= 13; v++ {
			r := call[*kmsg.ProduceResponse](f, produceTo("t", id, 0, -1, batch(t, record.BuilderConfig{}, "a", "b")), v)
			p := r.Topics[0].Partitions[0]
			require.Zero(t, p.ErrorCode, "version %d", v)
			require.EqualValues(t, 2*(v-3), p.BaseOffset)
		}
		for v := int16(4); v <= 18; v++ {
			r := call[*kmsg.FetchResponse](f, fetchFrom("t", id, 0, 20, 0), v)
			p := r.Topics[0].Partitions[0]
			require.Zero(t, p.ErrorCode, "version %d", v)
			require.EqualValues(t, 22, p.HighWatermark)
			require.EqualValues(t, 22, p.LastStableOffset)
			b, rest, err := record.Split(p.RecordBatches)
			require.NoError(t, err)
			require.Empty(t, rest)
			require.EqualValues(t, 20, b.BaseOffset())
			require.NoError(t, b.Validate())
		}
	})
}

func TestProduceRefusals(t *testing.T) {
	in(t, 2, func(f *fixture) {
		id := f.topic("t", 7, []int32{1}, []int32{2})
		offsets := f.topic(OffsetsTopic, 8, []int32{1})
		limit := "200"
		f.commit(&metadata.ConfigRecord{ResourceType: metadata.ResourceTopic, ResourceName: "t", Name: "max.message.bytes", Value: &limit})
		good := func() []byte { return batch(t, record.BuilderConfig{}, "a") }
		broken := good()
		broken[len(broken)-1] ^= 1
		old := good()
		old[16] = 1
		for name, tc := range map[string]struct {
			req     *kmsg.ProduceRequest
			version int16
			want    *kerr.Error
		}{
			"unknown topic":             {produceTo("u", id, 0, 1, good()), 12, kerr.UnknownTopicOrPartition},
			"unknown topic id":          {produceTo("t", uuid.UUID{9}, 0, 1, good()), 13, kerr.UnknownTopicID},
			"unknown partition":         {produceTo("t", id, 5, 1, good()), 12, kerr.UnknownTopicOrPartition},
			"another broker leads":      {produceTo("t", id, 1, 1, good()), 12, kerr.NotLeaderForPartition},
			"an internal topic":         {produceTo(OffsetsTopic, offsets, 0, 1, good()), 12, kerr.InvalidTopicException},
			"acks that don't exist":     {produceTo("t", id, 0, 2, good()), 12, kerr.InvalidRequiredAcks},
			"no records":                {produceTo("t", id, 0, 1, nil), 12, kerr.InvalidRecord},
			"two batches":               {produceTo("t", id, 0, 1, append(good(), good()...)), 12, kerr.InvalidRecord},
			"bytes that changed":        {produceTo("t", id, 0, 1, broken), 12, kerr.CorruptMessage},
			"a cut batch":               {produceTo("t", id, 0, 1, good()[:65]), 12, kerr.CorruptMessage},
			"an old message format":     {produceTo("t", id, 0, 1, old), 12, kerr.UnsupportedForMessageFormat},
			"a batch that is too large": {produceTo("t", id, 0, 1, batch(t, record.BuilderConfig{}, strings.Repeat("x", 300))), 12, kerr.MessageTooLarge},
			"zstd before its version":   {produceTo("t", id, 0, 1, batch(t, record.BuilderConfig{Compression: record.Zstd}, "a")), 6, kerr.UnsupportedCompressionType},
			"a gap in the sequence":     {produceTo("t", id, 0, 1, batch(t, record.BuilderConfig{Idempotent: true, ProducerID: 5, BaseSequence: 3}, "a")), 12, nil},
		} {
			r := call[*kmsg.ProduceResponse](f, tc.req, tc.version)
			p := r.Topics[0].Partitions[0]
			require.Equal(t, kerr.ErrorForCode(p.ErrorCode), kerrOrNil(tc.want), name)
			if tc.want != nil {
				require.EqualValues(t, -1, p.BaseOffset, name)
			}
			if tc.want == kerr.NotLeaderForPartition {
				require.EqualValues(t, 2, p.CurrentLeader.LeaderID)
				require.Equal(t, []kmsg.ProduceResponseBroker{{NodeID: 2, Host: "h2", Port: 9092}}, r.Brokers)
			}
		}
		tx := produceTo("t", id, 0, -1, good())
		tx.TransactionID = kmsg.StringPtr("tx")
		require.Equal(t, kerr.TransactionalIDAuthorizationFailed.Code, call[*kmsg.ProduceResponse](f, tx, 11).Topics[0].Partitions[0].ErrorCode)
	})
}

func kerrOrNil(e *kerr.Error) error {
	if e == nil {
		return nil
	}
	return e
}

func TestAnIdempotentBatchThatComesTwiceIsAnsweredTwiceAndStoredOnce(t *testing.T) {
	in(t, 1, func(f *fixture) {
		id := f.topic("t", 7, []int32{1})
		send := func(seq int32) *kmsg.ProduceResponse {
			return call[*kmsg.ProduceResponse](f, produceTo("t", id, 0, -1, batch(t, record.BuilderConfig{Idempotent: true, ProducerID: 5, BaseSequence: seq}, "a", "b")), 12)
		}
		require.EqualValues(t, 0, send(0).Topics[0].Partitions[0].BaseOffset)
		require.EqualValues(t, 2, send(2).Topics[0].Partitions[0].BaseOffset)
		again := send(0).Topics[0].Partitions[0]
		require.Zero(t, again.ErrorCode)
		require.EqualValues(t, 0, again.BaseOffset)
		require.Equal(t, kerr.OutOfOrderSequenceNumber.Code, send(7).Topics[0].Partitions[0].ErrorCode)
		p := call[*kmsg.FetchResponse](f, fetchFrom("t", id, 0, 0, 0), 12).Topics[0].Partitions[0]
		require.EqualValues(t, 4, p.HighWatermark)
	})
}

func TestAcksZeroIsSilentAndFailsByClosing(t *testing.T) {
	in(t, 1, func(f *fixture) {
		id := f.topic("t", 7, []int32{1})
		a := <-f.ask(produceTo("t", id, 0, 0, batch(t, record.BuilderConfig{}, "a")), 9, "c")
		require.Nil(t, a.Response)
		require.NoError(t, a.Closed)
		a = <-f.ask(produceTo("t", id, 3, 0, batch(t, record.BuilderConfig{}, "a")), 9, "c")
		require.ErrorIs(t, a.Closed, kerr.UnknownTopicOrPartition)
	})
}

func TestAFetchWaitsForRecords(t *testing.T) {
	in(t, 1, func(f *fixture) {
		id := f.topic("t", 7, []int32{1})
		req := fetchFrom("t", id, 0, 0, 500)
		began := time.Now()
		got := f.ask(req, 13, "c")
		r := decode[*kmsg.FetchResponse](f, req, 13, <-got)
		require.Equal(t, 500*time.Millisecond, time.Since(began))
		require.Empty(t, r.Topics[0].Partitions[0].RecordBatches)
		got = f.ask(req, 13, "c")
		require.Empty(t, got)
		require.Zero(t, call[*kmsg.ProduceResponse](f, produceTo("t", id, 0, 1, batch(t, record.BuilderConfig{}, "a")), 12).Topics[0].Partitions[0].ErrorCode)
		r = decode[*kmsg.FetchResponse](f, req, 13, <-got)
		require.NotEmpty(t, r.Topics[0].Partitions[0].RecordBatches)
	})
}

func TestAFetchOfWhatMovedNamesTheLeader(t *testing.T) {
	in(t, 2, func(f *fixture) {
		id := f.topic("t", 7, []int32{1, 2})
		req := fetchFrom("t", id, 0, 0, 60_000)
		parked := f.ask(req, 16, "c")
		write := produceTo("t", id, 0, -1, batch(t, record.BuilderConfig{}, "a"))
		write.TimeoutMillis = 60_000
		waiting := f.ask(write, 10, "c")
		f.commit(&metadata.PartitionChangeRecord{PartitionID: 0, TopicID: id, Leader: 2, ISR: []int32{2}})
		p := decode[*kmsg.FetchResponse](f, req, 16, <-parked)
		require.Equal(t, kerr.NotLeaderForPartition.Code, p.Topics[0].Partitions[0].ErrorCode)
		require.Equal(t, kmsg.FetchResponseTopicPartitionCurrentLeader{LeaderID: 2, LeaderEpoch: 1}, p.Topics[0].Partitions[0].CurrentLeader)
		require.Equal(t, "h2", p.Brokers[0].Host)
		w := decode[*kmsg.ProduceResponse](f, write, 10, <-waiting)
		require.Equal(t, kerr.NotLeaderForPartition.Code, w.Topics[0].Partitions[0].ErrorCode)
		require.EqualValues(t, 2, w.Topics[0].Partitions[0].CurrentLeader.LeaderID)
	})
}

func TestFetchRefusals(t *testing.T) {
	in(t, 2, func(f *fixture) {
		id := f.topic("t", 7, []int32{1}, []int32{2})
		code := func(req *kmsg.FetchRequest, v int16) int16 {
			return call[*kmsg.FetchResponse](f, req, v).Topics[0].Partitions[0].ErrorCode
		}
		require.Equal(t, kerr.OffsetOutOfRange.Code, code(fetchFrom("t", id, 0, 1, 9), 12))
		require.Equal(t, kerr.UnknownTopicID.Code, code(fetchFrom("", uuid.UUID{3}, 0, 0, 9), 13))
		require.Equal(t, kerr.NotLeaderForPartition.Code, code(fetchFrom("t", id, 1, 0, 9), 12))
		newer := fetchFrom("t", id, 0, 0, 9)
		newer.Topics[0].Partitions[0].CurrentLeaderEpoch = 4
		require.Equal(t, kerr.UnknownLeaderEpoch.Code, code(newer, 12))
		stranger := fetchFrom("t", id, 0, 0, 9)
		stranger.ReplicaState.ID = 2
		require.Equal(t, kerr.UnknownLeaderEpoch.Code, code(stranger, 15), "broker 2 has no replica of partition 0")
		session := fetchFrom("t", id, 0, 0, 9)
		session.SessionID, session.SessionEpoch = 4, 2
		require.Equal(t, kerr.FetchSessionIDNotFound.Code, call[*kmsg.FetchResponse](f, session, 12).ErrorCode)
		session.SessionID, session.SessionEpoch = 0, 0
		require.Zero(t, call[*kmsg.FetchResponse](f, session, 12).SessionID, "no session is given out")
	})
}

func TestALargeFetchIsSentFromTheFile(t *testing.T) {
	in(t, 1, func(f *fixture) {
		id := f.topic("t", 7, []int32{1})
		big := strings.Repeat("x", 3*inlineBytes)
		require.Zero(t, call[*kmsg.ProduceResponse](f, produceTo("t", id, 0, 1, batch(t, record.BuilderConfig{}, big)), 12).Topics[0].Partitions[0].ErrorCode)
		req := fetchFrom("t", id, 0, 0, 0)
		a := <-f.ask(req, 12, "c")
		files := 0
		for _, s := range a.Raw.Segments {
			if s.File != nil {
				files++
			}
		}
		require.Equal(t, 1, files)
		b := record.Batch(decode[*kmsg.FetchResponse](f, req, 12, a).Topics[0].Partitions[0].RecordBatches)
		require.NoError(t, b.Validate())
		req.Topics[0].Partitions[0].PartitionMaxBytes = 10
		require.NotEmpty(t, call[*kmsg.FetchResponse](f, req, 12).Topics[0].Partitions[0].RecordBatches, "one batch comes even if it is larger (KIP-74)")
	})
}

func TestListOffsetsVersions(t *testing.T) {
	in(t, 1, func(f *fixture) {
		id := f.topic("t", 7, []int32{1})
		call[*kmsg.ProduceResponse](f, produceTo("t", id, 0, 1, batch(t, record.BuilderConfig{}, "a", "b")), 12)
		for v := int16(1); v <= 11; v++ {
			for timestamp, want := range map[int64]struct {
				since  int16
				offset int64
			}{-1: {1, 2}, -2: {1, 0}, -3: {7, 0}, -4: {8, 0}, -5: {9, -1}, -6: {11, 0}} {
				req := kmsg.NewPtrListOffsetsRequest()
				req.ReplicaID = -1
				p := kmsg.NewListOffsetsRequestTopicPartition()
				p.Timestamp = timestamp
				req.Topics = []kmsg.ListOffsetsRequestTopic{{Topic: "t", Partitions: []kmsg.ListOffsetsRequestTopicPartition{p}}}
				got := call[*kmsg.ListOffsetsResponse](f, req, v).Topics[0].Partitions[0]
				if v < want.since {
					require.Equal(t, kerr.UnsupportedVersion.Code, got.ErrorCode, "timestamp %d in v%d", timestamp, v)
					continue
				}
				require.Zero(t, got.ErrorCode)
				require.Equal(t, want.offset, got.Offset, "timestamp %d in v%d", timestamp, v)
			}
		}
	})
}

func TestSettingsOfATopicAreAppliedLive(t *testing.T) {
	in(t, 1, func(f *fixture) {
		id := f.topic("t", 7, []int32{1})
		set := func(name, value string) {
			f.commit(&metadata.ConfigRecord{ResourceType: metadata.ResourceTopic, ResourceName: "t", Name: name, Value: &value})
		}
		set("message.timestamp.type", "LogAppendTime")
		set("compression.type", "gzip")
		p := call[*kmsg.ProduceResponse](f, produceTo("t", id, 0, 1, batch(t, record.BuilderConfig{}, "a")), 12).Topics[0].Partitions[0]
		require.Equal(t, time.Now().UnixMilli(), p.LogAppendTime)
		b := record.Batch(call[*kmsg.FetchResponse](f, fetchFrom("t", id, 0, 0, 0), 12).Topics[0].Partitions[0].RecordBatches)
		require.Equal(t, record.Gzip, b.Compression())
		require.True(t, b.LogAppendTime())
		set("min.insync.replicas", "2")
		p = call[*kmsg.ProduceResponse](f, produceTo("t", id, 0, -1, batch(t, record.BuilderConfig{}, "a")), 12).Topics[0].Partitions[0]
		require.Zero(t, p.ErrorCode, "min.insync.replicas is at most the number of replicas")
	})
}

func TestDeletingATopicEndsItsPartitions(t *testing.T) {
	in(t, 1, func(f *fixture) {
		id := f.topic("t", 7, []int32{1})
		req := fetchFrom("t", id, 0, 0, 60_000)
		parked := f.ask(req, 13, "c")
		f.commit(&metadata.RemoveTopicRecord{TopicID: id})
		require.Equal(t, kerr.NotLeaderForPartition.Code, decode[*kmsg.FetchResponse](f, req, 13, <-parked).Topics[0].Partitions[0].ErrorCode)
		require.Equal(t, kerr.UnknownTopicID.Code, call[*kmsg.FetchResponse](f, req, 13).Topics[0].Partitions[0].ErrorCode)
	})
}
