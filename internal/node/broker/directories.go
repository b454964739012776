package broker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kraft-dev/kraft-operator/internal/metadata"
	"github.com/kraft-dev/kraft-operator/internal/uuid"
)

// AssignReplicasToDirs v0 (KIP-858, Kafka's AssignmentsManager): the metadata log names the directory of every replica. After a
// disk was replaced it names one that is gone, and the controller elects nobody whose directory isn't online.

const (
	// maxAssignments bounds the replicas of one request, as in Kafka.
	maxAssignments = 2250
	// assignTimeout bounds one request.
	assignTimeout = 5 * time.Second
	// assignBackoff doubles up to assignBackoffMax while the controller doesn't take what it is told.
	assignBackoff    = 500 * time.Millisecond
	assignBackoffMax = 10 * time.Second
)

// errNotRegistered: without a broker epoch there is nothing to ask with.
var errNotRegistered = errors.New("this broker isn't registered yet")

// directories tells the controller in which directory this broker's replicas are, where the image says otherwise.
type directories struct {
	b     *Broker
	send  func(context.Context, *kmsg.AssignReplicasToDirsRequest) (*kmsg.AssignReplicasToDirsResponse, error)
	epoch func() int64
	most  int // replicas of one request
	wake  chan struct{}

	mu      sync.Mutex
	pending map[metadata.PartitionRef]uint64 // to the number of the look that found it
	looks   uint64
}

func newDirectories(b *Broker) *directories {
	d := &directories{b: b, wake: make(chan struct{}, 1), pending: map[metadata.PartitionRef]uint64{}, epoch: b.epoch, most: maxAssignments}
	d.send = d.ask
	return d
}

// imageTaken looks through the replicas that changed, or all of them once the finalized features may have. Their logs are open.
func (d *directories) imageTaken(next *metadata.Image, delta *metadata.Delta) {
	if !next.MetadataVersion().DirectoryAssignment() {
		return
	}
	d.mu.Lock()
	d.looks++
	if len(delta.Features) > 0 {
		for ref, p := range next.PartitionsOf(d.b.cfg.NodeID, metadata.RoleReplica) {
			d.lookLocked(ref, p)
		}
	} else {
		for id, td := range delta.Topics {
			for i := range td.Partitions {
				if p, ok := next.Partition(id, i); ok {
					d.lookLocked(metadata.PartitionRef{TopicID: id, Partition: i}, p)
				}
			}
		}
	}
	found := len(d.pending) > 0
	d.mu.Unlock()
	if found {
		select {
		case d.wake <- struct{}{}:
		default:
		}
	}
}

func (d *directories) lookLocked(ref metadata.PartitionRef, p *metadata.Partition) {
	if d.isElsewhere(p) {
		d.pending[ref] = d.looks
	} else {
		delete(d.pending, ref)
	}
}

// isElsewhere says whether a partition has a replica here, in a directory that isn't this broker's.
func (d *directories) isElsewhere(p *metadata.Partition) bool {
	return slices.Contains(p.Replicas, d.b.cfg.NodeID) && p.Directory(d.b.cfg.NodeID) != d.b.cfg.DirectoryID
}

// run tells the controller, one request at a time, until ctx ends.
func (d *directories) run(ctx context.Context) {
	wait := assignBackoff
	for {
		batch := d.next()
		if len(batch) == 0 {
			select {
			case <-ctx.Done():
				return
			case <-d.wake:
			}
			continue
		}
		err := d.assign(ctx, batch)
		if ctx.Err() != nil {
			return
		}
		if err == nil {
			wait = assignBackoff
			continue
		}
		d.b.cfg.Logger.Info("Assigning replicas to this broker's directory failed", "replicas", len(batch), "retryIn", wait, "err", err)
		timer := time.NewTimer(wait)
		wait = min(2*wait, assignBackoffMax)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
	}
}

