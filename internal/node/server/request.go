package server

import (
	"net/netip"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kraft-dev/kraft-operator/internal/node/auth"
	"github.com/kraft-dev/kraft-operator/internal/node/wire"
)

// ConnInfo is what is known of a connection when one of its requests arrives.
type ConnInfo struct {
	ID               uint64 // never reused within a process
	Listener         string // listener name, such as "CONTROLLER"
	SecurityProtocol string // "PLAINTEXT"
	Principal        auth.Principal
	RemoteAddr       netip.AddrPort
	// From the last valid ApiVersions request (KIP-511); "unknown" before.
	ClientSoftwareName, ClientSoftwareVersion string
}

// Subject is who asks, in the authorizer's terms.
func (c ConnInfo) Subject() auth.Subject {
	return auth.Subject{Principal: c.Principal, Host: c.RemoteAddr.Addr().Unmap(), Listener: c.Listener}
}

// Request is one decoded request that waits for exactly one of Reply, ReplyRaw, ReplyNone or Close.
// Any goroutine may give the answer, at any time; the server keeps the connection's request order.
// The first answer counts, later ones are ignored.
type Request struct {
	Key, Version  int16
	CorrelationID int32
	ClientID      string
	Body          kmsg.Request // byte fields alias the frame, see below
	Conn          ConnInfo
	Received      time.Time

	// Raw is header and body as received, for Envelope.
	//
	// Alias: a Produce's Raw and Records are reused for another request once it is
	// answered. The frames of all other APIs are never reused, so that fields such as a
	// group member's metadata may be kept.
	Raw []byte

	sink   sink
	prompt bool
}

// RawReply is a response body that was encoded by the handler.
type RawReply struct {
	Segments []wire.Segment // the body, without header: the server writes that
	// Release is called exactly once, after the last byte was written or when the
	// connection is gone. Nil is fine.
	Release func()
	// ErrorCode is counted in the metrics.
	ErrorCode int16
}

// sink takes a request's one answer.
type sink interface {
	reply(r *Request, resp kmsg.Response)
	replyRaw(r *Request, raw RawReply)
	replyNone(r *Request)
	close(r *Request, reason error)
	releaseFrame(r *Request)
	closed() bool
}

// Reply answers with resp; its version is set to the request's.
//
// Alias: resp is encoded before Reply returns, but for the RecordBatches of a FetchResponse: they
// are written later, from where they are, and must not change. Use ReplyRaw's Release for
// buffers that are used again.
func (r *Request) Reply(resp kmsg.Response) {
	resp.SetVersion(r.Version)
	r.sink.reply(r, resp)
}

// ReplyPromptly is Reply by a goroutine that writes a small answer itself, as far as the kernel takes it at once. It costs that
// goroutine a system call, and spares an answer for which somebody waits the turn of another one.
func (r *Request) ReplyPromptly(resp kmsg.Response) {
	r.prompt = true
	r.Reply(resp)
}

// ReplyRaw answers with a body that is already encoded in the request's version.
func (r *Request) ReplyRaw(raw RawReply) { r.sink.replyRaw(r, raw) }

// ReplyNone ends a request that has no response: a Produce with acks=0.
func (r *Request) ReplyNone() { r.sink.replyNone(r) }

// Close closes the connection instead of answering, as Kafka does where no error code fits
// (a malformed request, an acks=0 Produce that failed). It is logged at a bounded rate.
func (r *Request) Close(reason error) { r.sink.close(r, reason) }

// ReleaseFrame gives a Produce's frame back before the answer, so that a request that waits for
// acknowledgements holds no memory: Raw and all Records must not be touched afterwards. It does
// nothing for other APIs.
func (r *Request) ReleaseFrame() { r.sink.releaseFrame(r) }

// ConnClosed says that nobody waits for the answer any more. It may become true at any time.
func (r *Request) ConnClosed() bool { return r.sink.closed() }

// Answer is what a detached request was answered with. Exactly one field is set, or none for ReplyNone.
type Answer struct {
	Response kmsg.Response
	Raw      *RawReply
	Closed   error
}

// Detached makes a request that came without a connection of its own: one inside an
// Envelope, or a test's. sink is called exactly once, from the goroutine that answers.
// Header and body are [wire.ParseRequest]'s for Envelope.RequestData.
func Detached(h wire.RequestHeader, body kmsg.Request, conn ConnInfo, raw []byte, received time.Time, done func(Answer)) *Request {
	return &Request{
		Key: h.Key, Version: h.Version, CorrelationID: h.CorrelationID, ClientID: h.ClientID,
		Body: body, Conn: conn, Received: received, Raw: raw,
		sink: &detachedSink{done: done},
	}
}
