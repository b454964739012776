package raft

import (
	"context"
	"log/slog"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kraft-dev/kraft-operator/internal/node/rpc"
	"github.com/kraft-dev/kraft-operator/internal/quorum"
	"github.com/kraft-dev/kraft-operator/internal/quorum/disk"
	"github.com/kraft-dev/kraft-operator/internal/storage"
	"github.com/kraft-dev/kraft-operator/internal/storage/memfs"
)

// TestFailure: only what was met now says that nobody listens.
func TestFailure(t *testing.T) {
	for _, tc := range []struct {
		kind, cause error
		want        quorum.SendFailure
	}{
		{rpc.ErrRefused, nil, quorum.Refused},
		{rpc.ErrReset, nil, quorum.Refused},
		{rpc.ErrTimeout, nil, quorum.Disconnected},
		{rpc.ErrBackoff, &rpc.Error{Kind: rpc.ErrRefused}, quorum.Disconnected},
		{rpc.ErrVersion, nil, quorum.VersionMismatch},
		{rpc.ErrAuth, nil, quorum.AuthenticationFailed},
	} {
		require.Equal(t, tc.want, failure(&rpc.Error{Kind: tc.kind, Err: tc.cause}), "%v", tc.kind)
	}
}

// nobody is a network that doesn't carry anything.
type nobody struct{}

func (nobody) Do(context.Context, string, kmsg.Request, ...rpc.Option) (kmsg.Response, error) {
	return nil, &rpc.Error{Kind: rpc.ErrTimeout}
}

// dropping is a network that notes whose connections are closed.
type dropping struct {
	nobody
	dropped []string
}

func (n *dropping) Drop(addr string) { n.dropped = append(n.dropped, addr) }

// TestABootstrapConnectionThatDoesNotHelpIsClosed: a Service's connection may end at the very node that asks, which would ask itself for ever.
func TestABootstrapConnectionThatDoesNotHelpIsClosed(t *testing.T) {
	net := &dropping{}
	d := &Driver{cfg: Config{Network: net}, helpless: map[string]int{}}
	answer := func(from quorum.NodeID, leader quorum.NodeID, epoch quorum.Epoch) {
		to := quorum.Node{ID: from, Host: "h", Port: 1}
		resp := &quorum.FetchResponse{Answer: quorum.Answer{Leader: quorum.LeaderAndEpoch{LeaderID: leader, Epoch: epoch}}}
		d.noteHelp(quorum.Send{To: to, Message: &quorum.FetchRequest{Epoch: 5}}, quorum.Response{Message: resp})
	}
	times := func(n int, from, leader quorum.NodeID, epoch quorum.Epoch) int {
		net.dropped = nil
		for range n {
			answer(from, leader, epoch)
		}
		return len(net.dropped)
	}
	require.Equal(t, 2, times(11, -2, quorum.None, 5), "each fifth answer without a leader")
	require.Zero(t, times(3, -2, quorum.None, 5))
	require.Zero(t, times(20, -2, 1, 5), "it names the leader")
	require.Zero(t, times(4, -2, quorum.None, 5), "counted anew")
	require.Equal(t, 1, times(1, -2, 1, 4), "a former leader is no help")
	require.Zero(t, times(20, 3, quorum.None, 5), "a voter is itself")
}

// TestTheStatusIsAheadOfTheNews: whoever hears of a leader finds it in the status. A broker's channel that did not waited for its next look, 100 ms.
func TestTheStatusIsAheadOfTheNews(t *testing.T) {
	fs := memfs.New()
	dir := storage.MetadataPartitionDir
	require.NoError(t, fs.MkdirAll(dir))
	voter := quorum.Voter{Key: quorum.ReplicaKey{ID: 1}, Endpoints: []quorum.Endpoint{{Listener: "CONTROLLER", Host: "n", Port: 1}}, Supported: quorum.VersionRange{Max: 1}}
	require.NoError(t, storage.WriteBootstrapSnapshot(fs, dir, 1, disk.VotersRecord(quorum.NewVoterSet(voter)).Voters, 0))
	opened, err := disk.Open(fs, ".", storage.MetadataLogConfig(1<<20, 1<<30), 0)
	require.NoError(t, err)
	cfg := quorum.DefaultConfig()
	cfg.NodeID, cfg.Listener = 7, "CONTROLLER"
	d, err := New(Config{Quorum: cfg, Disk: opened, Network: nobody{}, Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	t.Cleanup(func() {
		close(d.stopped) // the loop doesn't run: what is answered is dropped
		d.sends.Wait()
		require.NoError(t, opened.Close())
	})
	news := func() LeaderAndEpoch {
		d.deliver.mu.Lock()
		defer d.deliver.mu.Unlock()
		return d.deliver.current.LeaderAndEpoch
	}
	for _, epoch := range []quorum.Epoch{1, 2} {
		d.apply(d.q.Step(0, quorum.Request{ReplyTo: uint64(epoch), Message: &quorum.BeginQuorumEpochRequest{
			Voter: quorum.NoReplica, Leader: quorum.LeaderAndEpoch{LeaderID: 1, Epoch: epoch}, Endpoints: voter.Endpoints}}))
		d.apply(d.q.Step(0, quorum.ElectionPersisted{Seq: uint64(epoch)}))
		require.Equal(t, LeaderAndEpoch{LeaderID: 1, Epoch: int32(epoch)}, news())
		require.Equal(t, news(), d.LeaderAndEpoch())
	}
}
