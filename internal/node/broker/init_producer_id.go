package broker

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kraft-dev/kraft-operator/internal/node/server"
)

// InitProducerId v0 to 5 for idempotent producers (KIP-98): ids come from blocks of 1,000 that the controller gives out (KIP-730).
// Left out: transactional ids, refused with TRANSACTIONAL_ID_AUTHORIZATION_FAILED, which clients don't repeat.

func (b *Broker) initProducerID(r *server.Request, req *kmsg.InitProducerIDRequest) {
	switch {
	case req.TransactionalID != nil:
		answerProducerID(r, -1, kerr.TransactionalIDAuthorizationFailed)
	case !b.clusterAllowed(r, kmsg.ACLOperationIdempotentWrite) && !b.mayWriteSomewhere(r):
		answerProducerID(r, -1, kerr.ClusterAuthorizationFailed)
	default:
		b.ids.next(func(id int64, err error) { answerProducerID(r, id, err) })
	}
}

// mayWriteSomewhere: since KIP-679 the right to write to any topic is enough.
func (b *Broker) mayWriteSomewhere(r *server.Request) bool {
	for name := range b.cfg.Loader.Current().Topics() {
		if b.topicAllowed(r, kmsg.ACLOperationWrite, name) {
			return true
		}
	}
	return false
}

func answerProducerID(r *server.Request, id int64, err error) {
	resp := kmsg.NewPtrInitProducerIDResponse()
	resp.ErrorCode, resp.ProducerID, resp.ProducerEpoch = code(err), -1, -1
	if err == nil {
		resp.ProducerID, resp.ProducerEpoch = id, 0
	}
	r.Reply(resp)
}

// producerIDs hands out ids from a block, and asks for the next block when it is used up. Who comes meanwhile waits in a list.
type producerIDs struct {
	b *Broker

	mu        sync.Mutex
	from, end int64 // what is left of the block: [from, end)
	waiting   []func(int64, error)
	asking    bool
}

func newProducerIDs(b *Broker) *producerIDs { return &producerIDs{b: b} }

// allocateTimeout bounds one AllocateProducerIds; who waits is then told COORDINATOR_LOAD_IN_PROGRESS, which clients repeat.
const allocateTimeout = 5 * time.Second

// next calls done with a fresh id, at once or when a block has come.
func (p *producerIDs) next(done func(int64, error)) {
	p.mu.Lock()
	if p.from < p.end {
		id := p.from
		p.from++
		p.mu.Unlock()
		done(id, nil)
		return
	}
	p.waiting = append(p.waiting, done)
	ask := !p.asking
	p.asking = true
	p.mu.Unlock()
	if ask {
		p.b.asking.Go(p.fetch)
	}
}

// fetch gets blocks until nobody waits.
func (p *producerIDs) fetch() {
	for {
		from, n, err := p.allocate()
		p.mu.Lock()
		if err == nil {
			p.from, p.end = from, from+int64(n)
		}
		ready := p.waiting
		if err == nil {
			ready = ready[:min(len(ready), int(n))]
		}
		first := p.from
		p.from += int64(len(ready))
		if err != nil {
			p.from, p.end = 0, 0
		}
		p.waiting = p.waiting[len(ready):]
		more := len(p.waiting) > 0
		p.asking = more
		p.mu.Unlock()
		if err != nil {
			p.b.cfg.Logger.Warn("Allocating producer ids", "cause", err)
			err = kerr.CoordinatorLoadInProgress
		}
		for i, done := range ready {
			done(first+int64(i), err)
		}
		if !more {
			return
		}
	}
}

func (p *producerIDs) allocate() (from int64, n int32, err error) {
	ctx, cancel := context.WithTimeout(p.b.ctx, allocateTimeout)
	defer cancel()
	req := kmsg.NewPtrAllocateProducerIDsRequest()
	req.BrokerID, req.BrokerEpoch = p.b.cfg.NodeID, p.b.epoch()
	resp, err := p.b.forward.Do(ctx, req)
	if err != nil {
		return 0, 0, err
	}
	r, ok := resp.(*kmsg.AllocateProducerIDsResponse)
	if !ok {
		return 0, 0, fmt.Errorf("answered with %T", resp)
	}
	if err := kerr.ErrorForCode(r.ErrorCode); err != nil {
		return 0, 0, err
	}
	if r.ProducerIDLen <= 0 {
		return 0, 0, errors.New("the controller gave an empty block")
	}
	return r.ProducerIDStart, r.ProducerIDLen, nil
}
