package wire

import (
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// DecodeRequest checks a request's body and decodes it.
//
// Bound:  time and memory are proportional to the body (see [Check]).
// Alias:  byte fields (Records, protocol metadata) point into body; strings are copied.
// Errors: ErrUnknownAPI, ErrUnsupportedVersion (of the table in this package; a listener may
// serve less), ErrMalformed, ErrTooLarge.
func DecodeRequest(h RequestHeader, body []byte) (kmsg.Request, error) {
	api, ok := Lookup(h.Key)
	if !ok {
		return nil, fmt.Errorf("key %d: %w", h.Key, ErrUnknownAPI)
	}
	if !api.Supports(h.Version) {
		return nil, fmt.Errorf("%s v%d, served are %d to %d: %w", api.Name, h.Version, api.Min, api.Max, ErrUnsupportedVersion)
	}
	if err := CheckRequest(h.Key, h.Version, body); err != nil {
		return nil, err
	}
	req := kmsg.RequestForKey(h.Key)
	req.SetVersion(h.Version)
	if err := req.ReadFrom(body); err != nil {
		return nil, fmt.Errorf("%s v%d: %w: %w", api.Name, h.Version, ErrMalformed, err)
	}
	return req, nil
}

// ParseRequest is header and body in one: what Envelope.RequestData holds.
func ParseRequest(data []byte) (RequestHeader, kmsg.Request, error) {
	h, body, err := ParseRequestHeader(data)
	if err != nil {
		return h, nil, err
	}
	req, err := DecodeRequest(h, body)
	return h, req, err
}

// DecodeResponse checks a response's body and decodes it into resp, whose version is already set.
// Bounds, aliasing and errors are DecodeRequest's.
func DecodeResponse(resp kmsg.Response, body []byte) error {
	if err := CheckResponse(resp.Key(), resp.GetVersion(), body); err != nil {
		return err
	}
	if err := resp.ReadFrom(body); err != nil {
		return fmt.Errorf("%s response v%d: %w: %w", kmsg.NameForKey(resp.Key()), resp.GetVersion(), ErrMalformed, err)
	}
	return nil
}
