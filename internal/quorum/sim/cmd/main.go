// Command cmd plays seeds of the quorum simulation: make sim SEEDS=n [SEED0=s].
package main

import (
	"flag"
	"fmt"
	"os"

	"github.com/kraft-dev/kraft-operator/internal/quorum/sim"
)

func main() {
	seeds := flag.Int("seeds", 500, "how many seeds to play")
	seed0 := flag.Uint64("seed0", 1, "the first seed")
	lines := flag.Int("trace", 200, "lines of the story to print for a violation")
	stop := flag.Int("stop", 0, "stop after so many violations; 0 plays all seeds")
	disk := flag.String("disk", "", "real or fake disks for all seeds; by default every fourth seed has real ones")
	flag.Parse()
	print := func(format string, args ...any) { fmt.Printf(format, args...) }
	if sim.ReportOn(sim.Disk(*disk), *seed0, *seeds, *stop, *lines, print) > 0 {
		os.Exit(1)
	}
}
