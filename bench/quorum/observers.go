package main

import (
	"fmt"
	"time"
)

// loads are the two at which the leader's cost is taken.
var loads = []struct {
	name  string
	order order
}{
	{"1kHz", order{Writers: 256, Rate: 1000}},
	{"1000_writers", order{Writers: 1000}},
}

// cost is the leader's CPU a committed record beside so many observers.
type cost struct {
	kind      string
	observers int
	load      string
	cpuMicros float64
	commits   float64 // a second
	lag       outcome // of the observers
}

func (c cost) String() string {
	return fmt.Sprintf("%-9s observers=%d load=%s leader_cpu_us=%.1f commits/s=%.0f lag_p50=%s lag_p99=%s",
		c.kind, c.observers, c.load, c.cpuMicros, c.commits, micros(c.lag.P50), micros(c.lag.P99))
}

// costs measures one kind of quorum beside some observers under both loads.
func costs(h *host, o options, kind string, observers int) ([]cost, error) {
	g, err := startGroup(h, kind, 3, observers)
	if err != nil {
		return nil, err
	}
	defer g.stop()
	if err := waitFor("observers of "+kind, time.Minute, func() bool {
		_, err = g.load(order{Writers: 16, For: 200 * time.Millisecond})
		if err != nil {
			return true
		}
		lag, lagErr := g.lag()
		err = lagErr
		return err != nil || observers == 0 || lag.Samples >= observers
	}); err != nil {
		return nil, err
	}
	if err != nil {
		return nil, err
	}
	var all []cost
	for _, l := range loads {
		var outs []outcome
		var lags []outcome
		for range o.rounds {
			load := l.order
			load.For = o.load
			out, err := g.load(o.profiled(load, kind))
			if err != nil {
				return nil, err
			}
			lag, err := g.lag()
			if err != nil {
				return nil, err
			}
			outs, lags = append(outs, out), append(lags, lag)
		}
		c := cost{kind: kind, observers: observers, load: l.name, cpuMicros: median(outs, cpuMicros), commits: median(outs, perSecond)}
		c.lag.P50 = time.Duration(median(lags, func(o outcome) float64 { return float64(o.P50) }))
		c.lag.P99 = time.Duration(median(lags, func(o outcome) float64 { return float64(o.P99) }))
		fmt.Printf("#   %s\n", c)
		all = append(all, c)
	}
	return all, nil
}

// leaderCPU: three voters and a hundred observers.
func leaderCPU(h *host, o options) error {
	observers := o.size(100, 10)
	o.rounds = min(o.rounds, 3)
	ours, err := costs(h, o, pull, observers)
	if err != nil {
		return err
	}
	peer, err := costs(h, o, pushWAL, observers)
	if err != nil {
		return err
	}
	for i, l := range loads {
		line("leader_cpu_observers", ours[i].cpuMicros, peer[i].cpuMicros, false,
			goal{"ratio>=2", func(a, b float64) bool { return 2*a <= b }}, "unit=us/record", "load="+l.name, fmt.Sprintf("observers=%d", observers),
			fmt.Sprintf("lag_p99_ms=%.1f/%.1f", ours[i].lag.P99.Seconds()*1e3, peer[i].lag.P99.Seconds()*1e3),
			fmt.Sprintf("commits/s=%.0f/%.0f", ours[i].commits, peer[i].commits))
	}
	return nil
}
