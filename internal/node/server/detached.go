package server

import (
	"sync/atomic"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// detachedSink hands the first answer to a function.
type detachedSink struct {
	answered atomic.Bool
	done     func(Answer)
}

func (d *detachedSink) answer(a Answer) {
	if d.answered.CompareAndSwap(false, true) {
		d.done(a)
	}
}

func (d *detachedSink) reply(_ *Request, resp kmsg.Response) { d.answer(Answer{Response: resp}) }
func (d *detachedSink) replyRaw(_ *Request, raw RawReply)    { d.answer(Answer{Raw: &raw}) }
func (d *detachedSink) replyNone(*Request)                   { d.answer(Answer{}) }
func (d *detachedSink) close(_ *Request, reason error)       { d.answer(Answer{Closed: reason}) }
func (d *detachedSink) releaseFrame(*Request)                {}
func (d *detachedSink) closed() bool                         { return false }
