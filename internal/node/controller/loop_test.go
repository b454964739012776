package controller

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kraft-dev/kraft-operator/internal/metadata"
	"github.com/kraft-dev/kraft-operator/internal/node/raft"
	"github.com/kraft-dev/kraft-operator/internal/node/server"
	"github.com/kraft-dev/kraft-operator/internal/node/wire"
)

// soloLog is the log of a single voter, committed after a delay by a goroutine of its own.
type soloLog struct {
	listener raft.Listener
	delay    time.Duration

	mu      sync.Mutex
	next    int64
	leading bool
	queue   chan raft.CommittedBatch
}

func (l *soloLog) PrepareAppend(epoch int32, records [][]byte) (int64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.leading {
		return 0, raft.ErrNotLeader
	}
	base := l.next
	l.next += int64(len(records))
	l.queue <- raft.CommittedBatch{BaseOffset: base, LastOffset: l.next - 1, Epoch: epoch, Records: records}
	return l.next - 1, nil
}
func (l *soloLog) SchedulePreparedAppend() {}
func (l *soloLog) Resign(int32)            {}
func (l *soloLog) LeaderAndEpoch() raft.LeaderAndEpoch {
	return raft.LeaderAndEpoch{LeaderID: 1, Epoch: 1}
}
func (l *soloLog) LogEndOffset() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.next
}

func (l *soloLog) deliver(ctx context.Context) {
	l.listener.HandleCommit([]raft.CommittedBatch{{}}) // LeaderChange
	l.listener.HandleLeaderChange(l.LeaderAndEpoch())
	for {
		select {
		case <-ctx.Done():
			return
		case b := <-l.queue:
			l.mu.Lock()
			delay := l.delay
			l.mu.Unlock()
			time.Sleep(delay) //nolint:forbidigo // virtual time
			l.listener.HandleCommit([]raft.CommittedBatch{b})
		}
	}
}

// solo runs one controller in virtual time and calls body with it.
func solo(t *testing.T, change func(*Config), body func(c *Controller, log *soloLog, stop func() error)) {
	synctest.Test(t, func(t *testing.T) {
		log := &soloLog{delay: 3 * time.Millisecond, next: 1, leading: true, queue: make(chan raft.CommittedBatch, 1000)}
		cfg := Config{NodeID: 1, ClusterID: testCluster, Log: log, BootstrapRecords: metadata.BootstrapRecords(), Registry: prometheus.NewRegistry()}
		if change != nil {
			change(&cfg)
		}
		c, err := New(cfg)
		require.NoError(t, err)
		log.listener = c
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		var wg sync.WaitGroup
		wg.Go(func() { ended <- c.Run(ctx) })
		wg.Go(func() { log.deliver(ctx) })
		stop := sync.OnceValue(func() error {
			cancel()
			wg.Wait()
			return <-ended
		})
		body(c, log, stop)
		require.NoError(t, stop())
	})
}

// gauge reads one gauge, by the value of its only label if it has one.
func gauge(t *testing.T, reg prometheus.Registerer, name, label string) float64 {
	t.Helper()
	families, err := reg.(*prometheus.Registry).Gather()
	require.NoError(t, err)
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			if label == "" || m.GetLabel()[0].GetValue() == label {
				return m.GetGauge().GetValue()
			}
		}
	}
	t.Fatalf("no gauge %s %s", name, label)
	return 0
}

// ask sends one request and waits for its answer in virtual time.
func ask[R kmsg.Response](t *testing.T, c *Controller, req kmsg.Request) R {
	t.Helper()
	answers := make(chan server.Answer, 1)
	api, _ := wire.Lookup(req.Key())
	req.SetVersion(api.Max)
	setTimeouts(req)
	h := wire.RequestHeader{Key: req.Key(), Version: api.Max}
	c.Handle(server.Detached(h, req, server.ConnInfo{}, nil, time.Now(), func(a server.Answer) { answers <- a }))
	return (<-answers).Response.(R)
}

