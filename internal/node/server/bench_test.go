package server

import (
	"net"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kraft-dev/kraft-operator/internal/node/wire"
)

// BenchmarkRequest is one small request and its answer over loopback, client's side included.
func BenchmarkRequest(b *testing.B) {
	for name, depth := range map[string]int{"one at a time": 1, "five in flight": 5} {
		b.Run(name, func(b *testing.B) {
			s, err := New(Config{
				Listeners: []Listener{{Name: "TEST", SecurityProtocol: "PLAINTEXT", Addr: "127.0.0.1:0"}},
				APIs:      wire.APIsFor(wire.BrokerListener),
				Handler:   answerAll,
			})
			require.NoError(b, err)
			require.NoError(b, s.Start())
			defer func() { _ = s.Shutdown(b.Context()) }()
			nc, err := net.Dial("tcp", s.Addr("TEST").String())
			require.NoError(b, err)
			defer nc.Close()
			id := "bench"
			var frames []byte
			for range depth {
				frames = append(frames, wire.AppendRequest(nil, &id, 1, heartbeat())...)
			}
			answers := make([]byte, 16*depth) // size, id, tags, throttle, code, tags
			b.ReportAllocs()
			for b.Loop() {
				if _, err := nc.Write(frames); err != nil {
					b.Fatal(err)
				}
				for read := 0; read < len(answers); {
					n, err := nc.Read(answers[read:])
					if err != nil {
						b.Fatal(err)
					}
					read += n
				}
			}
		})
	}
}

func TestIdleConnectionsAreSmall(t *testing.T) {
	const n = 200
	s := start(t, answerAll, nil)
	inUse := func() uint64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapInuse + m.StackInuse
	}
	before := inUse()
	for i := range int32(n) {
		p := dial(t, s)
		p.send(i, heartbeat())
		p.receive(i, beatResponse(-1))
	}
	grown := inUse() - before
	t.Logf("%d bytes for each connection, the client's end included", grown/n)
	require.Less(t, grown/n, uint64(24<<10))
}
