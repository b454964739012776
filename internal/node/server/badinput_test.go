package server

import (
	"bytes"
	"context"
	"encoding/binary"
	"log/slog"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kraft-dev/kraft-operator/internal/node/wire"
)

// sized puts a frame's size before it.
func sized(frame ...byte) []byte {
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(frame))), frame...)
}

func TestBadInputClosesOnlyItsConnection(t *testing.T) {
	hugeTags := []byte{0xff, 0xff, 0xff, 0xff, 0x0f}
	cases := []struct {
		name string
		send []byte
		log  string
	}{
		{"a negative size", []byte{0xff, 0xff, 0xff, 0xff}, "frame of -1 bytes"},
		{"a size of nothing", []byte{0, 0, 0, 0}, "frame of 0 bytes"},
		{"a size too small for a header", sized(0, 18, 0, 0), "frame of 4 bytes"},
		{"a size above socket.request.max.bytes", []byte{0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 9}, "at most 104857600"},
		{"an http request", []byte("GET / HTTP/1.1\r\n\r\n"), "at most 104857600"},
		{"a tls hello", []byte{0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xfc, 0x03, 0x03}, "at most 104857600"},
		{"a heartbeat of a megabyte", []byte{0, 0x10, 0, 0, 0, 12, 0, 4}, "Heartbeat of 1048576 bytes, at most 65536"},
		{"a fetch of nine megabytes", []byte{0, 0x90, 0, 0, 0, 1, 0, 12}, "Fetch of 9437184 bytes, at most 8388608"},
		{"an unknown key", sized(3, 0xe7, 0, 0, 0, 0, 0, 1, 0xff, 0xff), "unknown api key"},
		{"a negative key", sized(0xff, 0xff, 0, 0, 0, 0, 0, 1, 0xff, 0xff), "unknown api key"},
		{"a removed key", sized(0, 4, 0, 0, 0, 0, 0, 1, 0xff, 0xff), "unknown api key"},
		{"a controller's api on a broker's listener", sized(0, 52, 0, 0, 0, 0, 0, 1, 0xff, 0xff), "key 52 on listener TEST"},
		{"a version that is gone", sized(0, 0, 0, 2, 0, 0, 0, 1, 0xff, 0xff), "Produce v2, served are 3 to 13"},
		{"a version to come", sized(0, 12, 0, 99, 0, 0, 0, 1, 0xff, 0xff), "Heartbeat v99, served are 0 to 4"},
		{"a client id longer than the frame", sized(0, 12, 0, 4, 0, 0, 0, 1, 0x7f, 0xff, 'a'), "client id of 32767 bytes"},
		{"header tags without end", sized(append([]byte{0, 12, 0, 4, 0, 0, 0, 1, 0, 0}, hugeTags...)...), "tag count 4294967295"},
		{"body tags without end", sized(append([]byte{0, 12, 0, 4, 0, 0, 0, 1, 0, 0, 0, 2, 'g', 0, 0, 0, 1, 2, 'm', 0}, hugeTags...)...), "tag count is more"},
		{"api versions tags without end", sized(append([]byte{0, 18, 0, 4, 0, 0, 0, 1, 0, 0, 0, 1, 1}, hugeTags...)...), "tag count is more"},
		{"a body that is cut", sized(0, 12, 0, 4, 0, 0, 0, 1, 0, 0, 0, 2, 'g'), "ends early"},
		{"a body with more after it", sized(0, 12, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 9), "trailing bytes"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			var logs logBuffer
			handled := make(chan string, 10)
			s := start(t, func(r *Request) {
				handled <- r.ClientID
				answerAll(r)
			}, func(cfg *Config) { cfg.Logger = slog.New(slog.NewTextHandler(&logs, nil)) })
			other := dial(t, s)
			other.send(1, heartbeat())
			other.receive(1, beatResponse(-1))
			require.Equal(t, "test", <-handled)

			bad := dial(t, s)
			began := time.Now()
			_, err := bad.Write(c.send)
			require.NoError(t, err)
			bad.closed()
			require.Less(t, time.Since(began), 5*time.Second)
			require.Empty(t, handled, "nothing reaches the handler")
			require.Eventually(t, func() bool { return logs.count("Closing a connection") == 1 }, testTimeout, time.Millisecond)
			require.Equal(t, 1, logs.count(c.log), "log: %s", &logs.b)

			other.send(2, heartbeat())
			other.receive(2, beatResponse(-1))
			require.Equal(t, "test", <-handled)
		})
	}
}

func TestFloodOfBadInputIsLoggedAtABoundedRate(t *testing.T) {
	var logs logBuffer
	s := start(t, answerAll, func(c *Config) { c.Logger = slog.New(slog.NewTextHandler(&logs, nil)) })
	began := time.Now()
	const flood = 200
	for range flood {
		p := dial(t, s)
		_, err := p.Write([]byte{0xff, 0xff, 0xff, 0xff})
		require.NoError(t, err)
		p.closed()
	}
	periods := int(time.Since(began)/time.Second) + 2
	require.LessOrEqual(t, logs.count("Closing a connection"), 10*periods)
}

