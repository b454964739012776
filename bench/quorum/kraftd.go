package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/kraft-dev/kraft-operator/test/cluster"
)

// kraftd is a cluster of this project's nodes, each a process.
type kraftd struct{ c *cluster.Cluster }

func startKraftd(h *host, o options, voters int) (*kraftd, error) {
	return startKraftdWith(h, o, voters, nil)
}

func startKraftdWith(h *host, o options, voters int, settings map[string]string) (*kraftd, error) {
	binary, err := filepath.Abs(o.kraftd)
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(binary); err != nil {
		return nil, fmt.Errorf("%w; make build builds it, -kraftd says where it is", err)
	}
	if err := os.Setenv("KRAFTD", binary); err != nil { // cluster.Binary reads it
		return nil, err
	}
	return &kraftd{cluster.Start(h, cluster.Spec{Controllers: voters, Brokers: 1, Processes: true, Config: settings})}, nil
}

func (k *kraftd) name() string { return "ours" }

func (k *kraftd) controllers() (out []string) {
	for _, n := range k.c.Controllers {
		out = append(out, n.ControllerAddr())
	}
	return out
}

func (k *kraftd) broker() string { return k.c.Brokers[0].Addr() }

func (k *kraftd) leave(id int) error { return k.c.Controllers[id].Stop() }

func (k *kraftd) kill(id int) error {
	k.c.Controllers[id].Kill()
	return nil
}

func (k *kraftd) start(id int) error {
	k.c.Controllers[id].Start()
	k.c.Controllers[id].WaitReady()
	return nil
}

func (k *kraftd) logs() string { return k.c.Logs() }
