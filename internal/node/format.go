package node

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"

	"github.com/kraft-dev/kraft-operator/internal/config"
	"github.com/kraft-dev/kraft-operator/internal/metadata"
	"github.com/kraft-dev/kraft-operator/internal/storage"
	"github.com/kraft-dev/kraft-operator/internal/storage/record/control"
	"github.com/kraft-dev/kraft-operator/internal/uuid"
)

// The range of kraft.version that this node supports.
const (
	minKRaftVersion = 0
	maxKRaftVersion = 1
)

// Identity is whose the node's disks are, as their meta.properties say.
type Identity struct {
	ClusterID   string
	NodeID      int32
	Directories map[string]uuid.UUID // by log dir
	Formatted   bool                 // an empty disk was formatted by this call
}

// FormatRequest says what an empty disk is to become.
type FormatRequest struct {
	ClusterID          string
	InitialControllers []config.InitialController // empty: no voters are written, the node learns them from the leader
	// Permit lets a node whose id is among InitialControllers take the directory id given there. Without it a
	// controller gets a fresh one and observes: its disk may have been a voter's that was lost (decision 7).
	Permit      bool
	DirectoryID uuid.UUID // for a node that isn't among InitialControllers; zero: a random one
}

// RequestFromConfig is the format request of the kraft.* settings; ok is false if kraft.cluster.id isn't set.
func RequestFromConfig(c *config.Config, live config.Live) (req FormatRequest, ok bool, err error) {
	id, ok, err := c.ClusterID()
	if err != nil || !ok {
		return req, false, err
	}
	req = FormatRequest{ClusterID: id.String(), Permit: live.FormationPermit}
	if req.InitialControllers, err = c.InitialControllers(); err != nil {
		return req, false, err
	}
	req.DirectoryID, _, err = c.DirectoryID()
	return req, true, err
}

// ReadIdentity reads meta.properties of every log dir. Dirs without one are in empty. Errors name file, field and
// the way out: a foreign cluster id, another node's disk, two dirs of different clusters.
func ReadIdentity(fsys storage.FS, c *config.Config) (id Identity, empty []string, err error) {
	id = Identity{NodeID: c.NodeID(), Directories: map[string]uuid.UUID{}}
	want, pinned, err := c.ClusterID()
	if err != nil {
		return id, nil, err
	}
	if pinned {
		id.ClusterID = want.String()
	}
	for _, dir := range logDirs(c) {
		m, err := storage.ReadMetaProperties(fsys, dir)
		if errors.Is(err, fs.ErrNotExist) {
			empty = append(empty, dir)
			continue
		}
		if err != nil {
			return id, nil, err
		}
		file := path.Join(dir, storage.MetaPropertiesFile)
		switch {
		case m.NodeID != c.NodeID():
			return id, nil, fmt.Errorf("%s: node.id is %d, but this node is %d: this is another node's disk; mount the right one, it was left as it is", file, m.NodeID, c.NodeID())
		case id.ClusterID != "" && m.ClusterID != id.ClusterID:
			return id, nil, fmt.Errorf("%s: cluster.id is %s, but this node belongs to %s: this is another cluster's disk; mount the right one or an empty one, it was left as it is", file, m.ClusterID, id.ClusterID)
		}
		id.ClusterID = m.ClusterID
		id.Directories[dir] = m.DirectoryID
	}
	return id, empty, nil
}

// logDirs are log.dirs and metadata.log.dir, each once, in order.
func logDirs(c *config.Config) []string {
	dirs := c.LogDirs()
	for _, d := range dirs {
		if d == c.MetadataLogDir() {
			return dirs
		}
	}
	return append([]string{c.MetadataLogDir()}, dirs...)
}

// Format formats the dirs in empty and returns the node's whole identity. meta.properties is written last in each: its
// presence means formatted, so an interrupted format is simply done again. A dir that holds data without
// meta.properties is refused.
func Format(fsys storage.FS, c *config.Config, id Identity, empty []string, req FormatRequest, random io.Reader, nowMs int64) (Identity, error) {
	if id.ClusterID != "" && id.ClusterID != req.ClusterID {
		return id, fmt.Errorf("cluster id %s: the node's other log dirs belong to %s", req.ClusterID, id.ClusterID)
	}
	id.ClusterID = req.ClusterID
	for _, dir := range empty {
		if err := refuseUnmarkedData(fsys, dir); err != nil {
			return id, err
		}
		directory, voters, err := directoryFor(c, dir, req, random)
		if err != nil {
			return id, err
		}
		if err := formatDir(fsys, c, dir, directory, voters, req.ClusterID, nowMs); err != nil {
			return id, fmt.Errorf("format %s: %w", dir, err)
		}
		id.Directories[dir], id.Formatted = directory, true
	}
	return id, nil
}

