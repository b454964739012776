package replica

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kraft-dev/kraft-operator/internal/node/broker/partition"
	"github.com/kraft-dev/kraft-operator/internal/uuid"
)

// isrRetry is the pause before an AlterPartition request that failed as a whole is sent again.
const isrRetry = 50 * time.Millisecond

// isrUpdater sends the leaders' ISR proposals to the controller: one AlterPartition request at a time, each with everything that
// gathered meanwhile (KIP-497).
type isrUpdater struct {
	m *Manager

	mu      sync.Mutex
	waiting map[*Partition]*partition.ISRChange // at most one a partition, as its state sees to
	wake    chan struct{}
}

func newISRUpdater(m *Manager) *isrUpdater {
	return &isrUpdater{m: m, waiting: map[*Partition]*partition.ISRChange{}, wake: make(chan struct{}, 1)}
}

func (u *isrUpdater) submit(p *Partition, c *partition.ISRChange) {
	u.mu.Lock()
	u.waiting[p] = c
	u.mu.Unlock()
	select {
	case u.wake <- struct{}{}:
	default:
	}
}

func (u *isrUpdater) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-u.wake:
		}
		u.mu.Lock()
		batch := u.waiting
		u.waiting = map[*Partition]*partition.ISRChange{}
		u.mu.Unlock()
		if len(batch) == 0 {
			continue
		}
		if err := u.send(ctx, batch); err != nil && ctx.Err() == nil {
			u.m.cfg.Logger.Warn("AlterPartition failed", "partitions", len(batch), "cause", err)
			u.again(ctx, batch)
		}
	}
}

// again puts a batch back that failed as a whole. Newer proposals of the same partitions stand.
func (u *isrUpdater) again(ctx context.Context, batch map[*Partition]*partition.ISRChange) {
	timer := time.NewTimer(isrRetry)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return
	case <-timer.C:
	}
	u.mu.Lock()
	for p, c := range batch {
		if u.waiting[p] == nil {
			u.waiting[p] = c
		}
	}
	u.mu.Unlock()
	select {
	case u.wake <- struct{}{}:
	default:
	}
}

// partKey finds a partition of a request in its answer.
type partKey struct {
	id    uuid.UUID
	index int32
}

// send asks the controller and hands each partition its answer.
func (u *isrUpdater) send(ctx context.Context, batch map[*Partition]*partition.ISRChange) error {
	req, by := u.request(batch)
	resp, err := u.m.cfg.Controller.Do(ctx, req)
	if err != nil {
		return err
	}
	r, ok := resp.(*kmsg.AlterPartitionResponse)
	if !ok {
		return fmt.Errorf("answered with %T", resp)
	}
	if err := kerr.ErrorForCode(r.ErrorCode); err != nil {
		return err
	}
	for t := range r.Topics {
		for i := range r.Topics[t].Partitions {
			rp := &r.Topics[t].Partitions[i]
			key := partKey{r.Topics[t].TopidID, rp.Partition}
			if p := by[key]; p != nil {
				delete(by, key)
				u.answered(p, batch[p], partition.ISRAnswer{
					Err: kerr.ErrorForCode(rp.ErrorCode), Leader: rp.LeaderID, LeaderEpoch: rp.LeaderEpoch,
					PartitionEpoch: rp.PartitionEpoch, ISR: rp.ISR, RecoveryState: rp.LeaderRecoveryState,
				})
			}
		}
	}
	for _, p := range by { // the controller left it out
		u.answered(p, batch[p], partition.ISRAnswer{Err: kerr.OperationNotAttempted})
	}
	return nil
}

func (u *isrUpdater) request(batch map[*Partition]*partition.ISRChange) (*kmsg.AlterPartitionRequest, map[partKey]*Partition) {
	req := kmsg.NewPtrAlterPartitionRequest()
	req.BrokerID, req.BrokerEpoch = u.m.cfg.Local, u.m.cfg.BrokerEpoch()
	by := make(map[partKey]*Partition, len(batch))
	topics := map[uuid.UUID]int{}
	for p, c := range batch {
		t, ok := topics[p.topicID]
		if !ok {
			t = len(req.Topics)
			topics[p.topicID] = t
			req.Topics = append(req.Topics, kmsg.AlterPartitionRequestTopic{TopicID: p.topicID})
		}
		by[partKey{p.topicID, p.index}] = p
		rp := kmsg.NewAlterPartitionRequestTopicPartition()
		rp.Partition, rp.LeaderEpoch, rp.PartitionEpoch = p.index, c.LeaderEpoch, c.PartitionEpoch
		for _, m := range c.Members {
			rp.NewISR = append(rp.NewISR, m.ID)
			rp.NewEpochISR = append(rp.NewEpochISR, kmsg.AlterPartitionRequestTopicPartitionNewEpochISR{BrokerID: m.ID, BrokerEpoch: m.Epoch})
		}
		req.Topics[t].Partitions = append(req.Topics[t].Partitions, rp)
	}
	return req, by
}

func (u *isrUpdater) answered(p *Partition, c *partition.ISRChange, a partition.ISRAnswer) {
	var fx effects
	p.mu.Lock()
	before := len(p.state.ISR())
	outcome := p.state.ISRAnswered(c, a)
	after := p.state.ISR()
	if outcome == partition.ISRApplied {
		p.advanceLocked(time.Now().UnixMilli(), &fx)
		p.committedLocked(&fx) // a larger ISR may satisfy min.insync.replicas without the high watermark moving
	}
	p.mu.Unlock()
	p.run(fx)
	switch outcome {
	case partition.ISRApplied:
		if len(after) > before {
			u.m.metrics.isrExpands.Inc()
		} else if len(after) < before {
			u.m.metrics.isrShrinks.Inc()
		}
		u.m.cfg.Logger.Info("ISR changed", "partition", p.String(), "isr", after, "partitionEpoch", a.PartitionEpoch)
	case partition.ISRRetry:
		u.submit(p, c)
	case partition.ISRReset, partition.ISRAwaitMetadata:
		u.m.metrics.isrFailed.Inc()
		u.m.cfg.Logger.Info("ISR change was refused", "partition", p.String(), "cause", a.Err)
	case partition.ISRIgnored:
	}
}

// shrinkISRs proposes to remove lagging followers from the ISRs of what this broker leads.
func (m *Manager) shrinkISRs() {
	now := time.Now().UnixMilli()
	lag := m.settings().LagMaxMs
	for _, p := range m.all() {
		p.mu.Lock()
		c := p.state.Shrink(now, lag)
		p.mu.Unlock()
		if c != nil {
			m.cfg.Logger.Info("Shrinking the ISR", "partition", p.String(), "to", c.Members)
			m.isr.submit(p, c)
		}
	}
}
