package rpc

import (
	"context"
	"sync"
	"time"
)

// keepEvery is how often KeepConnected looks, and how long an attempt of it may take.
const keepEvery = 2 * time.Second

// KeepConnected makes connections to the addresses, which are read anew each time, before there is anything to send, and makes them anew
// when they are gone, until ctx ends: whoever has to be asked in a hurry is asked without a name to resolve, a connection and a handshake
// first. Who can't be reached is tried again. It returns after its attempts have ended.
func (c *Client) KeepConnected(ctx context.Context, addrs func() []string) {
	var attempts sync.WaitGroup
	defer attempts.Wait()
	tick := time.NewTicker(keepEvery)
	defer tick.Stop()
	for {
		for _, addr := range addrs() {
			attempts.Go(func() {
				once, cancel := context.WithTimeout(ctx, keepEvery)
				defer cancel()
				_ = c.Connect(once, addr)
			})
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}
