package main

import (
	"fmt"
	"strings"
	"sync"
	"time"
)

// attempts remembers what a writer's requests met that failed or took noticeably long, to say after a long gap where the time went.
type attempts struct {
	mu   sync.Mutex
	list []attempt
}

type attempt struct {
	began time.Time
	took  time.Duration
	to    string
	err   error
}

const (
	noticeable   = 4 * time.Millisecond
	keptAttempts = 1000
)

func (a *attempts) add(began time.Time, to string, err error) {
	took := time.Since(began)
	if err == nil && took < noticeable {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.list) < keptAttempts {
		a.list = append(a.list, attempt{began, took, to, err})
	}
}

func (a *attempts) String() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	var b strings.Builder
	for _, t := range a.list {
		fmt.Fprintf(&b, "time=%s took=%s to=%s err=%v\n", t.began.UTC().Format("2006-01-02T15:04:05.000Z"), micros(t.took), t.to, t.err)
	}
	return b.String()
}
