package wire

import (
	"encoding/binary"
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// APIVersionsKey is the one API with header rules of its own: its response header is always v0,
// so that a client that doesn't know the peer's versions yet can read it (KIP-511).
const APIVersionsKey int16 = 18

// RequestHeader is what precedes each request's body.
//
// Shape: int16 key, int16 version, int32 correlation id, nullable string client id, and tags
// where the request's version is flexible (header v2).
type RequestHeader struct {
	Key, Version  int16
	CorrelationID int32
	ClientID      string // "" when null
	HasClientID   bool
}

// minRequestHeader is key, version and correlation id; the client id needs two more.
const minRequestHeader = 8

// ParseRequestHeader splits a frame (without its 4-byte size) into header and body.
//
// Only keys in the table are understood; ErrUnknownAPI otherwise. The version may
// be one that isn't served: the caller checks it, since ApiVersions must be answered then.
func ParseRequestHeader(frame []byte) (h RequestHeader, body []byte, err error) {
	if len(frame) < minRequestHeader {
		return h, nil, fmt.Errorf("request header: %d bytes, want at least %d: %w", len(frame), minRequestHeader, ErrMalformed)
	}
	h.Key = int16(binary.BigEndian.Uint16(frame))
	h.Version = int16(binary.BigEndian.Uint16(frame[2:]))
	h.CorrelationID = int32(binary.BigEndian.Uint32(frame[4:]))
	if _, ok := Lookup(h.Key); !ok {
		return h, nil, fmt.Errorf("request header: key %d: %w", h.Key, ErrUnknownAPI)
	}
	b := frame[minRequestHeader:]
	if len(b) < 2 {
		return h, nil, fmt.Errorf("request header: no client id: %w", ErrMalformed)
	}
	n := int(int16(binary.BigEndian.Uint16(b)))
	b = b[2:]
	if n < -1 || n > len(b) {
		return h, nil, fmt.Errorf("request header: client id of %d bytes, %d left: %w", n, len(b), ErrMalformed)
	}
	if n >= 0 {
		h.ClientID, h.HasClientID = string(b[:n]), true
		b = b[n:]
	}
	if requestFlexible(h.Key, h.Version) {
		if b, err = skipTags(b); err != nil {
			return h, nil, fmt.Errorf("request header: %w", err)
		}
	}
	return h, b, nil
}

// requestFlexible says whether a request of this version has header v2.
// A version above the known ones counts as flexible, as in Kafka.
func requestFlexible(key, version int16) bool {
	req := kmsg.RequestForKey(key)
	if req == nil {
		return false
	}
	req.SetVersion(version)
	return req.IsFlexible()
}

// responseFlexible says whether a response of this version has header v1 (with tags).
func responseFlexible(key, version int16) bool {
	return key != APIVersionsKey && requestFlexible(key, version)
}

// AppendRequest appends a whole frame: 4-byte size, header and body. A nil clientID is null.
func AppendRequest(dst []byte, clientID *string, correlationID int32, req kmsg.Request) []byte {
	start := len(dst)
	dst = append(dst, 0, 0, 0, 0)
	dst = binary.BigEndian.AppendUint16(dst, uint16(req.Key()))
	dst = binary.BigEndian.AppendUint16(dst, uint16(req.GetVersion()))
	dst = binary.BigEndian.AppendUint32(dst, uint32(correlationID))
	if clientID == nil {
		dst = append(dst, 0xff, 0xff)
	} else {
		dst = binary.BigEndian.AppendUint16(dst, uint16(len(*clientID)))
		dst = append(dst, *clientID...)
	}
	if req.IsFlexible() {
		dst = append(dst, 0)
	}
	dst = req.AppendTo(dst)
	binary.BigEndian.PutUint32(dst[start:], uint32(len(dst)-start-4))
	return dst
}

// AppendResponseHeader appends the correlation id and, where the version is flexible, empty tags.
func AppendResponseHeader(dst []byte, key, version int16, correlationID int32) []byte {
	dst = binary.BigEndian.AppendUint32(dst, uint32(correlationID))
	if responseFlexible(key, version) {
		dst = append(dst, 0)
	}
	return dst
}

// AppendResponse appends header and body, without a size: what Envelope.ResponseData carries.
func AppendResponse(dst []byte, correlationID int32, resp kmsg.Response) []byte {
	return resp.AppendTo(AppendResponseHeader(dst, resp.Key(), resp.GetVersion(), correlationID))
}

// ParseResponseHeader splits a response (without its size) into correlation id and body.
// Key and version are those of the request it answers.
func ParseResponseHeader(key, version int16, frame []byte) (correlationID int32, body []byte, err error) {
	if len(frame) < 4 {
		return 0, nil, fmt.Errorf("response header: %d bytes: %w", len(frame), ErrMalformed)
	}
	correlationID = int32(binary.BigEndian.Uint32(frame))
	body = frame[4:]
	if responseFlexible(key, version) {
		if body, err = skipTags(body); err != nil {
			return correlationID, nil, fmt.Errorf("response header: %w", err)
		}
	}
	return correlationID, body, nil
}

// skipTags walks a tag buffer: a count, then (tag, size, bytes) with tags ascending.
// Its time is bounded by the bytes: a count above what they can hold is refused first.
func skipTags(b []byte) ([]byte, error) {
	r := walker{src: b}
	count := r.uvarint()
	if r.bad || uint64(count)*2 > uint64(len(r.src)-r.off) {
		return nil, fmt.Errorf("tag count %d, %d bytes left: %w", count, len(b), ErrMalformed)
	}
	last := int64(-1)
	for ; count > 0 && !r.bad; count-- {
		tag := r.uvarint()
		if int64(tag) <= last {
			return nil, fmt.Errorf("tag %d after %d: %w", tag, last, ErrMalformed)
		}
		last = int64(tag)
		r.skip(int64(r.uvarint()))
	}
	if r.bad {
		return nil, fmt.Errorf("tags end early: %w", ErrMalformed)
	}
	return r.src[r.off:], nil
}
