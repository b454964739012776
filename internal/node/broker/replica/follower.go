package replica

import (
	"errors"
	"fmt"

	"github.com/kraft-dev/kraft-operator/internal/node/broker/follow"
	"github.com/kraft-dev/kraft-operator/internal/node/broker/partition"
	"github.com/kraft-dev/kraft-operator/internal/storage"
	"github.com/kraft-dev/kraft-operator/internal/storage/record"
)

var _ follow.Partition = (*Partition)(nil)

// Position is where this follower fetches next.
func (p *Partition) Position() (follow.Position, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.gone || p.state.Role() != partition.Follower {
		return follow.Position{}, false
	}
	pos := follow.Position{
		LeaderEpoch: p.state.LeaderEpoch(), FetchOffset: p.state.LogEndOffset(),
		LastFetchedEpoch: -1, LogStartOffset: p.state.LogStartOffset(),
	}
	if e, ok := p.log.LatestEpoch(); ok {
		pos.LastFetchedEpoch = e.Epoch
	}
	return pos, true
}

// followingLocked says whether this broker still follows in the epoch that a fetch was made in.
func (p *Partition) followingLocked(leaderEpoch int32) error {
	if p.gone || p.state.Role() != partition.Follower || p.state.LeaderEpoch() != leaderEpoch {
		return follow.ErrStale
	}
	return nil
}

// AppendFetched appends what the leader sent. A batch of a later epoch than the fetch was made in ends it: a leader that truncates
// while it serves can send mixed bytes, and the fetch of the next epoch brings the rest.
func (p *Partition) AppendFetched(leaderEpoch int32, records []byte, leaderHW, leaderStart int64) error {
	var fx effects
	p.mu.Lock()
	err := p.appendFetchedLocked(leaderEpoch, records, leaderHW, leaderStart, &fx)
	p.mu.Unlock()
	p.run(fx)
	return err
}

func (p *Partition) appendFetchedLocked(leaderEpoch int32, records []byte, leaderHW, leaderStart int64, fx *effects) error {
	if err := p.followingLocked(leaderEpoch); err != nil {
		return err
	}
	if whole := wholeBatches(records, leaderEpoch); len(whole) > 0 {
		info, err := p.log.AppendFollower(whole)
		if err != nil {
			return p.followError("append", err)
		}
		p.state.SetLogEnd(p.log.EndOffset())
		p.m.metrics.replicated.Add(float64(info.Bytes))
		p.unflushed += info.Last - info.First + 1
		fx.flush = p.unflushed >= p.config.FlushMessages
	}
	p.state.FollowHighWatermark(leaderHW)
	if leaderStart > p.state.LogStartOffset() && leaderStart <= p.state.HighWatermark() {
		if err := p.log.AdvanceStart(leaderStart); err != nil {
			return p.followError("log start", err)
		}
		p.state.SetLogStart(p.log.StartOffset())
	}
	return nil
}

// wholeBatches is the leading part of data that is whole batches of epochs up to leaderEpoch.
func wholeBatches(data []byte, leaderEpoch int32) []byte {
	rest := data
	for len(rest) > 0 {
		b, next, err := record.Split(rest)
		if err != nil || b.Epoch() > leaderEpoch {
			break
		}
		rest = next
	}
	return data[:len(data)-len(rest)]
}

// followError sorts a failed write of a follower: what the leader sent may be bad, and is fetched again; a disk that fails
// stops the node.
func (p *Partition) followError(op string, err error) error {
	for _, of := range []error{record.ErrCorrupt, storage.ErrNotContiguous, storage.ErrEpochDecreases, storage.ErrOffsetOutOfRange, storage.ErrClosed} {
		if errors.Is(err, of) {
			return fmt.Errorf("%s: %s: %w", p, op, err)
		}
	}
	return p.diskError(op, err)
}

// Diverged cuts the log to where it still agrees with the leader's. The next fetch tells whether that was far enough (KIP-279).
func (p *Partition) Diverged(leaderEpoch int32, epoch int32, endOffset int64) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.followingLocked(leaderEpoch); err != nil {
		return err
	}
	leo := p.state.LogEndOffset()
	before, _ := p.log.LatestEpoch()
	target := min(endOffset, leo)
	if mine, end := p.log.EndOffsetFor(epoch); mine >= 0 {
		target = min(end, leo)
		if mine == epoch {
			target = min(target, endOffset)
		}
	}
	if err := p.truncateLocked(target); err != nil {
		return err
	}
	if after, _ := p.log.LatestEpoch(); after == before && p.state.LogEndOffset() == leo {
		// Nothing changed, so the next fetch would be answered the same. The high watermark is agreed on.
		return p.truncateLocked(p.state.HighWatermark())
	}
	return nil
}

func (p *Partition) truncateLocked(target int64) error {
	old := p.state.LogEndOffset()
	if hw := p.state.HighWatermark(); target < hw {
		p.m.cfg.Logger.Warn("Truncating below the high watermark: the leader was elected uncleanly", "partition", p.String(), "to", target, "highWatermark", hw)
	}
	var err error
	if target < p.log.StartOffset() {
		err = p.log.TruncateFullyAndStartAt(target)
	} else {
		_, err = p.log.TruncateTo(target)
	}
	if err != nil {
		return p.followError("truncate", err)
	}
	p.state.Truncated(p.log.StartOffset(), p.log.EndOffset())
	p.unsettled = p.unsettled[:0]
	if end := p.log.EndOffset(); end < old {
		p.m.cfg.Logger.Info("Truncated", "partition", p.String(), "from", old, "to", end, "leaderEpoch", p.state.LeaderEpoch())
	}
	return nil
}

// OutOfRange realigns a log whose end the leader doesn't have: past the leader's end it is cut, before its start it begins anew.
func (p *Partition) OutOfRange(leaderEpoch int32, leaderStart, leaderEnd int64) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.followingLocked(leaderEpoch); err != nil {
		return err
	}
	switch leo := p.state.LogEndOffset(); {
	case leaderEnd < leo:
		return p.truncateLocked(leaderEnd)
	case leo < leaderStart:
		if err := p.log.TruncateFullyAndStartAt(leaderStart); err != nil {
			return p.followError("starting anew", err)
		}
		p.state.Truncated(leaderStart, leaderStart)
		p.m.cfg.Logger.Info("Log begins anew at the leader's start", "partition", p.String(), "from", leo, "to", leaderStart)
	}
	return nil
}

// Failed notes that fetching goes on failing for a reason of this replica's own.
func (p *Partition) Failed(leaderEpoch int32, err error) {
	p.m.metrics.failedFetches.Inc()
	p.m.cfg.Logger.Error("Follower failed", "partition", p.String(), "leaderEpoch", leaderEpoch, "cause", err)
}
