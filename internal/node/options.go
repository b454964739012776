package node

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"strconv"
	"time"

	"github.com/kraft-dev/kraft-operator/internal/config"
	"github.com/kraft-dev/kraft-operator/internal/quorum"
	"github.com/kraft-dev/kraft-operator/internal/uuid"
)

// Options of one node.
type Options struct {
	Config  *config.Config
	Logger  *slog.Logger
	Version string
	// Dial opens the connections to other nodes; nil: a net.Dialer's.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
}

// readLive reads the file of live settings over what the properties file says; a missing file is as an empty one, since
// a mounted ConfigMap may come later than the process.
func readLive(c *config.Config) (config.Live, error) {
	file := c.String(config.KraftLiveConfigFile)
	if file == "" {
		return c.Live(), nil
	}
	data, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return c.Live(), nil
	}
	if err != nil {
		return c.Live(), err
	}
	live, err := config.ParseLive(data, c.Live())
	if err != nil {
		return live, fmt.Errorf("%s: %w", file, err)
	}
	return live, nil
}

func ms(n int64) time.Duration { return time.Duration(n) * time.Millisecond }

// quorumConfig translates the settings for the engine.
func quorumConfig(c *config.Config, listeners *config.ListenerSet, id Identity, live config.Live) (quorum.Config, error) {
	q := quorum.DefaultConfig()
	q.ClusterID, q.NodeID, q.DirectoryID = id.ClusterID, quorum.NodeID(c.NodeID()), id.Directories[c.MetadataLogDir()]
	q.Controller = c.IsController()
	if len(listeners.Controller) > 0 {
		q.Listener = listeners.Controller[0]
	}
	if q.Controller {
		for _, l := range listeners.ControllerAdvertised() {
			q.Endpoints = append(q.Endpoints, quorum.Endpoint{Listener: l.Name, Host: l.Host, Port: uint16(l.Port)})
		}
	}
	servers, err := c.BootstrapServers()
	if err != nil {
		return q, err
	}
	static, err := c.QuorumVoters()
	if err != nil {
		return q, err
	}
	var voters []quorum.Voter
	for _, v := range static {
		voters = append(voters, quorum.Voter{
			Key:       quorum.ReplicaKey{ID: quorum.NodeID(v.ID)},
			Endpoints: []quorum.Endpoint{{Listener: q.Listener, Host: v.Host, Port: uint16(v.Port)}},
		})
		if len(c.List(config.QuorumBootstrapServers)) == 0 {
			servers = append(servers, config.JoinHostPort(v.Host, v.Port))
		}
	}
	q.StaticVoters = quorum.NewVoterSet(voters...)
	for _, s := range servers {
		host, port, err := config.SplitHostPort(s)
		if err != nil {
			return q, err
		}
		q.BootstrapServers = append(q.BootstrapServers, quorum.Node{ID: quorum.None, Host: host, Port: uint16(port)})
	}
	q.ElectionTimeout = ms(c.Int64(config.QuorumElectionTimeoutMs))
	q.FetchTimeout = ms(c.Int64(config.QuorumFetchTimeoutMs))
	q.ElectionBackoffMax = ms(c.Int64(config.QuorumElectionBackoffMaxMs))
	q.RequestTimeout = ms(c.Int64(config.QuorumRequestTimeoutMs))
	q.RetryBackoff = ms(c.Int64(config.QuorumRetryBackoffMs))
	q.AppendLinger = ms(c.Int64(config.QuorumAppendLingerMs))
	q.FetchMaxBytes = int32(c.Int64(config.QuorumFetchMaxBytes))
	q.FetchSnapshotMaxBytes = int32(c.Int64(config.QuorumFetchSnapshotMaxBytes))
	q.Routes = routesOf(live)
	q.AutoJoin = c.Bool(config.QuorumAutoJoin)
	q.FormationSafe = c.Bool(config.KraftFormationSafe)
	q.KRaftVersions = quorum.VersionRange{Min: minKRaftVersion, Max: maxKRaftVersion}
	return q, nil
}

// routesOf are the addresses to try beside the voters' recorded ones.
func routesOf(live config.Live) []quorum.Node {
	var out []quorum.Node
	for _, r := range live.Routes {
		out = append(out, quorum.Node{ID: quorum.NodeID(r.ID), Host: r.Host, Port: uint16(r.Port)})
	}
	return out
}

// advertisedHost is what others are told where a listener binds to every address.
func advertisedHost(host string) string {
	if host != "" && host != "0.0.0.0" && host != "::" {
		return host
	}
	if name, err := os.Hostname(); err == nil {
		return name
	}
	return "localhost"
}

// bindAddr is host:port for net.Listen.
func bindAddr(l config.Listener) string {
	return net.JoinHostPort(l.Host, strconv.Itoa(int(l.Port)))
}

// brokerDir is the one directory of partitions. Several are refused: JBOD is not built (docs/gaps.md).
func brokerDir(c *config.Config, id Identity) (string, uuid.UUID, error) {
	dirs := c.LogDirs()
	if len(dirs) > 1 {
		return "", uuid.Zero, fmt.Errorf("property %s: %d directories: this version serves one; name one", config.LogDirs, len(dirs))
	}
	return dirs[0], id.Directories[dirs[0]], nil
}
