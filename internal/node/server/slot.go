package server

import (
	"encoding/binary"
	"sync"
	"sync/atomic"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kraft-dev/kraft-operator/internal/node/wire"
)

// slot is a request's place in its connection's queue, and where its answer is put.
type slot struct {
	Request
	c    *conn
	held int64 // request memory, until the frame is freed

	answered   atomic.Bool
	frameFreed atomic.Bool

	// Set before ready, under c.mu.
	ready   bool
	silent  bool // there is no answer
	head    *[]byte
	body    []wire.Segment
	size    int64 // of head and body
	release func()
	code    int16
}

// Small answers are encoded into buffers that are used again.
const pooledReply = 32 << 10

var replyPool = sync.Pool{New: func() any {
	b := make([]byte, 0, 512)
	return &b
}}

// start begins a frame: size to be filled in, then the response header.
func (s *slot) start() *[]byte {
	b := replyPool.Get().(*[]byte)
	*b = append((*b)[:0], 0, 0, 0, 0)
	*b = wire.AppendResponseHeader(*b, s.Key, s.Version, s.CorrelationID)
	return b
}

func (s *slot) reply(_ *Request, resp kmsg.Response) {
	if fetch, ok := resp.(*kmsg.FetchResponse); ok {
		s.replyRaw(nil, RawReply{Segments: wire.FetchSegments(fetch, nil), ErrorCode: fetch.ErrorCode})
		return
	}
	if !s.answered.CompareAndSwap(false, true) {
		return
	}
	s.head = s.start()
	*s.head = resp.AppendTo(*s.head)
	s.code = errorCode(resp)
	s.finish(int64(len(*s.head) - 4))
}

func (s *slot) replyRaw(_ *Request, raw RawReply) {
	if !s.answered.CompareAndSwap(false, true) {
		if raw.Release != nil {
			raw.Release()
		}
		return
	}
	s.head = s.start()
	size := int64(len(*s.head) - 4)
	for i := range raw.Segments {
		size += raw.Segments[i].Size()
	}
	s.body, s.release, s.code = raw.Segments, raw.Release, raw.ErrorCode
	s.finish(size)
}

func (s *slot) replyNone(*Request) {
	if s.answered.CompareAndSwap(false, true) {
		s.silent = true
		s.finish(0)
	}
}

func (s *slot) close(_ *Request, reason error) {
	if s.answered.CompareAndSwap(false, true) {
		s.freeFrame()
		s.c.close(closedByHandler, reason)
	}
}

func (s *slot) closed() bool {
	select {
	case <-s.c.done:
		return true
	default:
		return false
	}
}

func (s *slot) releaseFrame(*Request) { s.freeFrame() }

// finish completes the frame's size and offers the answer to the writer.
func (s *slot) finish(size int64) {
	s.size = size
	if s.head != nil {
		binary.BigEndian.PutUint32(*s.head, uint32(size))
	}
	s.freeFrame()
	s.c.offer(s)
}

// freeFrame gives the request's bytes back, if they are a Produce's.
func (s *slot) freeFrame() {
	if s.Key != produce || !s.frameFreed.CompareAndSwap(false, true) {
		return
	}
	putFrame(s.Raw)
	s.Raw = nil
	s.c.releaseMemory(s.held)
}

// drop lets go of an answer that was written or never will be.
func (s *slot) drop() {
	if s.head != nil {
		if cap(*s.head) <= pooledReply {
			replyPool.Put(s.head)
		}
		s.head = nil
	}
	s.body = nil
	if s.release != nil {
		s.release()
		s.release = nil
	}
}
