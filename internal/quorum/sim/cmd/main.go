// Command cmd plays seeds of the quorum simulation: make sim SEEDS=n [SEED0=s].
package main

import (
	"flag"
	"fmt"
	"os"
	"runtime"

	"github.com/kraft-dev/kraft-operator/internal/quorum/sim"
)

func main() {
	seeds := flag.Int("seeds", 500, "how many seeds to play")
	seed0 := flag.Uint64("seed0", 1, "the first seed")
	lines := flag.Int("trace", 200, "lines of the story to print for a violation")
	stop := flag.Int("stop", 0, "stop after so many violations; 0 plays all seeds")
	workers := flag.Int("workers", runtime.NumCPU(), "seeds to play at a time")
	disk := flag.String("disk", "", "real or fake disks for all seeds; by default every fourth seed has real ones")
	flag.Parse()
	print := func(format string, args ...any) { fmt.Printf(format, args...) }
	o := sim.Options{Seed0: *seed0, Seeds: *seeds, Disk: sim.Disk(*disk), Stop: *stop, TraceLines: *lines, Workers: *workers}
	if o.Play(print) > 0 {
		os.Exit(1)
	}
}
