package raft

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kraft-dev/kraft-operator/internal/node/rpc"
	"github.com/kraft-dev/kraft-operator/internal/quorum"
)

// apply carries out effects in order. A disk error ends the loop before anything after it leaves.
func (d *Driver) apply(fx quorum.Effects) {
	for _, e := range fx {
		if err := d.carryOut(e); err != nil {
			d.dead = true
			d.fail(err)
			return
		}
	}
}

func (d *Driver) carryOut(e quorum.Effect) error {
	switch e := e.(type) {
	case quorum.PersistElection:
		d.persist.request(e.Seq, func() error {
			_, err := d.disk.PersistElection(e)
			return err
		})
	case quorum.Append:
		return d.append(e)
	case quorum.VersionUpgraded:
		d.answerQuestion(e.Token, e)
	case quorum.ReadReady:
		d.answerQuestion(e.Token, e)
	case quorum.ReadFailed:
		d.answerQuestion(e.Token, e)
	case quorum.ProposeControl:
		d.acc.control(int32(e.Epoch), e.Records, time.Now())
	case quorum.Truncate:
		d.cfg.Logger.Warn("Truncating the metadata log", "to", e.To, "logEndOffset", d.disk.EndOffset())
		return d.disk.Truncate(e)
	case quorum.Flush:
		d.flushSeq = e.Seq
		d.flusher.request(e.Seq, nil)
	case quorum.Read:
		done, err := d.disk.Read(e)
		if err != nil {
			return err
		}
		d.pending = append(d.pending, done)
	case quorum.ReadSnapshot, quorum.WriteSnapshot, quorum.AbandonSnapshot, quorum.InstallSnapshot, quorum.DropPrefix:
		return d.carryOutSnapshot(e)
	case quorum.Send:
		d.dispatch(e)
	case quorum.Reply:
		d.reply(e)
	case quorum.Committed:
		d.committed(e.HighWatermark)
	case quorum.LeaderChanged:
		d.leaderChanged(e)
	case quorum.ProposeRejected:
		d.cfg.Logger.Info("Rejected an append of a past epoch", "leaderEpoch", e.Epoch)
	case quorum.ReplaceDirectory:
		id, err := d.cfg.ReplaceDirectory()
		if err != nil {
			return fmt.Errorf("replace the directory id: %w", err)
		}
		d.cfg.Logger.Warn("This disk was a voter's and has lost its memory: it observes under a fresh directory id", "directoryID", id)
		d.pending = append(d.pending, quorum.DirectoryReplaced{DirectoryID: id})
	case quorum.ShutdownComplete:
		select {
		case <-d.shutdown:
		default:
			close(d.shutdown)
		}
	case quorum.Note:
		d.note(e)
	default:
		return fmt.Errorf("unknown effect %T", e)
	}
	return nil
}

func (d *Driver) append(e quorum.Append) error {
	began := time.Now()
	if err := d.disk.Append(e, began.UnixMilli()); err != nil {
		return err
	}
	d.metrics.append.Observe(time.Since(began).Seconds())
	return nil
}

func (d *Driver) committed(hw quorum.Offset) {
	now := time.Now()
	for len(d.proposals) > 0 && d.proposals[0].last < hw {
		d.metrics.commit.Observe(now.Sub(d.proposals[0].since).Seconds())
		d.proposals = d.proposals[1:]
	}
	d.deliver.committed(int64(hw))
}

func (d *Driver) leaderChanged(e quorum.LeaderChanged) {
	self := e.LeaderID == d.cfg.Quorum.NodeID && e.LeaderID >= 0
	change := leaderChange{LeaderAndEpoch: LeaderAndEpoch{LeaderID: int32(e.LeaderID), Epoch: int32(e.Epoch)}}
	if self {
		d.acc.start(int32(e.Epoch), int64(e.NextOffset))
		change.after = int64(e.NextOffset)
	} else {
		d.acc.stop()
		d.proposals = nil
	}
	d.cfg.Logger.Info("Leader changed", "leaderID", e.LeaderID, "leaderEpoch", e.Epoch)
	d.publish() // before anyone hears of it: who is woken by the news asks for the leader
	d.deliver.leaderChanged(change)
}

