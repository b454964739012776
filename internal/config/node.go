package config

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

func sortedKeys(m map[string]string) []string { return slices.Sorted(maps.Keys(m)) }

// Config is a node's settings: what its properties file says, checked, over Kafka's defaults. It is immutable.
type Config struct{ props map[string]string }

// Load checks the properties of one node (after Parse and Expand), each by itself and against each other.
//
// Errors: the first in order of keys, as one line that names the property, its value and the way out.
func Load(props map[string]string) (*Config, error) {
	for _, k := range sortedKeys(props) {
		if err := checkProperty(k, props[k]); err != nil {
			return nil, err
		}
	}
	c := &Config{props: maps.Clone(props)}
	if !c.IsSet(NodeID) && c.IsSet(BrokerID) && c.Int(BrokerID) >= 0 {
		c.props[NodeID] = props[BrokerID] // Kafka's older name for it
	}
	for _, k := range table().nodeNames {
		if table().node[k].Required && c.props[k] == "" {
			return nil, fmt.Errorf("property %s: is not set: it has no default, add it to the properties file", k)
		}
	}
	if c.IsSet(BrokerID) && c.Int(BrokerID) >= 0 && c.Int(BrokerID) != c.Int(NodeID) {
		return nil, &Error{Key: BrokerID, Value: props[BrokerID], Reason: "must be the same as node.id",
			Way: fmt.Sprintf("must be the same as node.id, %d: remove it", c.Int(NodeID))}
	}
	return c, c.checkTogether()
}

func checkProperty(key, value string) error {
	d, ok := table().node[key]
	if !ok {
		if Known(key) {
			return nil
		}
		hint := "remove it"
		if n := Nearest(key); n != "" {
			hint = fmt.Sprintf("did you mean %s?", n)
		}
		return fmt.Errorf("%w %s: %s", ErrUnknownKey, abbreviate(key), hint)
	}
	if err := d.Check(value); err != nil {
		return err
	}
	return unsupported(d, strings.TrimSpace(value))
}

// unsupported refuses what would otherwise be silently without effect and matters: code on a JVM, and tiered
// storage.
func unsupported(d *Def, value string) error {
	switch {
	case d.Type == Class && value != "" && value != d.Default, d.Name == AuthorizerClassName && value != "":
		return &Error{Key: d.Name, Value: value, Way: "Java classes can't be loaded here: remove it"}
	case d.Name == RemoteStorageSystemEnable && strings.EqualFold(value, "true"):
		return &Error{Key: d.Name, Value: value, Way: "tiered storage is not supported: remove it"}
	}
	return nil
}

// checkTogether holds Kafka's rules between settings.
func (c *Config) checkTogether() error {
	fail := func(key, way string) error { return &Error{Key: key, Value: c.String(key), Reason: way, Way: way} }
	switch {
	case len(c.List(ProcessRoles)) == 0:
		return fail(ProcessRoles, "must be broker, controller, or both")
	case c.Int(BrokerHeartbeatIntervalMs) >= c.Int(BrokerSessionTimeoutMs):
		return fail(BrokerHeartbeatIntervalMs, fmt.Sprintf("must be less than %s, %d", BrokerSessionTimeoutMs, c.Int(BrokerSessionTimeoutMs)))
	case c.Int(ReplicaFetchWaitMaxMs) > int(c.Int64(ReplicaLagTimeMaxMs)):
		return fail(ReplicaFetchWaitMaxMs, fmt.Sprintf("must not be greater than %s, %d", ReplicaLagTimeMaxMs, c.Int64(ReplicaLagTimeMaxMs)))
	case c.Int(GroupMinSessionTimeoutMs) > c.Int(GroupMaxSessionTimeoutMs):
		return fail(GroupMinSessionTimeoutMs, fmt.Sprintf("must not be greater than %s, %d", GroupMaxSessionTimeoutMs, c.Int(GroupMaxSessionTimeoutMs)))
	case c.Int(OffsetMetadataMaxBytes) < 0:
		return fail(OffsetMetadataMaxBytes, "must not be negative")
	case len(c.LogDirs()) == 0:
		return fail(LogDirs, "must name at least one directory")
	}
	_, err := c.Listeners()
	if err == nil {
		err = c.checkOwn()
	}
	if err == nil {
		err = c.checkQuorum()
	}
	return err
}

