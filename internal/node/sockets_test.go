package node

import (
	"log/slog"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/kraft-dev/kraft-operator/internal/config"
	"github.com/kraft-dev/kraft-operator/internal/node/server"
	"github.com/kraft-dev/kraft-operator/internal/node/wire"
)

func TestSocketSettingsReachTheServer(t *testing.T) {
	type sockets struct {
		memory        int64
		send, receive int
	}
	for name, tc := range map[string]struct {
		props map[string]string
		want  sockets
		fails string
	}{
		"Kafka's defaults": {nil, sockets{0, 102400, 102400}, ""},
		"left to the system": {map[string]string{
			config.QueuedMaxRequestBytes: "-1", config.SocketSendBufferBytes: "-1", config.SocketReceiveBufferBytes: "-1",
		}, sockets{}, ""},
		"set": {map[string]string{
			config.QueuedMaxRequestBytes: "209715200", config.SocketSendBufferBytes: "65536", config.SocketReceiveBufferBytes: "32768",
		}, sockets{200 << 20, 65536, 32768}, ""},
		"less memory than one request takes": {map[string]string{config.QueuedMaxRequestBytes: "1000"}, sockets{1000, 102400, 102400},
			"queued.max.request.bytes 1000 is less than socket.request.max.bytes 104857600"},
	} {
		t.Run(name, func(t *testing.T) {
			props := map[string]string{
				config.NodeID: "1", config.ProcessRoles: "broker", config.Listeners: "PLAINTEXT://127.0.0.1:0",
				config.ControllerListenerNames: "CONTROLLER", config.QuorumVoters: "100@localhost:9094", config.LogDirs: t.TempDir(),
			}
			for k, v := range tc.props {
				props[k] = v
			}
			cfg, err := config.Load(props)
			require.NoError(t, err)
			n := &Node{cfg: cfg, registry: prometheus.NewRegistry(), opt: Options{Logger: slog.New(slog.DiscardHandler)}}
			got := n.serverConfig([]server.Listener{{Name: "PLAINTEXT", SecurityProtocol: "PLAINTEXT", Addr: "127.0.0.1:0"}}, wire.APIsFor(wire.BrokerListener), func(*server.Request) {})
			require.Equal(t, tc.want, sockets{got.MaxRequestMemory, got.SocketSendBuffer, got.SocketReceiveBuffer})
			_, err = server.New(got)
			if tc.fails == "" {
				require.NoError(t, err)
			} else {
				require.ErrorContains(t, err, tc.fails)
			}
		})
	}
}