// note logs what the engine says, equal texts at most once a noteInterval.
func (d *Driver) note(e quorum.Note) {
	level := map[quorum.NoteLevel]slog.Level{quorum.NoteDebug: slog.LevelDebug, quorum.NoteInfo: slog.LevelInfo, quorum.NoteWarn: slog.LevelWarn, quorum.NoteError: slog.LevelError}[e.Level]
	if !d.cfg.Logger.Enabled(context.Background(), level) {
		return
	}
	suppressed, ok := d.notes.pass(e.Text, time.Now())
	if !ok {
		return
	}
	var attrs []any
	if suppressed > 0 {
		attrs = []any{"suppressed", suppressed}
	}
	d.cfg.Logger.Log(context.Background(), level, e.Text, attrs...)
}

// fetchPatience is how long a fetch waits for a connection to be made. There is one fetch at a time: while it waits for a node that is gone,
// nobody else is asked who leads now.
const fetchPatience = 100 * time.Millisecond

// starter is a Network that can send without waiting where a connection is up; *rpc.Client is one.
type starter interface {
	TryGo(addr string, timeout time.Duration, req kmsg.Request, then func(kmsg.Response, error), opts ...rpc.Option) bool
}

// dispatch asks a peer, from here where a connection is up, else from a goroutine that makes one.
func (d *Driver) dispatch(e quorum.Send) {
	req, opts := toWireRequest(e.Message)
	if n, ok := d.cfg.Network.(starter); ok {
		if n.TryGo(hostPort(e.To), d.cfg.Quorum.RequestTimeout, req, func(resp kmsg.Response, err error) { d.answered(e, req, resp, err) }, opts...) {
			return
		}
	}
	d.sends.Go(func() {
		ctx, cancel := context.WithTimeout(d.sendCtx, d.cfg.Quorum.RequestTimeout)
		defer cancel()
		resp, err := d.cfg.Network.Do(ctx, hostPort(e.To), req, opts...)
		d.answered(e, req, resp, err)
	})
}

// answered feeds an answer, or that there is none. Any goroutine but the loop's calls it.
func (d *Driver) answered(e quorum.Send, req kmsg.Request, resp kmsg.Response, err error) {
	var ev quorum.Event
	if err != nil {
		ev = quorum.SendFailed{Correlation: e.Correlation, Failure: failure(err)}
	} else if m, err := fromWireResponse(resp); err != nil {
		d.cfg.Logger.Warn("Unreadable answer", "to", hostPort(e.To), "api", kmsg.NameForKey(req.Key()), "err", err)
		ev = quorum.SendFailed{Correlation: e.Correlation, Failure: quorum.Disconnected}
	} else {
		ev = quorum.Response{Correlation: e.Correlation, Message: m}
	}
	d.post(func() {
		d.noteHelp(e, ev)
		d.step(ev)
	})
}

// dropper is a Network that can close a connection; *rpc.Client is one.
type dropper interface{ Drop(addr string) }

// unhelpful is how many answers in a row that name no leader end the connection to a bootstrap server.
const unhelpful = 5

// noteHelp closes the connection to a bootstrap server that knows of no leader, or of a former one, again and again. A bootstrap
// address may be one for many, a Service's: what answers there may be this very node, or one that looks for the leader as well, and the
// next connection ends elsewhere.
func (d *Driver) noteHelp(e quorum.Send, ev quorum.Event) {
	r, ok := ev.(quorum.Response)
	if !ok || e.To.ID >= quorum.None {
		return
	}
	f, ok := r.Message.(*quorum.FetchResponse)
	asked, isFetch := e.Message.(*quorum.FetchRequest)
	if !ok || !isFetch {
		return
	}
	addr := hostPort(e.To)
	if f.Leader.LeaderID >= 0 && f.Leader.Epoch >= asked.Epoch {
		delete(d.helpless, addr)
		return
	}
	d.helpless[addr]++
	if n, ok := d.cfg.Network.(dropper); ok && d.helpless[addr] >= unhelpful {
		delete(d.helpless, addr)
		n.Drop(addr)
	}
}

// failure tells the engine what kind of silence it is.
func failure(err error) quorum.SendFailure {
	switch {
	case errors.Is(err, rpc.ErrVersion):
		return quorum.VersionMismatch
	case errors.Is(err, rpc.ErrAuth):
		return quorum.AuthenticationFailed
	case errors.Is(err, rpc.ErrBackoff): // what went wrong last time was told then
		return quorum.Disconnected
	case errors.Is(err, rpc.ErrRefused), errors.Is(err, rpc.ErrReset):
		return quorum.Refused
	}
	return quorum.Disconnected
}
