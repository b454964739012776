package controller

import (
	"context"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// How often a controller tries to register, and how long one try may take (KIP-919).
const (
	registerTimeout    = 5 * time.Second
	registerBackoff    = 100 * time.Millisecond
	registerBackoffMax = 120 * time.Second
)

// needsRegistration says whether the log lacks this controller's incarnation and could take it.
func (c *core) needsRegistration() bool {
	if c.cfg.Registration == nil {
		return false
	}
	img := c.committed.stable().img
	if !img.MetadataVersion().ControllerRegistration() {
		return false
	}
	own, ok := img.Controller(c.cfg.NodeID)
	return !ok || own.IncarnationID != c.cfg.Registration.IncarnationID
}

// register tells the active controller, which may be this node, who this one is and what it supports, each time wanted
// says that the log doesn't know. It ends with ctx.
func (c *Controller) register(ctx context.Context, wanted <-chan struct{}) {
	wait := registerBackoff
	for {
		select {
		case <-ctx.Done():
			return
		case <-wanted:
		}
		err := c.registerOnce(ctx)
		if err == nil {
			wait = registerBackoff
		} else if ctx.Err() == nil {
			c.cfg.Logger.Info("Registering this controller failed", "retryIn", wait, "err", err)
		}
		timer := c.cfg.Clock.NewTimer(wait)
		wait = min(2*wait, registerBackoffMax)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
		if err == nil {
			select { // noted before this node's log had the registration; if it is wanted still, the next commit says so
			case <-wanted:
			default:
			}
		}
	}
}

func (c *Controller) registerOnce(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, registerTimeout)
	defer cancel()
	req := *c.cfg.Registration
	resp, err := c.cfg.SendToActive(ctx, &req)
	if err != nil {
		return err
	}
	if r, ok := resp.(*kmsg.ControllerRegistrationResponse); ok && r.ErrorCode != 0 {
		return kerr.ErrorForCode(r.ErrorCode)
	}
	return nil
}
