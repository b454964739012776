// Command quorum checks quorums of kraftd mixed with Apache Kafka's own controllers and brokers: real processes of both, one metadata
// log. hack/interop-quorum.sh installs what it needs and runs it.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"syscall"
	"time"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "interop-quorum:", err)
		os.Exit(1)
	}
}

func run() error {
	var (
		kraftd    = flag.String("kraftd", "bin/kraftd", "binary of kraftd")
		classpath = flag.String("classpath", "", "Java class path with Apache Kafka's server, tools, shell and a log4j binding")
		archive   = flag.String("archive", "", "file with the classes of the class path, made if it isn't there: JVMs start faster with it")
		only      = flag.String("run", "", "regular expression: only the worlds whose names match")
		keep      = flag.Bool("keep", false, "leave disks and logs where they are, and say where")
	)
	flag.Parse()
	if *classpath == "" {
		return errors.New("-classpath is missing: hack/interop-quorum.sh sets it")
	}
	which, err := regexp.Compile(*only)
	if err != nil {
		return err
	}
	binary, err := filepath.Abs(*kraftd)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "quorum")
	if err != nil {
		return err
	}
	h := &harness{checks: checks{out: os.Stdout}, dir: dir, kraftd: binary, classpath: *classpath, archive: *archive, children: children{all: map[*process]bool{}},
		allowed: parseLines(knownLines), ports: map[int]bool{}}
	end := func() {
		h.children.killAll()
		if *keep {
			fmt.Printf("kept: %s\n", dir)
			return
		}
		_ = os.RemoveAll(dir)
	}
	interrupted := make(chan os.Signal, 1)
	signal.Notify(interrupted, os.Interrupt, syscall.SIGTERM)
	go func() {
		fmt.Printf("interrupted: %s\n", <-interrupted)
		end()
		os.Exit(130)
	}()
	defer end()
	return h.all(which)
}

// all runs the worlds one after another.
func (h *harness) all(which *regexp.Regexp) error {
	start := time.Now()
	if h.archive != "" {
		if err := try(h.makeArchive); err != nil {
			return fmt.Errorf("%s: %w", h.archive, err)
		}
	}
	for _, s := range scenarios {
		if !which.MatchString(s.name) {
			continue
		}
		began := time.Now()
		h.world(s)
		fmt.Printf("      %s took %s\n", s.name, time.Since(began).Round(time.Second))
	}
	fmt.Printf("took %s\n", time.Since(start).Round(time.Second))
	return h.close()
}
