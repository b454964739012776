package broker

import (
	"sync"
	"time"
)

// imageWaits are requests that wait a moment for metadata that is on its way: a list and a timer each, never a goroutine.
type imageWaits struct {
	mu   sync.Mutex
	open map[*imageWait]bool
}

type imageWait struct {
	ready func() bool
	then  func()
	timer *time.Timer
}

// wait calls then once: when ready is true of an image that was taken, or after the timeout.
func (w *imageWaits) wait(timeout time.Duration, ready func() bool, then func()) {
	x := &imageWait{ready: ready, then: then}
	w.mu.Lock()
	if w.open == nil {
		w.open = map[*imageWait]bool{}
	}
	w.open[x] = true
	x.timer = time.AfterFunc(timeout, func() { w.finish(x) })
	w.mu.Unlock()
	if ready() { // an image came between the caller's look and now
		w.finish(x)
	}
}

func (w *imageWaits) finish(x *imageWait) {
	w.mu.Lock()
	waits := w.open[x]
	delete(w.open, x)
	w.mu.Unlock()
	if waits {
		x.timer.Stop()
		x.then()
	}
}

// imageTaken looks at who waits.
func (w *imageWaits) imageTaken() {
	w.mu.Lock()
	open := make([]*imageWait, 0, len(w.open))
	for x := range w.open {
		open = append(open, x)
	}
	w.mu.Unlock()
	for _, x := range open {
		if x.ready() {
			w.finish(x)
		}
	}
}
