package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
)

// checks counts named checks and prints each as it ends.
type checks struct {
	out            io.Writer
	passed, failed int
	failures       []string
}

// failure is what ends a check; it travels as a panic from wherever the check gave up.
type failure struct{ err error }

// give up on the check that is running.
func failf(format string, args ...any) { panic(failure{fmt.Errorf(format, args...)}) }

// need gives up if err isn't nil.
func need(err error, format string, args ...any) {
	if err != nil {
		failf("%s: %w", fmt.Sprintf(format, args...), err)
	}
}

// want gives up unless the condition holds.
func want(ok bool, format string, args ...any) {
	if !ok {
		failf(format, args...)
	}
}

// try runs f and returns what it gave up over.
func try(f func()) (err error) {
	defer func() {
		if r := recover(); r != nil {
			gaveUp, ok := r.(failure)
			if !ok {
				panic(r)
			}
			err = gaveUp.err
		}
	}()
	f()
	return nil
}

// check runs f as one named check and tells whether it passed.
func (c *checks) check(name string, f func()) bool {
	start := time.Now()
	err := try(f)
	took := time.Since(start).Round(time.Millisecond)
	if err == nil {
		c.passed++
		fmt.Fprintf(c.out, "ok    %s (%s)\n", name, took)
		return true
	}
	c.failed++
	c.failures = append(c.failures, name)
	fmt.Fprintf(c.out, "FAIL  %s (%s)\n      %s\n", name, took, strings.ReplaceAll(shortened(err.Error()), "\n", "\n      "))
	return false
}

// shortened keeps a message's beginning and end where a log or a tool's output makes it long.
func shortened(message string) string {
	const most = 4000
	if len(message) <= most {
		return message
	}
	return message[:most/2] + "\n…\n" + message[len(message)-most/2:]
}

// close prints the closing line; the error says that something failed.
func (c *checks) close() error {
	for _, name := range c.failures {
		fmt.Fprintf(c.out, "failed: %s\n", name)
	}
	fmt.Fprintf(c.out, "%d passed, %d failed\n", c.passed, c.failed)
	switch {
	case c.failed > 0:
		return errors.New("checks failed")
	case c.passed == 0:
		return errors.New("no check ran")
	}
	return nil
}

// errHopeless ends a wait before its time.
var errHopeless = errors.New("no use waiting")

// eventually waits until cond is nil and gives up with its last error after within, or at once if that is errHopeless.
func eventually(within time.Duration, what string, cond func() error) {
	deadline := time.NewTimer(within)
	defer deadline.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := try(func() {
			if err := cond(); err != nil {
				panic(failure{err})
			}
		})
		if err == nil {
			return
		}
		if errors.Is(err, errHopeless) {
			failf("%s: %w", what, err)
		}
		select {
		case <-tick.C:
		case <-deadline.C:
			failf("not within %s: %s: %w", within, what, err)
		}
	}
}
