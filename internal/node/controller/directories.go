package controller

import (
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kraft-dev/kraft-operator/internal/metadata"
	"github.com/kraft-dev/kraft-operator/internal/uuid"
)

// assignReplicasToDirs serves AssignReplicasToDirs v0 (KIP-858): a broker says in which directory its replicas are. A
// replica that went into a directory which isn't online leaves its ISR. One whose directory is online now may lead, so a
// partition without a leader gets one, which in Kafka waits for the next
// occasion. Unlike there, one whose disk was replaced isn't elected for having led last while there are other replicas.
func assignReplicasToDirs(tx *tx, req *kmsg.AssignReplicasToDirsRequest) (kmsg.Response, error) {
	s := tx.view()
	if !s.img.MetadataVersion().DirectoryAssignment() {
		return nil, fail(kerr.UnsupportedVersion, "Directory assignment is not supported yet.")
	}
	b, e := checkBrokerEpoch(s, req.BrokerID, req.BrokerEpoch)
	if e != nil {
		return nil, e
	}
	resp := kmsg.NewPtrAssignReplicasToDirsResponse()
	for _, d := range req.Directories {
		rd := kmsg.NewAssignReplicasToDirsResponseDirectory()
		rd.ID = d.ID
		for _, t := range d.Topics {
			rt := kmsg.NewAssignReplicasToDirsResponseDirectoryTopic()
			rt.TopicID = t.TopicID
			for _, p := range t.Partitions {
				rp := kmsg.NewAssignReplicasToDirsResponseDirectoryTopicPartition()
				rp.Partition = p.Partition
				rp.ErrorCode = codeOf(tx.assignDirectory(b, metadata.PartitionRef{TopicID: t.TopicID, Partition: p.Partition}, d.ID))
				rt.Partitions = append(rt.Partitions, rp)
			}
			rd.Topics = append(rd.Topics, rt)
		}
		resp.Directories = append(resp.Directories, rd)
	}
	return resp, nil
}

func (tx *tx) assignDirectory(b *metadata.Broker, ref metadata.PartitionRef, dir uuid.UUID) *apiError {
	s := tx.view()
	if _, ok := s.img.TopicByID(ref.TopicID); !ok {
		return failCode(kerr.UnknownTopicID)
	}
	p, ok := s.img.Partition(ref.TopicID, ref.Partition)
	if !ok {
		return failCode(kerr.UnknownTopicOrPartition)
	}
	i := slices.Index(p.Replicas, b.ID)
	if i < 0 {
		return failCode(kerr.NotLeaderForPartition)
	}
	if p.Directories[i] == dir {
		return nil
	}
	e := tx.election(s, ref, p)
	e.directories = slices.Clone(p.Directories)
	e.directories[i] = dir
	online := b.HasOnlineDir(dir)
	acceptable := e.acceptable
	e.acceptable = func(r int32) bool {
		if r == b.ID {
			return online && b.Active()
		}
		return acceptable(r)
	}
	if !online {
		e.withoutISR(b.ID)
	}
	if len(p.Replicas) > 1 && !b.HasOnlineDir(p.Directories[i]) { // on another disk now, and others may have what it lost
		e.lost = []int32{b.ID}
	}
	tx.elect(e)
	return nil
}
