package broker

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kraft-dev/kraft-operator/internal/node/server"
	"github.com/kraft-dev/kraft-operator/internal/node/wire"
)

// CreateTopics v2 to 7 and every other API that changes metadata, and DescribeQuorum and ListPartitionReassignments: forwarded to the active
// controller as they came, inside an Envelope (KIP-590). Where no controller answers within a minute the connection is closed, and clients
// ask again.

// forwardRequest asks the active controller in a client's name and passes its answer on byte for byte.
func (b *Broker) forwardRequest(r *server.Request) {
	b.asking.Go(func() {
		ctx, cancel := context.WithTimeout(b.ctx, forwardTimeout)
		defer cancel()
		inner, err := b.forward.Forward(ctx, r.Raw, r.Conn.Principal, r.Conn.RemoteAddr.Addr())
		if err != nil {
			r.Close(fmt.Errorf("%s: %w", kmsg.NameForKey(r.Key), err))
			return
		}
		_, body, err := wire.ParseResponseHeader(r.Key, r.Version, inner)
		if err != nil {
			r.Close(fmt.Errorf("%s: the controller's answer: %w", kmsg.NameForKey(r.Key), err))
			return
		}
		r.ReplyRaw(server.RawReply{Segments: []wire.Segment{wire.BytesSegment(body)}})
	})
}