// maxShutdownLingerMs is well within the time in which any supervisor kills what it told to stop.
const maxShutdownLingerMs = 60_000

func (c *Config) checkOwn() error {
	for key, parse := range map[string]func() error{
		KraftClusterID:          func() error { _, _, err := c.ClusterID(); return err },
		KraftDirectoryID:        func() error { _, _, err := c.DirectoryID(); return err },
		KraftInitialControllers: func() error { _, err := c.InitialControllers(); return err },
		KraftRoutes:             func() error { _, err := ParseRoutes(c.String(KraftRoutes)); return err },
		KraftHTTPListener:       func() error { _, _, err := SplitHostPort(c.String(KraftHTTPListener)); return err },
		KraftShutdownLingerMs: func() error {
			if ms := c.Int(KraftShutdownLingerMs); ms < 0 || ms > maxShutdownLingerMs {
				return fmt.Errorf("must be between 0 and %d", maxShutdownLingerMs)
			}
			return nil
		},
		QuorumVoters:           func() error { _, err := c.QuorumVoters(); return err },
		QuorumBootstrapServers: func() error { _, err := c.BootstrapServers(); return err },
	} {
		if err := parse(); err != nil {
			return fmt.Errorf("property %s: value %s: %w", key, abbreviate(c.String(key)), err)
		}
	}
	return nil
}

// Raw returns what the properties file said, as a fresh map.
func (c *Config) Raw() map[string]string { return maps.Clone(c.props) }

// IsSet tells whether the properties file sets key.
func (c *Config) IsSet(key string) bool { _, ok := c.props[key]; return ok }

// Value is the setting's text, its default if the file doesn't set it; ok is false where that is null.
func (c *Config) Value(key string) (value string, ok bool) {
	if v, set := c.props[key]; set {
		return strings.TrimSpace(v), true
	}
	d := mustLookup(key)
	return d.Default, !d.Null
}

// mustLookup panics for a key that isn't in the table: the caller took it from the constants.
func mustLookup(key string) *Def {
	d, ok := table().node[key]
	if !ok {
		panic("config: no setting is called " + key)
	}
	return d
}

// String is a setting's text, "" for null.
func (c *Config) String(key string) string { v, _ := c.Value(key); return v }

// Int64 is a number, 0 for null.
func (c *Config) Int64(key string) int64 { return parseInt64(c.String(key)) }

// Int is Int64 for settings of type INT and SHORT.
func (c *Config) Int(key string) int { return int(c.Int64(key)) }

// Float64 is a setting of type DOUBLE.
func (c *Config) Float64(key string) float64 {
	f, _ := strconv.ParseFloat(c.String(key), 64)
	return f
}

// Bool is a setting of type BOOLEAN.
func (c *Config) Bool(key string) bool { return strings.EqualFold(c.String(key), "true") }

// List is a setting of type LIST.
func (c *Config) List(key string) []string { return SplitList(c.String(key)) }

func parseInt64(s string) int64 {
	n, _ := strconv.ParseInt(strings.TrimSpace(s), 10, 64)
	return n
}

// NodeID is node.id, or broker.id where only that is set.
func (c *Config) NodeID() int32 { return int32(c.Int64(NodeID)) }

// IsBroker tells whether the node has the broker role.
func (c *Config) IsBroker() bool { return slices.Contains(c.List(ProcessRoles), "broker") }

// IsController tells whether the node has the controller role.
func (c *Config) IsController() bool { return slices.Contains(c.List(ProcessRoles), "controller") }

// LogDirs is log.dirs, or log.dir where it isn't set.
func (c *Config) LogDirs() []string {
	if dirs := c.List(LogDirs); len(dirs) > 0 {
		return dirs
	}
	return c.List(LogDir)
}

// MetadataLogDir is metadata.log.dir, or the first of LogDirs.
func (c *Config) MetadataLogDir() string {
	if dir := c.String(MetadataLogDir); dir != "" {
		return dir
	}
	return c.LogDirs()[0]
}
