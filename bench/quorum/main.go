// Command quorum measures the quorum engine beside two others on the same machine, disk and loopback in one run: hashicorp/raft, which
// pushes, and Apache Kafka on the JVM, whose protocol it speaks. It prints a BENCH line for each measurement, whether the
// goal is met or not, and fails only if it could not measure. See docs/benchmarks.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"regexp"
	"strings"
	"time"
)

// options of a run.
type options struct {
	quick  bool
	only   *regexp.Regexp
	dir    string // scratch; the disk that is measured
	out    string // where the plot goes; empty: not drawn
	kraftd string
	kafka  string // folder of Apache Kafka's jars; empty: its lines say so
	rounds int
	// profiles is a folder for CPU profiles of leaders; empty: none.
	profiles string
	load     time.Duration
	slow     time.Duration // gaps above it print the nodes' logs; 0: none do
}

// size picks a count: the full one, or the one of a quick run.
func (o options) size(full, quick int) int {
	if o.quick {
		return quick
	}
	return full
}

// benchmark is one line of the table, or several that are measured together.
type benchmark struct {
	name string
	run  func(h *host, o options) error
}

var benchmarks = []benchmark{
	{"commit_1k", commitThroughput},
	{"commit_1_latency", commitLatency},
	{"leader_cpu_observers", leaderCPU},
	{"handoff_p99_3", func(h *host, o options) error { return handoff(h, o, 3) }},
	{"handoff_p99_5", func(h *host, o options) error { return handoff(h, o, 5) }},
	{"crash_3", crash},
	{"restart_1M", restart},
	{"plot", plotObservers},
}

func main() {
	if len(os.Args) > 1 && os.Args[1] == "replica" {
		if err := serveReplicas(os.Args[2:], os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, "replica:", err)
			os.Exit(1)
		}
		return
	}
	o, err := parse(os.Args[1:])
	if err == nil {
		err = runAll(o)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func parse(args []string) (o options, err error) {
	f := flag.NewFlagSet("quorum", flag.ContinueOnError)
	only := f.String("only", ".", "run the benchmarks whose names match this expression")
	f.BoolVar(&o.quick, "quick", false, "small counts: proves that everything measures, and measures badly")
	f.StringVar(&o.dir, "dir", "", "scratch folder on the disk to measure (default: a new one under the system's)")
	f.StringVar(&o.out, "out", "", "write the plot of leader cost to this folder")
	f.StringVar(&o.kraftd, "kraftd", "bin/kraftd", "the node's binary")
	f.StringVar(&o.kafka, "kafka", "", "folder with Apache Kafka's jars; without it only this project's side is measured there")
	f.DurationVar(&o.slow, "slow", 0, "print the nodes' logs around gaps longer than this")
	f.StringVar(&o.profiles, "profiles", "", "write CPU profiles of the leaders to this folder")
	f.IntVar(&o.rounds, "rounds", 0, "rounds of each load, the engines taking turns; the median counts (default 5, quick 1)")
	f.DurationVar(&o.load, "load", 0, "length of each load (default 8s, quick 1s)")
	if err = f.Parse(args); err != nil {
		return o, err
	}
	if o.rounds == 0 {
		o.rounds = o.size(5, 1)
	}
	if o.load == 0 {
		o.load = time.Duration(o.size(8, 1)) * time.Second
	}
	o.only, err = regexp.Compile(*only)
	return o, err
}

func runAll(o options) (err error) {
	h, err := newHost(o.dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, h.close()) }()
	fmt.Println(machineLine(h.root))
	var failed []error
	for _, b := range benchmarks {
		if !o.only.MatchString(b.name) || b.name == "plot" && o.out == "" {
			continue
		}
		began := time.Now()
		fmt.Printf("# %s\n", b.name)
		if err := h.run(func() error { return b.run(h, o) }); err != nil {
			failed = append(failed, fmt.Errorf("%s: %w", b.name, err))
			fmt.Printf("# %s could not be measured: %v\n", b.name, err)
		}
		fmt.Printf("# %s took %s, load average %s\n", b.name, time.Since(began).Round(time.Second), loadAverage())
	}
	return errors.Join(failed...)
}

// goal says when a measurement passes, in words and in numbers.
type goal struct {
	words string
	met   func(ours, peer float64) bool
}

// line prints one measurement. higher tells whether more is better; the ratio is above 1 where ours is better. Without a
// peer (0) there is no ratio.
func line(name string, ours, peer float64, higher bool, g goal, details ...string) {
	ratio := "-"
	peerText := "-"
	if peer > 0 && ours > 0 {
		r := peer / ours
		if higher {
			r = ours / peer
		}
		ratio, peerText = number(r), number(peer)
	}
	verdict := "FAIL"
	if g.met(ours, peer) {
		verdict = "PASS"
	}
	text := fmt.Sprintf("BENCH %s ours=%s peer=%s ratio=%s goal=%s %s", name, number(ours), peerText, ratio, g.words, verdict)
	fmt.Println(strings.Join(append([]string{text}, details...), " "))
}

// number prints three digits that matter.
func number(v float64) string {
	switch {
	case v >= 100:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	default:
		return fmt.Sprintf("%.3g", v)
	}
}
