package lifecycle

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kraft-dev/kraft-operator/internal/node/rpc"
)

// fakeController answers with what its functions return and keeps the heartbeats.
type fakeController struct {
	mu        sync.Mutex
	register  func(*kmsg.BrokerRegistrationRequest) (int64, error)
	heartbeat func(n int, r *kmsg.BrokerHeartbeatRequest) *kmsg.BrokerHeartbeatResponse
	beats     []kmsg.BrokerHeartbeatRequest
	times     []time.Time
}

func (f *fakeController) Do(_ context.Context, req kmsg.Request, _ ...rpc.Option) (kmsg.Response, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch r := req.(type) {
	case *kmsg.BrokerRegistrationRequest:
		epoch, err := f.register(r)
		resp := &kmsg.BrokerRegistrationResponse{BrokerEpoch: epoch}
		var ke *kerr.Error
		if errors.As(err, &ke) {
			resp.ErrorCode, err = ke.Code, nil
		}
		return resp, err
	case *kmsg.BrokerHeartbeatRequest:
		f.beats, f.times = append(f.beats, *r), append(f.times, time.Now())
		return f.heartbeat(len(f.beats), r), nil
	}
	return nil, errors.New("not expected")
}

func (f *fakeController) last() kmsg.BrokerHeartbeatRequest {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.beats[len(f.beats)-1]
}

func start(t *testing.T, f *fakeController) (m *Manager, result chan error, stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	m = New(Config{NodeID: 1000, PreviousEpoch: 41}, f, func() int64 { return 7 }, slog.New(slog.DiscardHandler))
	result = make(chan error, 1)
	go func() { result <- m.Run(ctx) }()
	return m, result, cancel
}

func accepted(r *kmsg.BrokerRegistrationRequest) (int64, error) { return 42, nil }

func TestBrokerIsUnfencedOnlyWhenItIsReady(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeController{register: accepted}
		f.heartbeat = func(n int, r *kmsg.BrokerHeartbeatRequest) *kmsg.BrokerHeartbeatResponse {
			return &kmsg.BrokerHeartbeatResponse{IsCaughtUp: n >= 3, IsFenced: r.WantFence}
		}
		m, result, stop := start(t, f)
		began := time.Now()
		<-m.CaughtUp()
		require.Less(t, time.Since(began), 100*time.Millisecond, "heartbeats come fast while catching up")
		require.Equal(t, Recovery, m.State())
		require.EqualValues(t, 42, m.Epoch())
		require.True(t, f.last().WantFence)
		require.EqualValues(t, 7, f.last().CurrentMetadataOffset)
		m.SetReadyToUnfence()
		<-m.Unfenced()
		require.Equal(t, Running, m.State())
		require.False(t, m.Fenced())
		<-time.After(time.Minute)
		stop()
		require.NoError(t, <-result)
		require.InDelta(t, 30, len(f.beats), 5, "one each 2 s")
		require.Equal(t, Stopped, m.State())
	})
}

func TestRegistrationWaitsForTheOldSessionToEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		f := &fakeController{register: func(r *kmsg.BrokerRegistrationRequest) (int64, error) {
			require.EqualValues(t, 41, r.PreviousBrokerEpoch)
			if time.Since(began) < 9*time.Second {
				return 0, kerr.DuplicateBrokerRegistration
			}
			return 50, nil
		}}
		f.heartbeat = func(int, *kmsg.BrokerHeartbeatRequest) *kmsg.BrokerHeartbeatResponse {
			return &kmsg.BrokerHeartbeatResponse{IsCaughtUp: true}
		}
		m, result, stop := start(t, f)
		<-m.CaughtUp()
		require.EqualValues(t, 50, m.Epoch())
		require.Less(t, time.Since(began), 10*time.Second)
		stop()
		require.NoError(t, <-result)
	})
}

func TestRegistrationGivesUpAfterItsTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		f := &fakeController{register: func(*kmsg.BrokerRegistrationRequest) (int64, error) { return 0, kerr.InconsistentClusterID }}
		_, result, stop := start(t, f)
		defer stop()
		err := <-result
		require.ErrorIs(t, err, ErrRegistration)
		require.ErrorIs(t, err, kerr.InconsistentClusterID)
		require.InDelta(t, 60, time.Since(began).Seconds(), 1)
	})
}

func TestControlledShutdownEndsWhenTheControllerSaysSo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeController{register: accepted}
		shutdowns := 0
		f.heartbeat = func(n int, r *kmsg.BrokerHeartbeatRequest) *kmsg.BrokerHeartbeatResponse {
			if r.WantShutdown {
				shutdowns++
			}
			return &kmsg.BrokerHeartbeatResponse{IsCaughtUp: true, IsFenced: r.WantFence, ShouldShutdown: shutdowns == 4}
		}
		m, result, stop := start(t, f)
		defer stop()
		m.SetReadyToUnfence()
		<-m.Unfenced()
		began := time.Now()
		m.BeginControlledShutdown()
		m.BeginControlledShutdown()
		require.NoError(t, <-result)
		require.Equal(t, 350*time.Millisecond, time.Since(began), "50, 100 and 200 ms apart")
		<-m.Done()
	})
}

func TestARefusedHeartbeatIsRepeated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeController{register: accepted}
		f.heartbeat = func(n int, r *kmsg.BrokerHeartbeatRequest) *kmsg.BrokerHeartbeatResponse {
			if n == 1 {
				return &kmsg.BrokerHeartbeatResponse{ErrorCode: kerr.StaleBrokerEpoch.Code}
			}
			return &kmsg.BrokerHeartbeatResponse{IsCaughtUp: true}
		}
		m, result, stop := start(t, f)
		began := time.Now()
		<-m.CaughtUp()
		require.Equal(t, 2*time.Second, time.Since(began))
		stop()
		require.NoError(t, <-result)
	})
}
