package broker

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kraft-dev/kraft-operator/internal/config"
	"github.com/kraft-dev/kraft-operator/internal/metadata"
	"github.com/kraft-dev/kraft-operator/internal/node/auth"
	"github.com/kraft-dev/kraft-operator/internal/node/broker/channel"
	"github.com/kraft-dev/kraft-operator/internal/node/broker/lifecycle"
	"github.com/kraft-dev/kraft-operator/internal/node/loader"
	"github.com/kraft-dev/kraft-operator/internal/node/raft"
	"github.com/kraft-dev/kraft-operator/internal/node/rpc"
	"github.com/kraft-dev/kraft-operator/internal/node/server"
	"github.com/kraft-dev/kraft-operator/internal/node/wire"
	"github.com/kraft-dev/kraft-operator/internal/storage/memfs"
	"github.com/kraft-dev/kraft-operator/internal/storage/record"
	"github.com/kraft-dev/kraft-operator/internal/uuid"
)

// fixture is broker 1 with a disk in memory, fed with metadata records; there is no controller to ask.
type fixture struct {
	*Broker
	t      *testing.T
	next   atomic.Int64 // metadata offset
	fatal  error
	cancel context.CancelFunc
	wg     sync.WaitGroup
}

// noNetwork: other brokers can't be reached.
func noNetwork(context.Context, string, string) (net.Conn, error) { return nil, syscall.ECONNREFUSED }

type nowhere struct{}

func (nowhere) ActiveController() (channel.Node, bool) { return channel.Node{}, false }

// clientListener is the listener that tests' requests come on.
const clientListener = "CLIENTS"

func newFixture(t *testing.T) *fixture {
	static, err := config.Load(map[string]string{
		config.NodeID: "1", config.ProcessRoles: "broker", config.Listeners: "CLIENTS://:9092,BROKERS://:9093",
		config.ListenerSecurityProtocolMap: "CLIENTS:PLAINTEXT,BROKERS:PLAINTEXT,CONTROLLER:PLAINTEXT",
		config.InterBrokerListenerName:     "BROKERS", config.ControllerListenerNames: "CONTROLLER",
		config.QuorumVoters: "100@localhost:9094", config.LogDirs: "/data",
	})
	require.NoError(t, err)
	f := &fixture{t: t}
	fs := memfs.New()
	require.NoError(t, fs.MkdirAll("/data"))
	logger := slog.New(slog.DiscardHandler)
	l := loader.New(loader.Config{HighWatermark: func() (int64, bool) { return f.next.Load(), true }, Logger: logger})
	f.Broker, err = New(Config{
		NodeID: 1, ClusterID: "cluster", Static: static, Advertised: []lifecycle.Listener{{Name: clientListener, Host: "h1", Port: 9092}},
		InterBroker: "BROKERS", FS: fs, LogDir: "/data", DirectoryID: uuid.UUID{1, 1}, Loader: l, Finder: nowhere{},
		NewClient: func(string) *rpc.Client {
			return rpc.New(rpc.Config{ClientID: "test", Logger: logger, Dial: noNetwork})
		},
		Fatal: func(err error) { f.fatal = err }, Registry: prometheus.NewRegistry(), Logger: logger,
	})
	require.NoError(t, err)
	var ctx context.Context
	ctx, f.cancel = context.WithCancel(context.Background())
	l.Subscribe(f.publish)
	f.wg.Go(func() { _ = l.Run(ctx) })
	return f
}

func (f *fixture) close() {
	f.cancel()
	f.Broker.cancel()
	f.wg.Wait()
	f.asking.Wait()
	f.replicas.StopFollowing()
	for _, c := range f.clients {
		c.Close()
	}
	require.NoError(f.t, f.replicas.Close())
	require.NoError(f.t, f.fatal)
}

// commit commits records of the metadata log and waits until the broker has taken them.
func (f *fixture) commit(recs ...metadata.Record) {
	b := raft.CommittedBatch{BaseOffset: f.next.Load(), Epoch: 1}
	for _, rec := range recs {
		b.Records = append(b.Records, metadata.Encode(rec, metadata.MVLatest.RecordVersion(rec)))
	}
	b.LastOffset = f.next.Add(int64(len(recs))) - 1
	f.cfg.Loader.HandleCommit([]raft.CommittedBatch{b})
	synctest.Wait()
}

