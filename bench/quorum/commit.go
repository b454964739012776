package main

import (
	"fmt"
	"path/filepath"
	"slices"
	"time"
)

// rounds lets quorums of several kinds, one after the other, take the same load a number of times, and returns each kind's outcomes.
func rounds(h *host, o options, load order, kinds ...string) (map[string][]outcome, error) {
	groups := map[string]*group{}
	for _, k := range kinds {
		g, err := startGroup(h, k, 3, 0)
		if err != nil {
			return nil, err
		}
		groups[k] = g
	}
	all := map[string][]outcome{}
	for i := range o.rounds {
		for j := range kinds {
			k := kinds[(i+j)%len(kinds)]
			out, err := groups[k].load(o.profiled(load, k))
			if err != nil {
				return nil, err
			}
			fmt.Printf("#   %-9s writers=%d commits/s=%.0f p50=%s p99=%s leader_cpu_us=%.1f\n", k, load.Writers, perSecond(out), micros(out.P50), micros(out.P99), cpuMicros(out))
			all[k] = append(all[k], out)
		}
	}
	return all, nil
}

// profiled asks for a profile of a load, where the run wants some.
func (o options) profiled(l order, name string) order {
	if o.profiles != "" {
		l.Profile = filepath.Join(o.profiles, fmt.Sprintf("%s-%d-writers-rate-%d.pprof", name, l.Writers, l.Rate))
	}
	return l
}

func perSecond(o outcome) float64 { return float64(o.Commits) / o.Took.Seconds() }

func cpuMicros(o outcome) float64 { return float64(o.CPU.Microseconds()) / float64(o.Commits) }

func micros(d time.Duration) string { return d.Round(time.Microsecond).String() }

// median of a measure over the rounds.
func median(outs []outcome, of func(outcome) float64) float64 {
	var v []float64
	for _, o := range outs {
		v = append(v, of(o))
	}
	slices.Sort(v)
	return v[len(v)/2]
}

// commitThroughput: a thousand writers that wait for their commit, fsync on.
func commitThroughput(h *host, o options) error {
	all, err := rounds(h, o, order{Writers: 1000, For: o.load}, pull, pushWAL, pushBolt)
	if err != nil {
		return err
	}
	peer, store := median(all[pushWAL], perSecond), "raft-wal"
	if b := median(all[pushBolt], perSecond); b > peer {
		peer, store = b, "raft-boltdb"
	}
	line("commit_1k", median(all[pull], perSecond), peer, true,
		goal{"ratio>=1.5", func(a, b float64) bool { return a >= 1.5*b }}, "unit=commits/s", "peer_store="+store)
	return nil
}

// commitLatency: one writer, the median of its commits.
func commitLatency(h *host, o options) error {
	all, err := rounds(h, o, order{Writers: 1, For: o.load}, pull, pushWAL, pushBolt)
	if err != nil {
		return err
	}
	p50 := func(o outcome) float64 { return float64(o.P50.Nanoseconds()) / 1e3 }
	peer, store := median(all[pushWAL], p50), "raft-wal"
	if b := median(all[pushBolt], p50); b < peer {
		peer, store = b, "raft-boltdb"
	}
	line("commit_1_latency", median(all[pull], p50), peer, false,
		goal{"ratio>=1", func(a, b float64) bool { return a <= b }}, "unit=us", "peer_store="+store)
	return nil
}