// directoryFor gives a dir its directory id, and the voters that its 0-0 checkpoint names, if any.
func directoryFor(c *config.Config, dir string, req FormatRequest, random io.Reader) (uuid.UUID, []config.InitialController, error) {
	if c.IsController() && dir == c.MetadataLogDir() {
		for _, v := range req.InitialControllers {
			if v.ID == c.NodeID() && req.Permit {
				return v.DirectoryID, req.InitialControllers, nil
			}
		}
	}
	if !req.DirectoryID.IsZero() && !c.IsController() && dir == c.LogDirs()[0] {
		return req.DirectoryID, nil, nil
	}
	directory, err := uuid.New(random)
	return directory, nil, err
}

// refuseUnmarkedData refuses a dir whose meta.properties is missing although it holds a log: formatting it would
// give old data a new identity.
func refuseUnmarkedData(fsys storage.FS, dir string) error {
	names, err := fsys.List(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, name := range names {
		if name == storage.MetadataPartitionDir {
			inner, err := fsys.List(path.Join(dir, name))
			if err != nil {
				return err
			}
			for _, f := range inner {
				if id, ok := storage.ParseSnapshotName(f); !ok || id != storage.BootstrapSnapshot {
					if path.Ext(f) != ".part" {
						return unmarked(dir, path.Join(name, f))
					}
				}
			}
			continue
		}
		if _, _, ok := storage.ParseDirName(name); ok {
			return unmarked(dir, name)
		}
	}
	return nil
}

func unmarked(dir, found string) error {
	return fmt.Errorf("%s: %s is missing, but there is data (%s): restore the file, or mount an empty disk; nothing was changed", dir, storage.MetaPropertiesFile, found)
}

func formatDir(fsys storage.FS, c *config.Config, dir string, directory uuid.UUID, voters []config.InitialController, clusterID string, nowMs int64) error {
	if err := fsys.MkdirAll(dir); err != nil {
		return err
	}
	if len(voters) > 0 {
		partition := path.Join(dir, storage.MetadataPartitionDir)
		if err := fsys.MkdirAll(partition); err != nil {
			return err
		}
		if err := fsys.SyncDir(dir); err != nil {
			return err
		}
		if err := storage.WriteBootstrapSnapshot(fsys, partition, maxKRaftVersion, voterRecords(c, voters), nowMs); err != nil {
			return err
		}
	}
	var values [][]byte
	for _, rec := range metadata.BootstrapRecords() {
		values = append(values, metadata.Encode(rec, 0))
	}
	if err := storage.WriteBootstrapCheckpoint(fsys, dir, values); err != nil {
		return err
	}
	return storage.WriteMetaProperties(fsys, dir, storage.MetaProperties{ClusterID: clusterID, NodeID: c.NodeID(), DirectoryID: directory})
}

func voterRecords(c *config.Config, voters []config.InitialController) []control.Voter {
	name := "CONTROLLER"
	if set, err := c.Listeners(); err == nil && len(set.Controller) > 0 {
		name = set.Controller[0]
	}
	var out []control.Voter
	for _, v := range voters {
		out = append(out, control.Voter{
			ID: v.ID, DirectoryID: v.DirectoryID, MinVersion: minKRaftVersion, MaxVersion: maxKRaftVersion,
			Endpoints: []control.Endpoint{{Name: name, Host: v.Host, Port: uint16(v.Port)}},
		})
	}
	return out
}

// EnsureFormatted reads the node's identity and formats what is empty, if the configuration says with what.
func EnsureFormatted(fsys storage.FS, c *config.Config, live config.Live, random io.Reader, nowMs int64) (Identity, error) {
	id, empty, err := ReadIdentity(fsys, c)
	if err != nil || len(empty) == 0 {
		return id, err
	}
	req, ok, err := RequestFromConfig(c, live)
	if err != nil {
		return id, err
	}
	if !ok {
		return id, fmt.Errorf("%s: not formatted: run `kraftd format`, or set %s", empty[0], config.KraftClusterID)
	}
	return Format(fsys, c, id, empty, req, random, nowMs)
}

// bootstrapRecords are what an empty cluster begins with, from bootstrap.checkpoint of the metadata log dir. A missing
// file means Kafka's: the latest production metadata.version only.
func bootstrapRecords(fsys storage.FS, c *config.Config) ([]metadata.Record, error) {
	values, err := storage.ReadBootstrapCheckpoint(fsys, c.MetadataLogDir())
	if errors.Is(err, fs.ErrNotExist) {
		return metadata.BootstrapRecords()[:1], nil
	}
	if err != nil {
		return nil, fmt.Errorf("%w; put the file back as it was, or copy another controller's: they are the same", err)
	}
	var recs []metadata.Record
	for _, v := range values {
		rec, _, err := metadata.Decode(v)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path.Join(c.MetadataLogDir(), storage.BootstrapFile), err)
		}
		recs = append(recs, rec)
	}
	return recs, nil
}
