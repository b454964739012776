//go:build mutants

// Command mutants plants one bug after the other in the engine and plays seeds until the simulation finds it:
// make sim-mutants.
package main

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/kraft-dev/kraft-operator/internal/quorum"
	"github.com/kraft-dev/kraft-operator/internal/quorum/sim"
)

func main() {
	seeds := flag.Uint64("seeds", 2000, "how many seeds a mutant may survive")
	only := flag.String("only", "", "play this mutant alone and say what it did")
	lines := flag.Int("trace", 40, "with -only: lines of the story")
	workers := flag.Int("workers", runtime.GOMAXPROCS(0), "seeds played at the same time")
	flag.Parse()
	start := time.Now()
	mutants := quorum.Mutants()
	if *only != "" {
		mutants = slices.DeleteFunc(slices.Clone(mutants), func(m quorum.Mutant) bool { return m.Name != *only })
	}
	caught, last := 0, uint64(0)
	for _, m := range mutants {
		found := hunt(m.Name, *seeds, *workers)
		last = max(last, found.Seed)
		if found.Violation == "" {
			fmt.Printf("mutant=%s survives %d seeds: %s\n", m.Name, *seeds, m.Bug)
			continue
		}
		caught++
		fmt.Printf("mutant=%s caught_by=%s seed=%d events=%d\n", m.Name, found.Check, found.Seed, found.Events)
		if *only != "" {
			story := strings.Split(strings.TrimRight(sim.Run(found.Seed, true).Trace, "\n"), "\n")
			fmt.Printf("pitfall: %s\n%s\nviolation: %s\nscenario: %s\n%s\n", m.Pitfall, m.Bug, found.Violation, found.Scenario,
				strings.Join(story[max(0, len(story)-*lines):], "\n"))
		}
	}
	sound := hunt("", last, *workers)
	violations := 0
	if sound.Violation != "" {
		violations++
		fmt.Printf("without a mutant: seed %d: %s\n", sound.Seed, sound.Violation)
	}
	fmt.Printf("without a mutant: seeds=%d events=%d violations=%d\n", sound.Seed, sound.Events, violations)
	fmt.Printf("took=%s\n", time.Since(start).Round(time.Second))
	fmt.Printf("mutants=%d caught=%d\n", len(mutants), caught)
	if caught < len(mutants) || len(mutants) == 0 || violations > 0 {
		os.Exit(1)
	}
}

// hunt plays a mutant's seeds until one catches it.
func hunt(name string, seeds uint64, workers int) sim.Result {
	if err := quorum.Plant(name); err != nil {
		panic(err)
	}
	return play(seeds, workers)
}
