// Command cmd kills the operator at every write and request of every verb: make crashpoints.
package main

import (
	"flag"
	"os"
	"runtime/debug"
	"runtime/pprof"

	"github.com/kraft-dev/kraft-operator/test/crashpoints"
)

func main() {
	only := flag.String("run", "", "verb, verb/point or verb/point/fault; empty: all")
	every := flag.Int("every", 1, "play each so-many-th")
	lines := flag.Int("trace", 60, "lines told of a play that doesn't converge")
	debug.SetGCPercent(400) // garbage is most of what a play makes
	profile := flag.String("cpuprofile", "", "write a profile here")
	flag.Parse()
	if *profile != "" {
		f, err := os.Create(*profile)
		if err != nil {
			panic(err)
		}
		_ = pprof.StartCPUProfile(f)
		defer pprof.StopCPUProfile()
	}
	if !crashpoints.Main(os.Stdout, *only, *every, *lines) {
		pprof.StopCPUProfile()
		os.Exit(1)
	}
}
