package broker

import (
	"golang.org/x/sys/unix"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kraft-dev/kraft-operator/internal/node/broker/replica"
	"github.com/kraft-dev/kraft-operator/internal/node/server"
)

// DescribeLogDirs v1 to 5 (KIP-113, KIP-827, KIP-1066): the one log dir. There are no future replicas, because there is one dir.

func (b *Broker) describeLogDirs(r *server.Request, req *kmsg.DescribeLogDirsRequest) {
	resp := kmsg.NewPtrDescribeLogDirsResponse()
	if !b.clusterAllowed(r, kmsg.ACLOperationDescribe) {
		resp.ErrorCode = kerr.ClusterAuthorizationFailed.Code
		r.Reply(resp)
		return
	}
	dir := kmsg.NewDescribeLogDirsResponseDir()
	dir.Dir = b.cfg.LogDir
	dir.TotalBytes, dir.UsableBytes = volume(b.cfg.LogDir)
	if br, ok := b.cfg.Loader.Current().Broker(b.cfg.NodeID); ok {
		for _, id := range br.CordonedLogDirs {
			dir.IsCordoned = dir.IsCordoned || id == b.cfg.DirectoryID
		}
	}
	wanted := func(string, int32) bool { return true }
	if req.Topics != nil {
		asked := map[string]map[int32]bool{}
		for i := range req.Topics {
			t := &req.Topics[i]
			if asked[t.Topic] == nil {
				asked[t.Topic] = map[int32]bool{}
			}
			for _, p := range t.Partitions {
				asked[t.Topic][p] = true
			}
		}
		wanted = func(topic string, index int32) bool { return asked[topic][index] }
	}
	for _, p := range b.replicas.Partitions() {
		topic, _, index := p.ID()
		if !wanted(topic, index) {
			continue
		}
		if n := len(dir.Topics); n == 0 || dir.Topics[n-1].Topic != topic {
			dir.Topics = append(dir.Topics, kmsg.DescribeLogDirsResponseDirTopic{Topic: topic})
		}
		t := &dir.Topics[len(dir.Topics)-1]
		t.Partitions = append(t.Partitions, logDirPartition(p, index))
	}
	resp.Dirs = []kmsg.DescribeLogDirsResponseDir{dir}
	r.Reply(resp)
}

// logDirPartition is a replica's size and how far its end lies behind the high watermark.
func logDirPartition(p *replica.Partition, index int32) kmsg.DescribeLogDirsResponseDirTopicPartition {
	s := p.Status()
	out := kmsg.NewDescribeLogDirsResponseDirTopicPartition()
	out.Partition, out.Size, out.OffsetLag = index, p.Log().Size(), max(s.HighWatermark-s.LogEndOffset, 0)
	return out
}

// volume is the size of the dir's volume and what is left of it, in bytes; -1 where the system doesn't say.
func volume(dir string) (total, usable int64) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return -1, -1
	}
	return int64(st.Blocks) * st.Bsize, int64(st.Bavail) * st.Bsize
}
