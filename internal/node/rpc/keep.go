package rpc

import (
	"context"
	"errors"
	"sync"
	"time"
)

// keepEvery is how often KeepConnected looks, and for how long it tries then.
const keepEvery = 2 * time.Second

// KeepConnected makes connections to the addresses, which are read anew each time, before there is anything to send, and makes them anew
// when they are gone, until ctx ends: whoever has to be asked in a hurry is asked without a name to resolve, a connection and a handshake
// first. Who can't be reached is tried again after each back-off. It returns after its attempts have ended.
func (c *Client) KeepConnected(ctx context.Context, addrs func() []string) {
	var attempts sync.WaitGroup
	defer attempts.Wait()
	tick := time.NewTicker(keepEvery)
	defer tick.Stop()
	for {
		for _, addr := range addrs() {
			attempts.Go(func() { c.tryToConnect(ctx, addr) })
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// tryToConnect tries until there is a connection to addr, for keepEvery at most.
func (c *Client) tryToConnect(ctx context.Context, addr string) {
	ctx, cancel := context.WithTimeout(ctx, keepEvery)
	defer cancel()
	for ctx.Err() == nil {
		err := c.Connect(ctx, addr) // after the back-off
		if err == nil || errors.Is(err, ErrBackoff) || errors.Is(err, ErrClosed) {
			return
		}
	}
}
