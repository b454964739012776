package config

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/kraft-dev/kraft-operator/internal/uuid"
)

// Address is a node and where it is.
type Address struct {
	ID   int32
	Host string
	Port int32
}

// InitialController is one voter that an empty disk is formatted with.
type InitialController struct {
	Address
	DirectoryID uuid.UUID
}

// String is the form that ParseInitialControllers reads.
func (c InitialController) String() string {
	return fmt.Sprintf("%d@%s:%s", c.ID, JoinHostPort(c.Host, c.Port), c.DirectoryID)
}

// ParseAddress reads id@host:port.
func ParseAddress(s string) (Address, error) {
	id, rest, ok := strings.Cut(s, "@")
	n, err := strconv.ParseInt(id, 10, 32)
	if !ok || err != nil || n < 0 {
		return Address{}, fmt.Errorf("%q is not id@host:port", abbreviate(s))
	}
	host, port, err := SplitHostPort(rest)
	if err != nil {
		return Address{}, err
	}
	if host == "" {
		return Address{}, fmt.Errorf("%q has no host", abbreviate(s))
	}
	return Address{int32(n), host, port}, nil
}

func parseAddresses(items []string) ([]Address, error) {
	var out []Address
	seen := map[int32]bool{}
	for _, item := range items {
		a, err := ParseAddress(item)
		if err != nil {
			return nil, err
		}
		if seen[a.ID] {
			return nil, fmt.Errorf("node %d is there twice", a.ID)
		}
		seen[a.ID] = true
		out = append(out, a)
	}
	return out, nil
}

// ParseInitialControllers reads id@host:port:directoryId,….
func ParseInitialControllers(value string) ([]InitialController, error) {
	var out []InitialController
	ids, dirs := map[int32]bool{}, map[uuid.UUID]bool{}
	for _, item := range SplitList(value) {
		i := strings.LastIndexByte(item, ':')
		if i < 0 {
			return nil, fmt.Errorf("%q is not id@host:port:directoryId", abbreviate(item))
		}
		a, err := ParseAddress(item[:i])
		if err != nil {
			return nil, fmt.Errorf("%q is not id@host:port:directoryId: %w", abbreviate(item), err)
		}
		dir, err := uuid.Parse(item[i+1:])
		switch {
		case err != nil:
			return nil, fmt.Errorf("directory id of node %d: %w", a.ID, err)
		case dir.Reserved():
			return nil, fmt.Errorf("directory id %s of node %d is reserved: use a random one", dir, a.ID)
		case ids[a.ID] || dirs[dir]:
			return nil, fmt.Errorf("%q: its node or directory id is there twice", abbreviate(item))
		}
		ids[a.ID], dirs[dir] = true, true
		out = append(out, InitialController{a, dir})
	}
	return out, nil
}

// ParseRoutes reads kraft.routes, id@host:port,….
func ParseRoutes(value string) ([]Address, error) { return parseAddresses(SplitList(value)) }

// ClusterID is kraft.cluster.id; ok is false if it isn't set. Kafka's cluster ids are text: only a disk of the
// same text is accepted. Ours must be a uuid, as Kafka's storage tool makes them.
func (c *Config) ClusterID() (id uuid.UUID, ok bool, err error) { return c.uuid(KraftClusterID) }

// DirectoryID is kraft.directory.id; ok is false if it isn't set.
func (c *Config) DirectoryID() (id uuid.UUID, ok bool, err error) { return c.uuid(KraftDirectoryID) }

func (c *Config) uuid(key string) (id uuid.UUID, ok bool, err error) {
	v := c.String(key)
	if v == "" {
		return id, false, nil
	}
	if id, err = uuid.Parse(v); err == nil && id.Reserved() {
		err = fmt.Errorf("%s is reserved: use a random one", id)
	}
	return id, true, err
}

// InitialControllers is kraft.initial.controllers.
func (c *Config) InitialControllers() ([]InitialController, error) {
	return ParseInitialControllers(c.String(KraftInitialControllers))
}

// QuorumVoters is controller.quorum.voters, the static voters of kraft.version 0.
func (c *Config) QuorumVoters() ([]Address, error) { return parseAddresses(c.List(QuorumVoters)) }

// BootstrapServers is controller.quorum.bootstrap.servers as host:port texts, each checked.
func (c *Config) BootstrapServers() ([]string, error) {
	servers := c.List(QuorumBootstrapServers)
	for _, s := range servers {
		host, _, err := SplitHostPort(s)
		if err == nil && host == "" {
			err = fmt.Errorf("%q has no host", abbreviate(s))
		}
		if err != nil {
			return nil, err
		}
	}
	return servers, nil
}

// Live is the settings that stand in a file of their own, which is read when the node starts.
type Live struct {
	FormationPermit bool
	Routes          []Address
}

// Live is what the properties file itself says of the live settings.
func (c *Config) Live() Live {
	routes, _ := ParseRoutes(c.String(KraftRoutes)) // checked by Load
	return Live{FormationPermit: c.Bool(KraftFormationPermit), Routes: routes}
}

// ParseLive reads the file that kraft.live.config.file names over base, the properties file's own values. Keys
// that aren't live are refused: they would seem to take effect.
func ParseLive(data []byte, base Live) (Live, error) {
	props, err := Parse(data)
	if err != nil {
		return base, err
	}
	for _, k := range sortedKeys(props) {
		v := props[k]
		switch k {
		case KraftFormationPermit:
			if err := mustLookup(k).Check(v); err != nil {
				return base, err
			}
			base.FormationPermit = strings.EqualFold(strings.TrimSpace(v), "true")
		case KraftRoutes:
			routes, err := ParseRoutes(v)
			if err != nil {
				return base, fmt.Errorf("property %s: %w", k, err)
			}
			base.Routes = routes
		default:
			return base, fmt.Errorf("property %s: is not live: put it into the node's properties file", abbreviate(k))
		}
	}
	return base, nil
}

// checkQuorum holds the quorum's settings against the roles, as Kafka does.
func (c *Config) checkQuorum() error {
	if c.Bool(QuorumAutoJoin) && !c.IsController() {
		way := "only a controller can join the voters: remove it"
		return &Error{Key: QuorumAutoJoin, Value: c.String(QuorumAutoJoin), Reason: way, Way: way}
	}
	voters, err := c.QuorumVoters()
	if err != nil || len(voters) == 0 {
		return err
	}
	votes := slices.ContainsFunc(voters, func(a Address) bool { return a.ID == c.NodeID() })
	way := ""
	switch {
	case c.IsController() && !votes:
		way = fmt.Sprintf("must name this controller, node.id %d", c.NodeID())
	case !c.IsController() && votes:
		way = fmt.Sprintf("must not name node.id %d, which is no controller", c.NodeID())
	}
	if way != "" {
		return &Error{Key: QuorumVoters, Value: c.String(QuorumVoters), Reason: way, Way: way}
	}
	return nil
}
