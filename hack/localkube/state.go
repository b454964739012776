//go:build linux

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"sync"
	"time"
)

// stateRoot holds one folder for each cluster. Nothing of a cluster is kept elsewhere, except the binaries' cache.
const stateRoot = "/var/lib/kraft-localkube"

// Cluster is what is written about a cluster, so that a later command finds it and a later `up` can clear it.
type Cluster struct {
	Name      string    `json:"name"`
	Block     int       `json:"block"`  // second byte of its networks: 10.<block>.0.0/16
	Domain    string    `json:"domain"` // DNS suffix, such as cluster.local
	Nodes     int       `json:"nodes"`
	BinDir    string    `json:"binDir"`
	Ready     bool      `json:"ready"` // up ran to its end
	Processes []Process `json:"processes"`
	CreatedAt time.Time `json:"createdAt"`

	mu sync.Mutex // guards Processes and the file while machines are started side by side
}

// validName bounds a cluster's name: it becomes part of paths, cgroups and host names.
var validName = regexp.MustCompile(`^[a-z]([-a-z0-9]{0,18}[a-z0-9])?$`)

// validDomain is a DNS name in lower case, of at most 63 bytes a label.
var validDomain = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?(\.[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)*$`)

func checkName(name string) error {
	if !validName.MatchString(name) {
		return fmt.Errorf("--name %q: give 1 to 20 of a-z, 0-9 and -, starting with a letter and not ending with -", name)
	}
	return nil
}

func checkDomain(domain string) error {
	if len(domain) > 200 || !validDomain.MatchString(domain) {
		return fmt.Errorf("domain %q: give a DNS name in lower case, such as cluster.local", domain)
	}
	return nil
}

// dir is the cluster's folder.
func (c *Cluster) dir() string { return filepath.Join(stateRoot, c.Name) }

// path is a place in the cluster's folder.
func (c *Cluster) path(elem ...string) string {
	return filepath.Join(append([]string{c.dir()}, elem...)...)
}

func (c *Cluster) kubeconfig() string { return c.path("kubeconfig") }

// bin is the path of a built binary.
func (c *Cluster) bin(name string) string { return filepath.Join(c.BinDir, name) }

// save writes the record, whole or not at all.
func (c *Cluster) save() error {
	data, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		return fmt.Errorf("encoding the record of cluster %s: %w", c.Name, err)
	}
	if err := os.MkdirAll(c.dir(), 0o700); err != nil {
		return fmt.Errorf("making the cluster's folder: %w", err)
	}
	tmp := c.path(".cluster.json.new")
	if err := os.WriteFile(tmp, append(data, '\n'), 0o600); err != nil {
		return fmt.Errorf("writing the cluster's record: %w", err)
	}
	if err := os.Rename(tmp, c.path("cluster.json")); err != nil {
		return fmt.Errorf("writing the cluster's record: %w", err)
	}
	return nil
}

// errNoCluster says that no record of that name exists.
var errNoCluster = errors.New("no such cluster")

// loadCluster reads the record of a cluster.
func loadCluster(name string) (*Cluster, error) {
	if err := checkName(name); err != nil {
		return nil, err
	}
	file := filepath.Join(stateRoot, name, "cluster.json")
	data, err := os.ReadFile(file)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("cluster %q: %w; `localkube up --name %s` makes it", name, errNoCluster, name)
	}
	if err != nil {
		return nil, fmt.Errorf("reading the cluster's record: %w", err)
	}
	var c Cluster
	if err := json.Unmarshal(data, &c); err != nil {
		return nil, fmt.Errorf("%s isn't a cluster's record: %w; `localkube down --name %s` removes it", file, err, name)
	}
	c.Name = name
	return &c, nil
}

// listClusters reads every record; a folder without a readable one is left out.
func listClusters() ([]*Cluster, error) {
	entries, err := os.ReadDir(stateRoot)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("listing clusters: %w", err)
	}
	var all []*Cluster
	for _, e := range entries {
		if !e.IsDir() || !validName.MatchString(e.Name()) {
			continue
		}
		if c, err := loadCluster(e.Name()); err == nil {
			all = append(all, c)
		}
	}
	return all, nil
}

// record adds a process to the record, in memory and on disk.
func (c *Cluster) record(p Process) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.setProcess(p)
	return c.save()
}

// forget removes a process from the record, in memory and on disk.
func (c *Cluster) forget(name string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.dropProcess(name)
	return c.save()
}

// process finds a recorded process by name.
func (c *Cluster) process(name string) (Process, bool) {
	for _, p := range c.Processes {
		if p.Name == name {
			return p, true
		}
	}
	return Process{}, false
}

// setProcess records a process in place of an earlier one of its name.
func (c *Cluster) setProcess(p Process) {
	c.dropProcess(p.Name)
	c.Processes = append(c.Processes, p)
}

func (c *Cluster) dropProcess(name string) {
	kept := c.Processes[:0]
	for _, p := range c.Processes {
		if p.Name != name {
			kept = append(kept, p)
		}
	}
	c.Processes = kept
}
