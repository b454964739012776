package load

import (
	"context"
	"fmt"
	"os"
	"sync"
	"time"
)

// Machine books when the machine itself stood: all nodes of a cluster of plain processes share one disk and its processors, so that a slow
// fsync there is one on every voter at once, and no majority hides it. It excuses no gap; it tells a cluster's from a machine's. The zero
// value is ready.
type Machine struct {
	mu        sync.Mutex
	disk      []Gap // fsyncs of a few bytes
	processor []Gap // a timer that ran late
}

// machineEvery is how often disk and processors are looked at. A stall is what takes longer than machineStall: both take less than a
// millisecond when there is nothing else to do. At most mostGaps of each are kept.
const (
	machineEvery = 25 * time.Millisecond
	machineStall = 25 * time.Millisecond
)

// Watch looks until ctx ends, at the disk by a file in dir that it removes.
func (m *Machine) Watch(ctx context.Context, dir string) error {
	f, err := os.CreateTemp(dir, "fsync-probe-*")
	if err != nil {
		return fmt.Errorf("probe of the disk: %w", err)
	}
	defer os.Remove(f.Name())
	defer f.Close()
	var late sync.WaitGroup
	late.Go(func() { m.wait(ctx) })
	defer late.Wait()
	t := time.NewTicker(machineEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
		}
		from := time.Now()
		_, err := f.WriteAt([]byte("are you there?\n"), 0)
		if err == nil {
			err = f.Sync()
		}
		if err != nil {
			return fmt.Errorf("probe of the disk: %w", err)
		}
		m.book(&m.disk, Gap{From: from, Took: time.Since(from)})
	}
}

// wait sleeps again and again; what a sleep takes too long is a wait for a processor.
func (m *Machine) wait(ctx context.Context) {
	for ctx.Err() == nil {
		due := time.Now().Add(machineEvery)
		select {
		case <-ctx.Done():
		case <-time.After(machineEvery):
			m.book(&m.processor, Gap{From: due, Took: time.Since(due)})
		}
	}
}

func (m *Machine) book(to *[]Gap, g Gap) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if g.Took > machineStall && len(*to) < mostGaps {
		*to = append(*to, g)
	}
}

// During returns the longest stalls of disk and processor, each 0 if there was none, of those that share time with g.
func (m *Machine) During(g Gap) (disk, processor time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	longest := func(of []Gap) (took time.Duration) {
		for _, s := range of {
			if s.From.Before(g.From.Add(g.Took)) && g.From.Before(s.From.Add(s.Took)) {
				took = max(took, s.Took)
			}
		}
		return took
	}
	return longest(m.disk), longest(m.processor)
}
