package sim

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
)

// Options say which seeds to play, and how.
type Options struct {
	Seed0      uint64
	Seeds      int
	Disk       Disk
	Stop       int // after so many violations; 0: play all
	TraceLines int // of the story, for a violation
	Workers    int // seeds played at a time; 0 is 1
}

// Report plays seeds, at most until stop violations are found (0: all), and prints what make sim promises. It returns
// the number of violations.
func Report(seed0 uint64, seeds, stop, traceLines int, print func(format string, args ...any)) int {
	return Options{Seed0: seed0, Seeds: seeds, Stop: stop, TraceLines: traceLines}.Play(print)
}

// Play plays the seeds and prints every violation, what happened, and a closing line. It returns the number of violations.
func (o Options) Play(print func(format string, args ...any)) int {
	var (
		next     atomic.Int64
		mu       sync.Mutex // guards what follows
		events   int
		played   int
		bad      []Result
		happened = map[string]int{}
		workers  sync.WaitGroup
	)
	stopped := func() bool {
		mu.Lock()
		defer mu.Unlock()
		return o.Stop > 0 && len(bad) >= o.Stop
	}
	for range max(o.Workers, 1) {
		workers.Go(func() {
			for i := next.Add(1) - 1; i < int64(o.Seeds) && !stopped(); i = next.Add(1) - 1 {
				res := RunOn(o.Seed0+uint64(i), o.Disk, false)
				mu.Lock()
				played++
				events += res.Events
				for what, n := range res.Happened {
					happened[what] += n
				}
				if res.Violation != "" {
					bad = append(bad, res)
				}
				mu.Unlock()
			}
		})
	}
	workers.Wait()
	slices.SortFunc(bad, func(a, b Result) int { return int(int64(a.Seed - b.Seed)) })
	for _, res := range bad {
		o.printViolation(res, print)
	}
	print("%s\n", summary(happened))
	print("seeds=%d events=%d violations=%d\n", played, events, len(bad))
	return len(bad)
}

func (o Options) printViolation(res Result, print func(format string, args ...any)) {
	traced := RunOn(res.Seed, o.Disk, true)
	lines := strings.Split(strings.TrimRight(traced.Trace, "\n"), "\n")
	lines = lines[len(lines)-min(len(lines), o.TraceLines):]
	replay := fmt.Sprintf("make sim SEEDS=1 SEED0=%d", res.Seed)
	if o.Disk != SeedsDisk {
		replay += " DISK=" + string(o.Disk)
	}
	print("violation: seed=%d: %s\n  scenario: %s\n  replay: %s\n  the last %d lines of the story:\n%s\n",
		res.Seed, res.Violation, res.Scenario, replay, len(lines), strings.Join(lines, "\n"))
}

func summary(happened map[string]int) string {
	var out []string
	for _, what := range slices.Sorted(maps.Keys(happened)) {
		out = append(out, fmt.Sprintf("%s=%d", strings.ReplaceAll(what, " ", "_"), happened[what]))
	}
	return strings.Join(out, " ")
}
