package node

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kraft-dev/kraft-operator/internal/quorum"
)

func TestAControllerIsReadyOnceItHasReplayedTheLog(t *testing.T) {
	var r controllerReadiness
	st := quorum.Status{Role: quorum.Follower, LeaderID: 1, LastFetch: time.Second, HighWatermark: 500_000}
	at := func(sinceFetch time.Duration, applied int64) error {
		return r.check(time.Second+sinceFetch, st, applied, 2*time.Second)
	}
	require.ErrorContains(t, at(0, 0), "has replayed the metadata log up to 0, the high watermark is 500000")
	require.Error(t, at(time.Millisecond, 400_000))
	require.NoError(t, at(time.Second, 499_950), "what was committed in this moment doesn't count")
	st.HighWatermark = 600_000
	require.NoError(t, at(time.Second, 500_000), "a burst of records flips nothing")
	require.NoError(t, at(9*time.Second, 600_000), "out of touch for less than an election may take")
	require.ErrorContains(t, at(20*time.Second, 600_000), "last fetched from leader 1")
}