func TestTheLoopServesAndStopsInOrder(t *testing.T) {
	reg := prometheus.NewRegistry()
	solo(t, func(cfg *Config) { cfg.Registry = reg }, func(c *Controller, log *soloLog, stop func() error) {
		time.Sleep(time.Second) //nolint:forbidigo // virtual time
		require.True(t, c.Active())
		b := ask[*kmsg.BrokerRegistrationResponse](t, c, registration(101, 1))
		require.Zero(t, b.ErrorCode)
		require.False(t, ask[*kmsg.BrokerHeartbeatResponse](t, c, heartbeat(101, b.BrokerEpoch, log.LogEndOffset())).IsFenced)
		start := time.Now()
		create := newTopic("a", 1, 1)
		require.Zero(t, ask[*kmsg.CreateTopicsResponse](t, c, create).Topics[0].ErrorCode)
		require.Equal(t, log.delay, time.Since(start), "answered when committed, not later")

		time.Sleep(8 * time.Second) //nolint:forbidigo // virtual time
		before := log.LogEndOffset()
		time.Sleep(10 * time.Second) //nolint:forbidigo // virtual time
		require.Greater(t, log.LogEndOffset(), before+20, "a no-op each half second, and the silent broker's fence")
		require.EqualValues(t, 1, gauge(t, c.cfg.Registry, "kraft_controller_brokers", "fenced"))
		require.EqualValues(t, 1, gauge(t, c.cfg.Registry, "kraft_controller_offline_partitions", ""))

		require.NoError(t, stop())
		require.False(t, c.Active())
		late := ask[*kmsg.CreateTopicsResponse](t, c, newTopic("b", 1, 1))
		require.Equal(t, kerr.NotController.Code, late.Topics[0].ErrorCode)
		require.Equal(t, kerr.NotController.Code, ask[*kmsg.EnvelopeResponse](t, c, envelope(t, newTopic("b", 1, 1))).ErrorCode)
	})
	families, err := reg.Gather()
	require.NoError(t, err)
	for _, f := range families {
		require.NotEmpty(t, f.GetHelp())
		require.Regexp(t, `^kraft_controller_[a-z_]+$`, f.GetName())
	}
}

func TestNoOpsDoNotPileUpOnALogThatDoesNotCommit(t *testing.T) {
	solo(t, nil, func(c *Controller, log *soloLog, stop func() error) {
		time.Sleep(time.Second) //nolint:forbidigo // virtual time
		log.mu.Lock()
		log.delay = time.Hour
		log.mu.Unlock()
		time.Sleep(time.Second) //nolint:forbidigo // virtual time
		before := log.LogEndOffset()
		time.Sleep(time.Minute) //nolint:forbidigo // virtual time
		require.LessOrEqual(t, log.LogEndOffset(), before+1)
		require.NoError(t, stop())
	})
}

func TestHeartbeatsCountFromTheirArrival(t *testing.T) {
	solo(t, nil, func(c *Controller, log *soloLog, stop func() error) {
		time.Sleep(time.Second) //nolint:forbidigo // virtual time
		b := ask[*kmsg.BrokerRegistrationResponse](t, c, registration(101, 1))
		for range 20 {
			require.False(t, ask[*kmsg.BrokerHeartbeatResponse](t, c, heartbeat(101, b.BrokerEpoch, log.LogEndOffset())).IsFenced)
			time.Sleep(2 * time.Second) //nolint:forbidigo // virtual time
		}
		require.Zero(t, gauge(t, c.cfg.Registry, "kraft_controller_brokers", "fenced"))
	})
}