func TestFramesThatDoNotArriveCostNothing(t *testing.T) {
	// 50 connections announce Produces of 100 MiB and send 8 bytes of them.
	s := start(t, answerAll, func(c *Config) { c.ReadTimeout = 500 * time.Millisecond })
	runtime.GC()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	var peers []*peer
	for range 50 {
		p := dial(t, s)
		_, err := p.Write([]byte{6, 0x40, 0, 0, 0, 0, 0, 9, 0, 0, 0, 1})
		require.NoError(t, err)
		peers = append(peers, p)
	}
	for _, p := range peers {
		p.closed() // by the read timeout
	}
	runtime.ReadMemStats(&after)
	require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(16<<20))
}

func TestAPIVersionsOfAnUnknownVersionIsAnsweredInV0(t *testing.T) {
	s := start(t, func(r *Request) { t.Errorf("%d reached the handler", r.Key) }, nil)
	p := dial(t, s)
	_, err := p.Write(sized(0, 18, 0, 99, 0, 0, 0, 7, 0xff, 0xff, 0, 'w', 'h', 'a', 't'))
	require.NoError(t, err)
	require.Equal(t, []byte{
		0, 0, 0, 7, // correlation id, header v0
		0, 35, // UNSUPPORTED_VERSION
		0, 0, 0, 1, 0, 18, 0, 0, 0, 4, // ApiVersions 0 to 4
	}, p.frame())
}

func TestSoftwareNamesAreChecked(t *testing.T) {
	infos := make(chan ConnInfo, 2)
	s := start(t, func(r *Request) {
		infos <- r.Conn
		answerAll(r)
	}, nil)
	p := dial(t, s)
	ask := func(id int32, name, version string) int16 {
		req := kmsg.NewPtrApiVersionsRequest()
		req.Version, req.ClientSoftwareName, req.ClientSoftwareVersion = 4, name, version
		p.send(id, req)
		resp := kmsg.NewPtrApiVersionsResponse()
		resp.Version = 4
		p.receive(id, resp)
		return resp.ErrorCode
	}
	for i, bad := range []string{"", "-a", "a-", "a b", "a_b", strings.Repeat("é", 3)} {
		require.Equal(t, int16(42), ask(int32(i), bad, "1"), bad)
	}
	require.Empty(t, infos)
	require.Zero(t, ask(10, "apache-kafka-java", "4.3.1"))
	require.Equal(t, "apache-kafka-java", (<-infos).ClientSoftwareName)
	p.send(11, heartbeat())
	require.Equal(t, "4.3.1", (<-infos).ClientSoftwareVersion)
	p.receive(11, beatResponse(-1))
}

// A real client: it negotiates versions, reads metadata, produces and fetches.
func TestFranzGoTalksToATinyHandler(t *testing.T) {
	var s *Server
	produced := make(chan []byte, 1)
	s = start(t, func(r *Request) {
		switch req := r.Body.(type) {
		case *kmsg.ApiVersionsRequest:
			resp := kmsg.NewPtrApiVersionsResponse()
			for _, a := range wire.Narrow(wire.APIsFor(wire.BrokerListener), 0, 1, 2, 3, 18) {
				k := kmsg.NewApiVersionsResponseApiKey()
				k.ApiKey, k.MinVersion, k.MaxVersion = a.Key, a.Min, a.Max
				resp.ApiKeys = append(resp.ApiKeys, k)
			}
			r.Reply(resp)
		case *kmsg.MetadataRequest:
			r.Reply(tinyMetadata(s, req))
		case *kmsg.ProduceRequest:
			produced <- bytes.Clone(req.Topics[0].Partitions[0].Records)
			resp := req.ResponseKind().(*kmsg.ProduceResponse)
			part := kmsg.NewProduceResponseTopicPartition()
			resp.Topics = []kmsg.ProduceResponseTopic{{TopicID: req.Topics[0].TopicID, Topic: req.Topics[0].Topic, Partitions: []kmsg.ProduceResponseTopicPartition{part}}}
			r.Reply(resp)
		default:
			r.Close(errBadInput)
		}
	}, nil)
	cl, err := kgo.NewClient(kgo.SeedBrokers(s.Addr("TEST").String()), kgo.DisableIdempotentWrite(), kgo.DefaultProduceTopic("t"))
	require.NoError(t, err)
	defer cl.Close()
	ctx, cancel := context.WithTimeout(context.Background(), testTimeout)
	defer cancel()
	require.NoError(t, cl.Ping(ctx))
	require.NoError(t, cl.ProduceSync(ctx, kgo.StringRecord("hello")).FirstErr())
	require.Contains(t, string(<-produced), "hello")
}

// tinyMetadata is a cluster of this one listener and one topic of one partition.
func tinyMetadata(s *Server, req *kmsg.MetadataRequest) *kmsg.MetadataResponse {
	addr := s.Addr("TEST").String()
	resp := req.ResponseKind().(*kmsg.MetadataResponse)
	broker := kmsg.NewMetadataResponseBroker()
	host, port, _ := strings.Cut(addr, ":")
	broker.NodeID, broker.Host = 1, host
	for _, d := range port {
		broker.Port = broker.Port*10 + d - '0'
	}
	resp.Brokers, resp.ControllerID = []kmsg.MetadataResponseBroker{broker}, 1
	topic := kmsg.NewMetadataResponseTopic()
	topic.Topic, topic.TopicID = kmsg.StringPtr("t"), [16]byte{15: 9}
	part := kmsg.NewMetadataResponseTopicPartition()
	part.Leader, part.Replicas, part.ISR = 1, []int32{1}, []int32{1}
	topic.Partitions = []kmsg.MetadataResponseTopicPartition{part}
	resp.Topics = []kmsg.MetadataResponseTopic{topic}
	return resp
}
