package node

import (
	"context"
	"reflect"
	"time"

	"github.com/kraft-dev/kraft-operator/internal/config"
)

// liveInterval is how often the file of live settings is read again. A mounted ConfigMap takes up to a minute anyway.
const liveInterval = time.Second

// followLive hands the routes of the file of live settings to the quorum, as they change. A file that can't be read or
// parsed is logged once, and what was read before stays in force.
func (n *Node) followLive(ctx context.Context) error {
	if n.cfg.String(config.KraftLiveConfigFile) == "" {
		<-ctx.Done()
		return nil
	}
	tick := time.NewTicker(liveInterval)
	defer tick.Stop()
	before, complaint := n.liveSettings, ""
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		now, err := readLive(n.cfg)
		if err != nil {
			if err.Error() != complaint {
				n.opt.Logger.Warn("Can't read the live settings; those read before stay in force", "err", err)
			}
			complaint = err.Error()
			continue
		}
		complaint = ""
		if !reflect.DeepEqual(now.Routes, before.Routes) {
			n.opt.Logger.Info("Routes changed", "routes", len(now.Routes))
			n.raft.SetRoutes(routesOf(now))
		}
		before = now
	}
}
