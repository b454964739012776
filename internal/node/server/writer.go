package server

import (
	"io"
	"net"
	"slices"
	"time"

	"github.com/kraft-dev/kraft-operator/internal/node/trywrite"
	"github.com/kraft-dev/kraft-operator/internal/node/wire"
)

// offer makes a slot's answer ready and starts the writer if it is the oldest request's.
func (c *conn) offer(s *slot) {
	c.mu.Lock()
	if c.isClosed {
		c.mu.Unlock()
		s.drop()
		return
	}
	s.ready = true
	start, prompt := !c.writing && c.queue[0] == s, false
	if start {
		c.writing = true
		if prompt = s.prompt && s.flatten(); prompt {
			c.queue = slices.Delete(c.queue, 0, 1)
		}
	}
	c.mu.Unlock()
	if start && !(prompt && c.writeNow(s)) {
		go c.write() // serve waits for it
	}
}

// writeNow sends an answer that was taken off the queue from here, as far as the kernel takes it at once; false if there is more to write.
func (c *conn) writeNow(s *slot) (done bool) {
	n, err := c.now.Write(*s.head)
	c.lis.metrics.sent.Add(float64(n))
	rest := (*s.head)[n:]
	if err != nil || len(rest) == 0 {
		c.written(append(c.out.store[:0], s), err)
		if err != nil {
			c.close(closedNetwork, err)
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.isClosed:
		if err == nil && len(rest) > 0 {
			s.drop()
			c.lis.metrics.inFlight.Dec()
		}
	case len(rest) > 0:
		*s.head = rest
		c.queue = slices.Insert(c.queue, 0, s)
		return false
	case len(c.queue) > 0 && c.queue[0].ready:
		return false
	}
	c.writing = false
	c.settled.Broadcast()
	return true
}

// flatten moves the body of a small answer behind the head; false if it is silent, large, or part of it is in a file.
func (s *slot) flatten() bool {
	if s.silent || s.size > trywrite.Largest/2 {
		return false
	}
	for i := range s.body {
		if s.body[i].File != nil {
			return false
		}
	}
	for i := range s.body {
		*s.head = append(*s.head, s.body[i].Bytes...)
	}
	s.body = nil
	return true
}

// write sends ready answers in request order until the oldest request has none.
func (c *conn) write() {
	w := &c.out
	w.init(c)
	for {
		c.mu.Lock()
		n := 0
		for n < len(c.queue) && c.queue[n].ready {
			n++
		}
		if n == 0 || c.isClosed {
			c.writing = false
			c.settled.Broadcast()
			c.mu.Unlock()
			return
		}
		batch := append(w.batch[:0], c.queue[:n]...)
		c.queue = append(c.queue[:0], c.queue[n:]...)
		clear(c.queue[len(c.queue):cap(c.queue)])
		c.mu.Unlock()

		err := w.send(batch)
		clear(batch)
		if err != nil {
			c.close(closedNetwork, err) // and end above
		}
	}
}

// written lets go of answers whose bytes the kernel has, and makes room for as many requests.
func (c *conn) written(batch []*slot, err error) {
	now := time.Now()
	c.mu.Lock()
	c.activity = now
	c.mu.Unlock()
	for _, s := range batch {
		s.drop()
		c.lis.metrics.inFlight.Dec()
		if err == nil {
			c.lis.metrics.answered(s.Key, s.code, now.Sub(s.Received))
		}
		<-c.slots
	}
}

// outgoing writes answers: memory together (writev), files by the kernel.
type outgoing struct {
	c       *conn
	store   [8]*slot
	batch   []*slot
	buffers net.Buffers
	size    int
	until   time.Time // the deadline of writing that was set last
}

func (w *outgoing) init(c *conn) {
	w.c = c
	w.batch = w.store[:0]
}

// writeStep is how much a peer must take within one write timeout.
const writeStep = 1 << 20

// flushAt is how much is gathered of several answers before they are written.
const flushAt = 64 << 10

// send writes a batch and reports each answer as written as soon as it is.
func (w *outgoing) send(batch []*slot) error {
	done := 0
	gathered := int64(0) // since done, flushed or not
	for i, s := range batch {
		err := w.answer(s)
		gathered += s.size
		if err == nil && (gathered >= flushAt || i == len(batch)-1) {
			err = w.flush()
		}
		if err != nil {
			w.c.written(batch[done:], err)
			return err
		}
		if w.size == 0 {
			w.c.written(batch[done:i+1], nil)
			done, gathered = i+1, 0
		}
	}
	return nil
}

func (w *outgoing) answer(s *slot) error {
	if s.silent {
		return nil
	}
	if err := w.add(*s.head); err != nil {
		return err
	}
	for i := range s.body {
		if err := w.segment(&s.body[i]); err != nil {
			return err
		}
	}
	return nil
}

func (w *outgoing) segment(s *wire.Segment) error {
	if s.File == nil {
		return w.add(s.Bytes)
	}
	if err := w.flush(); err != nil {
		return err
	}
	for off, left := s.Off, s.Len; left > 0; {
		if err := w.deadline(); err != nil {
			return err
		}
		n, err := copyFile(w.c.nc, s.File, off, min(left, writeStep))
		w.c.lis.metrics.sent.Add(float64(n))
		if err != nil {
			return err
		}
		off, left = off+n, left-n
	}
	return nil
}

// add queues bytes for the next flush, and flushes each full step.
func (w *outgoing) add(b []byte) error {
	for len(b) > 0 {
		n := min(len(b), writeStep-w.size)
		w.buffers = append(w.buffers, b[:n])
		w.size += n
		b = b[n:]
		if w.size == writeStep {
			if err := w.flush(); err != nil {
				return err
			}
		}
	}
	return nil
}

func (w *outgoing) flush() error {
	if w.size == 0 {
		return nil
	}
	if err := w.deadline(); err != nil {
		return err
	}
	all := w.buffers
	n, err := w.buffers.WriteTo(w.c.nc)
	w.c.lis.metrics.sent.Add(float64(n))
	clear(all)
	w.buffers, w.size = all[:0], 0
	return err
}

func (w *outgoing) deadline() error {
	timeout := w.c.srv.cfg.WriteTimeout
	if now := time.Now(); w.until.Sub(now) < timeout-timeout/16 {
		w.until = now.Add(timeout)
		return w.c.nc.SetWriteDeadline(w.until)
	}
	return nil
}

// copyFile sends n bytes of a file from off: without passing through this process where it can.
// A file that ends early is io.ErrUnexpectedEOF: the frame's size was already sent.
func copyFile(nc net.Conn, f io.ReaderAt, off, n int64) (int64, error) {
	if sent, err, ok := sendFile(nc, f, off, n); ok {
		return sent, err
	}
	sent, err := io.Copy(nc, io.NewSectionReader(f, off, n))
	if err == nil && sent < n {
		err = io.ErrUnexpectedEOF
	}
	return sent, err
}
