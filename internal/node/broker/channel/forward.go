package channel

import (
	"context"
	"fmt"
	"net/netip"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kraft-dev/kraft-operator/internal/node/auth"
)

// Forward sends a client's request (header and body as received) to the active controller inside an Envelope, and returns
// the inner response: its header and body.
//
// Errors: ErrNoController; a *kerr.Error when the controller refused the envelope itself.
func (c *Channel) Forward(ctx context.Context, raw []byte, principal auth.Principal, client netip.Addr) ([]byte, error) {
	req := kmsg.NewPtrEnvelopeRequest()
	req.RequestData = raw
	p, err := principal.AppendBinary(nil)
	if err != nil {
		return nil, fmt.Errorf("forwarding: principal %s: %w", principal, err)
	}
	req.RequestPrincipal = p
	req.ClientHostAddress = client.Unmap().AsSlice()
	resp, err := c.Do(ctx, req)
	if err != nil {
		return nil, fmt.Errorf("forwarding: %w", err)
	}
	env, ok := resp.(*kmsg.EnvelopeResponse)
	if !ok {
		return nil, fmt.Errorf("forwarding: answered with %T", resp)
	}
	if err := kerr.ErrorForCode(env.ErrorCode); err != nil {
		return nil, fmt.Errorf("forwarding: %w", err)
	}
	return env.ResponseData, nil
}