func TestAControllerRegistersUntilTheLogHasIt(t *testing.T) {
	reg := kmsg.NewPtrControllerRegistrationRequest()
	reg.ControllerID, reg.IncarnationID = 1, incarnation(1, 7)
	var tries []time.Time
	self := make(chan *Controller, 1)
	solo(t, func(cfg *Config) {
		cfg.Registration = reg
		cfg.SendToActive = func(_ context.Context, req kmsg.Request) (kmsg.Response, error) {
			tries = append(tries, time.Now())
			if len(tries) < 4 {
				return nil, errors.New("no route")
			}
			return ask[*kmsg.ControllerRegistrationResponse](t, <-self, req), nil
		}
	}, func(c *Controller, _ *soloLog, stop func() error) {
		self <- c
		time.Sleep(10 * time.Second) //nolint:forbidigo // virtual time
		require.NoError(t, stop())
		own, ok := c.core.committed.stable().img.Controller(1)
		require.True(t, ok)
		require.Equal(t, incarnation(1, 7), own.IncarnationID)
		require.Len(t, tries, 4, "three failed, one registered, none after")
		require.GreaterOrEqual(t, tries[3].Sub(tries[2]), 400*time.Millisecond, "the wait doubles")
	})
}

// TestAControllerRegistersOnce: commits that come while the request is on its way ask for no second one.
func TestAControllerRegistersOnce(t *testing.T) {
	reg := kmsg.NewPtrControllerRegistrationRequest()
	reg.ControllerID, reg.IncarnationID = 1, incarnation(1, 7)
	tries := 0
	self := make(chan *Controller, 1)
	solo(t, func(cfg *Config) {
		cfg.Registration = reg
		cfg.SendToActive = func(_ context.Context, req kmsg.Request) (kmsg.Response, error) {
			tries++
			time.Sleep(2 * time.Second) //nolint:forbidigo // virtual time, in which no-op records are committed
			c := <-self
			self <- c
			return ask[*kmsg.ControllerRegistrationResponse](t, c, req), nil
		}
	}, func(c *Controller, _ *soloLog, stop func() error) {
		self <- c
		time.Sleep(10 * time.Second) //nolint:forbidigo // virtual time
		require.NoError(t, stop())
		require.Equal(t, 1, tries)
	})
}

// TestABusyLoopHoldsNobodyUp: nobody runs the loop here, as if it replayed a long log.
func TestABusyLoopHoldsNobodyUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, err := New(Config{NodeID: 2, ClusterID: testCluster, Log: &soloLog{}, KRaftVersion: func() int16 { return 1 }})
		require.NoError(t, err)
		versions := kmsg.NewPtrApiVersionsRequest()
		versions.ClientSoftwareName, versions.ClientSoftwareVersion = "kraftd", "1"
		require.Zero(t, ask[*kmsg.ApiVersionsResponse](t, c, versions).ErrorCode)
		require.Equal(t, kerr.NotController.Code, ask[*kmsg.CreateTopicsResponse](t, c, newTopic("a", 1, 1)).Topics[0].ErrorCode)
		require.Equal(t, kerr.NotController.Code, ask[*kmsg.EnvelopeResponse](t, c, envelope(t, newTopic("a", 1, 1))).ErrorCode)
		require.Empty(t, c.requests)

		c.cfg.NodeID = 1 // it leads the log: what comes waits until the loop has made it active
		req := newTopic("a", 1, 1)
		req.SetVersion(7)
		h := wire.RequestHeader{Key: req.Key(), Version: 7}
		c.Handle(server.Detached(h, req, server.ConnInfo{}, nil, time.Now(), func(server.Answer) { t.Error("answered") }))
		require.Len(t, c.requests, 1)
	})
}

func TestAFaultEndsTheLoop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, err := New(Config{NodeID: 2, ClusterID: testCluster, Log: &soloLog{}})
		require.NoError(t, err)
		ended := make(chan error, 1)
		go func() { ended <- c.Run(t.Context()) }()
		c.HandleCommit([]raft.CommittedBatch{{BaseOffset: 0, LastOffset: 0, Records: [][]byte{{9, 9}}}})
		require.ErrorContains(t, <-ended, "replaying batch 0 to 0 of epoch 0: record 0")
		c.HandleCommit(nil) // the log's goroutine is never stuck behind a loop that ended
	})
}