// brokers registers unfenced brokers 1 to n.
func (f *fixture) brokers(n int32) {
	recs := []metadata.Record{&metadata.FeatureLevelRecord{Name: metadata.FeatureMetadataVersion, FeatureLevel: int16(metadata.MVLatest)}}
	for id := int32(1); id <= n; id++ {
		host := "h" + strconv.Itoa(int(id))
		recs = append(recs, &metadata.RegisterBrokerRecord{
			BrokerID: id, BrokerEpoch: 10 + int64(id), LogDirs: []uuid.UUID{{byte(id), 1}},
			EndPoints: []metadata.Endpoint{{Name: clientListener, Host: host, Port: 9092}, {Name: "BROKERS", Host: host, Port: 9093}},
		})
	}
	f.commit(recs...)
}

// topic creates a topic whose partitions are given as replica lists; the first replica leads.
func (f *fixture) topic(name string, id byte, partitions ...[]int32) uuid.UUID {
	tid := uuid.UUID{id, id}
	recs := []metadata.Record{&metadata.TopicRecord{Name: name, TopicID: tid}}
	for i, r := range partitions {
		recs = append(recs, &metadata.PartitionRecord{
			PartitionID: int32(i), TopicID: tid, Replicas: r, ISR: r, Leader: r[0], Directories: make([]uuid.UUID, len(r)),
		})
	}
	f.commit(recs...)
	return tid
}

// ask sends a request and returns what it is answered with, which may come later.
func (f *fixture) ask(req kmsg.Request, version int16, client string) chan server.Answer {
	req.SetVersion(version)
	got := make(chan server.Answer, 1)
	conn := server.ConnInfo{Listener: clientListener, Principal: auth.Anonymous, RemoteAddr: netip.MustParseAddrPort("10.0.0.9:1234")}
	h := wire.RequestHeader{Key: req.Key(), Version: version, ClientID: client}
	f.Handle(server.Detached(h, req, conn, nil, time.Now(), func(a server.Answer) { got <- a }))
	return got
}

// call is ask, with the decoded answer.
func call[R kmsg.Response](f *fixture, req kmsg.Request, version int16) R {
	f.t.Helper()
	a := <-f.ask(req, version, "test")
	require.NoError(f.t, a.Closed)
	return decode[R](f, req, version, a)
}

func decode[R kmsg.Response](f *fixture, req kmsg.Request, version int16, a server.Answer) R {
	f.t.Helper()
	if a.Raw == nil {
		r, ok := a.Response.(R)
		require.True(f.t, ok, "%T", a.Response)
		return r
	}
	var body []byte
	for _, s := range a.Raw.Segments {
		if s.File == nil {
			body = append(body, s.Bytes...)
			continue
		}
		buf := make([]byte, s.Len)
		_, err := s.File.ReadAt(buf, s.Off)
		require.NoError(f.t, err)
		body = append(body, buf...)
	}
	resp := req.ResponseKind()
	resp.SetVersion(version)
	require.NoError(f.t, wire.DecodeResponse(resp, body))
	r, ok := resp.(R)
	require.True(f.t, ok)
	return r
}

// batch is one batch of records with these values.
func batch(t *testing.T, cfg record.BuilderConfig, values ...string) []byte {
	b := record.NewBuilder(cfg)
	for _, v := range values {
		b.Append(time.Now().UnixMilli(), nil, []byte(v))
	}
	out, err := b.Build()
	require.NoError(t, err)
	return out
}

func produceTo(topic string, id uuid.UUID, index int32, acks int16, records []byte) *kmsg.ProduceRequest {
	req := kmsg.NewPtrProduceRequest()
	req.Acks, req.TimeoutMillis = acks, 1000
	req.Topics = []kmsg.ProduceRequestTopic{{Topic: topic, TopicID: id, Partitions: []kmsg.ProduceRequestTopicPartition{{Partition: index, Records: records}}}}
	return req
}

func fetchFrom(topic string, id uuid.UUID, index int32, offset int64, maxWait int32) *kmsg.FetchRequest {
	req := kmsg.NewPtrFetchRequest()
	req.MaxWaitMillis, req.MinBytes, req.MaxBytes = maxWait, 1, 1<<20
	req.ReplicaID, req.ReplicaState.ID, req.SessionEpoch = -1, -1, -1
	p := kmsg.NewFetchRequestTopicPartition()
	p.Partition, p.FetchOffset, p.PartitionMaxBytes, p.CurrentLeaderEpoch, p.LastFetchedEpoch = index, offset, 1<<20, -1, -1
	req.Topics = []kmsg.FetchRequestTopic{{Topic: topic, TopicID: id, Partitions: []kmsg.FetchRequestTopicPartition{p}}}
	return req
}
