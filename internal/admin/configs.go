package admin

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// DynamicDefaults asks the active controller for the cluster's dynamic default settings: the broker resource "". Values
// that must not be shown are "".
func (Client) DynamicDefaults(ctx context.Context, leader string) (map[string]string, error) {
	ctx, cancel := context.WithTimeout(ctx, QuestionTimeout)
	defer cancel()
	req := kmsg.NewPtrDescribeConfigsRequest()
	r := kmsg.NewDescribeConfigsRequestResource()
	r.ResourceType = kmsg.ConfigResourceTypeBroker
	req.Resources = append(req.Resources, r)
	raw, err := ask(ctx, leader, req)
	if err != nil {
		return nil, fmt.Errorf("describe configs: %w", err)
	}
	out := map[string]string{}
	for _, r := range raw.(*kmsg.DescribeConfigsResponse).Resources {
		if err := kerr.ErrorForCode(r.ErrorCode); err != nil {
			return nil, fmt.Errorf("%s: describe configs: %w", leader, err)
		}
		for _, c := range r.Configs {
			value := ""
			if c.Value != nil {
				value = *c.Value
			}
			out[c.Name] = value
		}
	}
	return out, nil
}

// AlterDynamicDefaults asks the active controller to set and to remove dynamic default settings of the cluster
// (KIP-339), all or none. Errors as of AddVoter; doing it again does no harm.
func (Client) AlterDynamicDefaults(ctx context.Context, leader string, set map[string]string, remove []string) error {
	res := kmsg.NewIncrementalAlterConfigsRequestResource()
	res.ResourceType = kmsg.ConfigResourceTypeBroker
	for _, key := range slices.Sorted(maps.Keys(set)) {
		c := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
		c.Name, c.Op, c.Value = key, kmsg.IncrementalAlterConfigOpSet, kmsg.StringPtr(set[key])
		res.Configs = append(res.Configs, c)
	}
	for _, key := range remove {
		c := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
		c.Name, c.Op = key, kmsg.IncrementalAlterConfigOpDelete
		res.Configs = append(res.Configs, c)
	}
	req := kmsg.NewPtrIncrementalAlterConfigsRequest()
	req.Resources = append(req.Resources, res)
	return askLeader(ctx, []string{leader}, req, func(r kmsg.Response) (int16, *string) {
		for _, r := range r.(*kmsg.IncrementalAlterConfigsResponse).Resources {
			if r.ErrorCode != 0 {
				return noLeader(r.ErrorCode), r.ErrorMessage
			}
		}
		return 0, nil
	})
}

// UnregisterBroker asks the active controller to forget a broker (KIP-631). One that isn't registered is no error.
// Other errors as of AddVoter; doing it again does no harm.
func (Client) UnregisterBroker(ctx context.Context, leader string, id int32) error {
	req := kmsg.NewPtrUnregisterBrokerRequest()
	req.BrokerID = id
	err := askLeader(ctx, []string{leader}, req, func(r kmsg.Response) (int16, *string) {
		resp := r.(*kmsg.UnregisterBrokerResponse)
		return noLeader(resp.ErrorCode), resp.ErrorMessage
	})
	if errors.Is(err, kerr.BrokerIDNotRegistered) {
		return nil
	}
	return err
}

// noLeader is the code by which controllers that don't lead refuse metadata writes, as askLeader knows it.
func noLeader(code int16) int16 {
	if code == kerr.NotController.Code {
		return kerr.NotLeaderForPartition.Code
	}
	return code
}
