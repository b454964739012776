package admin

import (
	"context"
	"errors"
	"fmt"
	"net"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Endpoint is a listener of a controller.
type Endpoint struct {
	Listener, Host string
	Port           uint16
}

// ReplicaKey is a voter: a node on one disk (KIP-853).
type ReplicaKey struct {
	ID          int32
	DirectoryID [16]byte
}

// VoterError is the leader's refusal of a voter change.
type VoterError struct {
	Code error // of package kerr
	Text string
}

func (e *VoterError) Error() string {
	if e.Text == "" {
		return e.Code.Error()
	}
	return e.Text + " (" + e.Code.Error() + ")"
}

func (e *VoterError) Unwrap() error { return e.Code }

// ErrNoLeader is returned when controllers answered but none of them leads.
var ErrNoLeader = errors.New("none of these controllers leads the quorum")

// ErrUncertain is returned when a change was asked for and nobody said what became of it: it may be made, or yet be made.
var ErrUncertain = errors.New("the change may have been made: look before trying again")

// MayBeMade tells whether an error of AddVoter or RemoveVoter leaves open what became of the change: DescribeQuorum tells, now
// or a little later. A leader that gives up waiting, or loses its office with the record written, says
// REQUEST_TIMED_OUT or NOT_LEADER_OR_FOLLOWER.
func MayBeMade(err error) bool {
	var refusal *VoterError
	if errors.As(err, &refusal) {
		return errors.Is(refusal, kerr.RequestTimedOut) || errors.Is(refusal, kerr.NotLeaderForPartition) || errors.Is(refusal, kerr.UnknownServerError)
	}
	return errors.Is(err, ErrUncertain)
}

// AddVoter asks the leader among controllers to add a voter, and waits until that is committed.
//
// Errors: *VoterError; among its codes kerr.RequestTimedOut leaves the outcome open. ErrNoLeader: nothing was done.
// ErrUncertain: the leader was asked and did not answer.
func (Client) AddVoter(ctx context.Context, controllers []string, voter ReplicaKey, endpoints []Endpoint) error {
	req := kmsg.NewPtrAddRaftVoterRequest()
	req.VoterID, req.VoterDirectoryID, req.TimeoutMillis = voter.ID, voter.DirectoryID, int32(QuestionTimeout.Milliseconds())
	for _, e := range endpoints {
		l := kmsg.NewAddRaftVoterRequestListener()
		l.Name, l.Host, l.Port = e.Listener, e.Host, e.Port
		req.Listeners = append(req.Listeners, l)
	}
	return askLeader(ctx, controllers, req, func(r kmsg.Response) (int16, *string) {
		resp := r.(*kmsg.AddRaftVoterResponse)
		return resp.ErrorCode, resp.ErrorMessage
	})
}

// RemoveVoter asks the leader among controllers to remove the voter with exactly this key. Errors as AddVoter.
func (Client) RemoveVoter(ctx context.Context, controllers []string, voter ReplicaKey) error {
	req := kmsg.NewPtrRemoveRaftVoterRequest()
	req.VoterID, req.VoterDirectoryID = voter.ID, voter.DirectoryID
	return askLeader(ctx, controllers, req, func(r kmsg.Response) (int16, *string) {
		resp := r.(*kmsg.RemoveRaftVoterResponse)
		return resp.ErrorCode, resp.ErrorMessage
	})
}

// askLeader puts a request that only a leader carries out to one address after the other, until one leads. A controller that
// does not lead has done nothing.
func askLeader(ctx context.Context, controllers []string, req kmsg.Request, result func(kmsg.Response) (int16, *string)) error {
	name := kmsg.NameForKey(req.Key())
	errs := []error{ErrNoLeader}
	for _, addr := range controllers {
		one, cancel := context.WithTimeout(ctx, QuestionTimeout)
		resp, err := ask(one, addr, req)
		cancel()
		if err != nil {
			if !isUnsent(err) {
				return fmt.Errorf("%w: %w", ErrUncertain, err)
			}
			errs = append(errs, err)
			continue
		}
		code, text := result(resp)
		switch err := kerr.ErrorForCode(code); {
		case err == nil:
			return nil
		case errors.Is(err, kerr.NotLeaderForPartition) && (text == nil || *text == ""):
			errs = append(errs, fmt.Errorf("%s: %s: %w", addr, name, err))
		default:
			refusal := &VoterError{Code: err}
			if text != nil {
				refusal.Text = *text
			}
			return fmt.Errorf("%s: %s: %w", addr, name, refusal)
		}
	}
	return errors.Join(errs...)
}

// isUnsent reports an error that came before anything was sent.
func isUnsent(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial"
}

// ErrTransferUnsupported is returned by a leader that can't hand over to a named voter: Apache Kafka's can't.
var ErrTransferUnsupported = errors.New("not supported: this leader can't hand over to a named voter, it is not one of ours; stop it, or remove it from the voters, instead")

// Transfer asks the leader among controllers to hand over to another voter: it lets that one catch up, takes no more writes, and names it
// first successor. The answer comes when the leader has resigned; who is elected is a matter of a look afterwards. The request
// is ElectLeaders for __cluster_metadata with the node id for the partition (docs/decisions/0015).
func (Client) Transfer(ctx context.Context, controllers []string, to int32) error {
	req := kmsg.NewPtrElectLeadersRequest()
	t := kmsg.NewElectLeadersRequestTopic()
	t.Topic, t.Partitions = metadataTopic, []int32{to}
	req.Topics, req.TimeoutMillis = append(req.Topics, t), int32(QuestionTimeout.Milliseconds())
	err := askLeader(ctx, controllers, req, func(r kmsg.Response) (int16, *string) {
		resp := r.(*kmsg.ElectLeadersResponse)
		if resp.ErrorCode == 0 && len(resp.Topics) == 1 && len(resp.Topics[0].Partitions) == 1 {
			p := resp.Topics[0].Partitions[0]
			return p.ErrorCode, p.ErrorMessage
		}
		if resp.ErrorCode == kerr.NotController.Code {
			return kerr.NotLeaderForPartition.Code, nil
		}
		return resp.ErrorCode, nil
	})
	if errors.Is(err, kerr.UnknownTopicOrPartition) {
		return fmt.Errorf("%w: %w", ErrTransferUnsupported, err)
	}
	return err
}
