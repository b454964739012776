package broker

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func TestMetadataWaitsAMomentForATopicThatIsOnItsWay(t *testing.T) {
	in(t, 1, func(f *fixture) {
		req := kmsg.NewPtrMetadataRequest()
		req.Topics = []kmsg.MetadataRequestTopic{{Topic: kmsg.StringPtr("t")}}
		began := time.Now()
		got := f.ask(req, 12, "c")
		synctest.Wait()
		require.Empty(t, got)
		f.topic("t", 7, []int32{1})
		r := decode[*kmsg.MetadataResponse](f, req, 12, <-got)
		require.Zero(t, r.Topics[0].ErrorCode)
		require.Zero(t, time.Since(began))

		req.Topics[0].Topic = kmsg.StringPtr("u")
		r = decode[*kmsg.MetadataResponse](f, req, 12, <-f.ask(req, 12, "c"))
		require.Equal(t, kerr.UnknownTopicOrPartition.Code, r.Topics[0].ErrorCode)
		require.Equal(t, newTopicPatience, time.Since(began))
		require.Empty(t, f.waits.open)

		req.AllowAutoTopicCreation = true
		began = time.Now()
		got = f.ask(req, 12, "c")
		<-time.After(100 * time.Millisecond)
		f.topic("u", 8, []int32{1})
		require.Zero(t, decode[*kmsg.MetadataResponse](f, req, 12, <-got).Topics[0].ErrorCode)
		require.Equal(t, 100*time.Millisecond, time.Since(began))
	})
}
