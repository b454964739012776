//go:build mutants

// Command mutants plants one bug after the other in the operator and plays the planners' simulations, or crash points,
// until one finds it: make planner-mutants.
package main

import (
	"flag"
	"fmt"
	"math"
	"os"
	"slices"
	"time"

	"github.com/kraft-dev/kraft-operator/controllers/plan/planted"
	"github.com/kraft-dev/kraft-operator/controllers/plan/sim"
	"github.com/kraft-dev/kraft-operator/test/crashpoints"
)

func main() {
	only := flag.String("only", "", "plant this one alone, and tell what it did")
	flag.Parse()
	start := time.Now()
	list := planted.Mutants()
	if *only != "" {
		list = slices.DeleteFunc(slices.Clone(list), func(m planted.Mutant) bool { return m.Name != *only })
	}
	caught := 0
	plays := map[string]int{} // by verb, what sound planners have to pass as well
	for _, m := range list {
		if err := planted.Plant(m.Name); err != nil {
			panic(err)
		}
		if m.Verb != "" && inCrashPoints(m, plays) || m.Verb == "" && inSimulations(m, *only != "") {
			caught++
		} else {
			fmt.Printf("mutant=%s survives: %s\n", m.Name, m.Bug)
		}
	}
	violations := sound(plays)
	fmt.Printf("took=%s\n", time.Since(start).Round(time.Second))
	fmt.Printf("mutants=%d caught=%d\n", len(list), caught)
	if caught < len(list) || len(list) == 0 || violations > 0 {
		os.Exit(1)
	}
}

// inSimulations plays every simulation's seeds, a few of each at a time, until a rule is broken.
func inSimulations(m planted.Mutant, tell bool) bool {
	const few = 10
	more := true
	for first := uint64(0); more; first += few {
		more = false
		for _, s := range sim.All() {
			for seed := first; seed < min(first+few, s.Seeds); seed++ {
				if broken := s.Play(seed); broken != nil {
					fmt.Printf("mutant=%s caught_by=%s/%s seed=%d\n", m.Name, s.Name, broken.Rule, seed)
					if tell {
						fmt.Printf("%s\n%s\n", m.Bug, broken)
					}
					return true
				}
			}
			more = more || first+few < s.Seeds
		}
	}
	return false
}

// inCrashPoints plays the mutant's verb until a rule is broken, or the end isn't reached.
func inCrashPoints(m planted.Mutant, plays map[string]int) bool {
	found := crashpoints.First(m.Verb, math.MaxInt)
	if found == nil {
		return false
	}
	plays[m.Verb] = max(plays[m.Verb], found.Plays)
	fmt.Printf("mutant=%s caught_by=crashpoints point=%s: %s\n", m.Name, found.Where, found.What)
	return true
}

// sound plays the same without a mutant, and counts what is wrong then.
func sound(plays map[string]int) (violations int) {
	if err := planted.Plant(""); err != nil {
		panic(err)
	}
	seeds, points := uint64(0), 0
	for _, s := range sim.All() {
		for seed := range s.Seeds {
			if broken := s.Play(seed); broken != nil {
				violations++
				fmt.Printf("without a mutant: %s, seed %d: %s\n", s.Name, seed, broken)
			}
		}
		seeds += s.Seeds
	}
	for verb, most := range plays {
		if found := crashpoints.First(verb, most); found != nil {
			violations++
			fmt.Printf("without a mutant: %s: %s\n", found.Where, found.What)
		}
		points += most
	}
	fmt.Printf("without a mutant: seeds=%d points=%d violations=%d\n", seeds, points, violations)
	return violations
}