// next is some of what is pending, and forgets what a newer image has settled: topics may be gone, others may have told.
func (d *directories) next() map[metadata.PartitionRef]uint64 {
	img := d.b.cfg.Loader.Current()
	d.mu.Lock()
	defer d.mu.Unlock()
	batch := map[metadata.PartitionRef]uint64{}
	for ref, look := range d.pending {
		if p, ok := img.Partition(ref.TopicID, ref.Partition); !ok || !d.isElsewhere(p) {
			delete(d.pending, ref)
		} else if batch[ref] = look; len(batch) == d.most {
			break
		}
	}
	return batch
}

// assign tells the controller of one batch. What it took, or will never take, is no longer pending; an error means that some is.
func (d *directories) assign(ctx context.Context, batch map[metadata.PartitionRef]uint64) error {
	req := d.request(batch)
	if req.BrokerEpoch < 0 {
		return errNotRegistered
	}
	d.b.cfg.Logger.Info("Assigning replicas to this broker's directory", "replicas", len(batch), "directoryID", d.b.cfg.DirectoryID)
	resp, err := d.send(ctx, req)
	if err != nil {
		return err
	}
	switch err := kerr.ErrorForCode(resp.ErrorCode); {
	case errors.Is(err, kerr.UnsupportedVersion): // the features are looked at again when they change
		for ref, look := range batch {
			d.forget(ref, look)
		}
		return nil
	case err != nil:
		return err
	}
	return d.settle(batch, resp)
}

// settle goes through an answer's partitions.
func (d *directories) settle(batch map[metadata.PartitionRef]uint64, resp *kmsg.AssignReplicasToDirsResponse) error {
	left := len(batch)
	var first error
	for _, dir := range resp.Directories {
		for _, t := range dir.Topics {
			for _, p := range t.Partitions {
				ref := metadata.PartitionRef{TopicID: uuid.UUID(t.TopicID), Partition: p.Partition}
				look, asked := batch[ref]
				if !asked {
					continue
				}
				switch err := kerr.ErrorForCode(p.ErrorCode); {
				case err == nil, errors.Is(err, kerr.UnknownTopicID), errors.Is(err, kerr.UnknownTopicOrPartition), errors.Is(err, kerr.NotLeaderForPartition):
					d.forget(ref, look) // taken, or deleted or reassigned meanwhile
					left--
				case first == nil:
					first = fmt.Errorf("partition %d of topic %s: %w", p.Partition, ref.TopicID, err)
				}
			}
		}
	}
	if left > 0 && first == nil {
		first = fmt.Errorf("%d replicas went unanswered", left)
	}
	return first
}

// forget drops what was told, unless a newer look found it again.
func (d *directories) forget(ref metadata.PartitionRef, look uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.pending[ref] == look {
		delete(d.pending, ref)
	}
}

func (d *directories) request(batch map[metadata.PartitionRef]uint64) *kmsg.AssignReplicasToDirsRequest {
	topics := map[uuid.UUID][]kmsg.AssignReplicasToDirsRequestDirectoryTopicPartition{}
	for ref := range batch {
		p := kmsg.NewAssignReplicasToDirsRequestDirectoryTopicPartition()
		p.Partition = ref.Partition
		topics[ref.TopicID] = append(topics[ref.TopicID], p)
	}
	dir := kmsg.NewAssignReplicasToDirsRequestDirectory()
	dir.ID = d.b.cfg.DirectoryID
	for id, parts := range topics {
		t := kmsg.NewAssignReplicasToDirsRequestDirectoryTopic()
		t.TopicID, t.Partitions = id, parts
		dir.Topics = append(dir.Topics, t)
	}
	req := kmsg.NewPtrAssignReplicasToDirsRequest()
	req.BrokerID, req.BrokerEpoch = d.b.cfg.NodeID, d.epoch()
	req.Directories = append(req.Directories, dir)
	return req
}

func (d *directories) ask(ctx context.Context, req *kmsg.AssignReplicasToDirsRequest) (*kmsg.AssignReplicasToDirsResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, assignTimeout)
	defer cancel()
	resp, err := d.b.forward.Do(ctx, req)
	if err != nil {
		return nil, err
	}
	r, ok := resp.(*kmsg.AssignReplicasToDirsResponse)
	if !ok {
		return nil, fmt.Errorf("answered with %T", resp)
	}
	return r, nil
}
