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
	only := flag.String("run", "", "verb, verb/point or verb/point/fault, several by commas; empty: all")
	every := flag.Int("every", 1, "play each so-many-th")
	lines := flag.Int("trace", 60, "lines told of a play that doesn't converge")
	real := flag.Bool("real", false, "play on a real API server, etcd and kube-controller-manager (KUBEBUILDER_ASSETS), with kraftds in process")
	worlds := flag.Int("worlds", 4, "how many plays go on at once on the real ones")
	dir := flag.String("dir", "", "where the real ones keep their files; empty: the system's folder for temporary ones")
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
	ok := false
	if *real {
		ok = crashpoints.MainReal(os.Stdout, *dir, *only, *every, *lines, *worlds)
	} else {
		ok = crashpoints.Main(os.Stdout, *only, *every, *lines)
	}
	if !ok {
		pprof.StopCPUProfile()
		os.Exit(1)
	}
}
