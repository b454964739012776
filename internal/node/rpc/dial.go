package rpc

import (
	"context"
	"net"
	"time"
)

// connect makes a connection to addr. An attempt that has had no answer for DialAgain is joined by another, and so on: the first that ends
// counts, well or not, and the others are given up. Linux repeats a SYN that was lost after 1 s, and they are lost where nodes come and go: a
// Service sends them for a moment to a pod that is gone, or refuses them by an ICMP that is limited by rate.
// Bound: ctx.
func (c *Client) connect(ctx context.Context, addr string) (net.Conn, error) {
	ctx, giveUp := context.WithCancel(ctx)
	defer giveUp()
	type outcome struct {
		nc  net.Conn
		err error
	}
	ended := make(chan outcome)
	begin := func() {
		c.wg.Go(func() {
			nc, err := c.cfg.Dial(ctx, "tcp", addr)
			select {
			case ended <- outcome{nc, err}:
			case <-ctx.Done():
				if err == nil {
					_ = nc.Close()
				}
			}
		})
	}
	begin()
	again := time.NewTicker(c.cfg.DialAgain)
	defer again.Stop()
	for {
		select {
		case o := <-ended:
			return o.nc, o.err
		case <-again.C:
			begin()
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}
