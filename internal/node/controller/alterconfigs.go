package controller

import (
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kraft-dev/kraft-operator/internal/metadata"
)

// incrementalAlterConfigs serves IncrementalAlterConfigs v0 and 1 (KIP-339): each resource changes whole or not at all.
func incrementalAlterConfigs(tx *tx, who access, req *kmsg.IncrementalAlterConfigsRequest) (kmsg.Response, error) {
	resp := kmsg.NewPtrIncrementalAlterConfigsResponse()
	counts := map[metadata.ConfigResource]int{}
	for _, r := range req.Resources {
		counts[metadata.ConfigResource{Type: int8(r.ResourceType), Name: r.ResourceName}]++
	}
	for _, r := range req.Resources {
		res := metadata.ConfigResource{Type: int8(r.ResourceType), Name: r.ResourceName}
		if counts[res] < 0 {
			continue
		}
		ops := make([]configOp, len(r.Configs))
		for i, c := range r.Configs {
			ops[i] = configOp{c.Name, c.Op, c.Value}
		}
		e := tx.alterConfigResource(who, res, counts, ops, false)
		resp.Resources = append(resp.Resources, kmsg.IncrementalAlterConfigsResponseResource{
			ErrorCode: codeOf(e), ErrorMessage: e.text(), ResourceType: r.ResourceType, ResourceName: r.ResourceName,
		})
	}
	if req.ValidateOnly {
		tx.discard()
	}
	return resp, nil
}

// alterConfigs serves the older AlterConfigs v0 to 2: what isn't named goes back to its default.
func alterConfigs(tx *tx, who access, req *kmsg.AlterConfigsRequest) (kmsg.Response, error) {
	resp := kmsg.NewPtrAlterConfigsResponse()
	counts := map[metadata.ConfigResource]int{}
	for _, r := range req.Resources {
		counts[metadata.ConfigResource{Type: int8(r.ResourceType), Name: r.ResourceName}]++
	}
	for _, r := range req.Resources {
		res := metadata.ConfigResource{Type: int8(r.ResourceType), Name: r.ResourceName}
		if counts[res] < 0 {
			continue
		}
		ops := make([]configOp, len(r.Configs))
		for i, c := range r.Configs {
			ops[i] = configOp{c.Name, kmsg.IncrementalAlterConfigOpSet, c.Value}
		}
		e := tx.alterConfigResource(who, res, counts, ops, true)
		resp.Resources = append(resp.Resources, kmsg.AlterConfigsResponseResource{
			ErrorCode: codeOf(e), ErrorMessage: e.text(), ResourceType: r.ResourceType, ResourceName: r.ResourceName,
		})
	}
	if req.ValidateOnly {
		tx.discard()
	}
	return resp, nil
}

// alterConfigResource alters one resource of a request; counts says how often each is named, and one named more than
// once is answered once.
func (tx *tx) alterConfigResource(who access, res metadata.ConfigResource, counts map[metadata.ConfigResource]int, ops []configOp, replace bool) *apiError {
	if !knownResourceType(res.Type) {
		return fail(kerr.UnsupportedVersion, "Unknown resource type %d.", res.Type)
	}
	if counts[res] > 1 {
		counts[res] = -1
		return fail(kerr.InvalidRequest, "Duplicate resource.")
	}
	if e := who.config(kmsg.ACLOperationAlterConfigs, res); e != nil {
		return e
	}
	return tx.alterResource(res, ops, replace)
}

func knownResourceType(typ int8) bool {
	switch typ {
	case metadata.ResourceTopic, metadata.ResourceBroker, metadata.ResourceBrokerLogger, metadata.ResourceClientMetrics, metadata.ResourceGroup:
		return true
	}
	return false
}

// config says why the sender may not do op to a resource's settings.
func (a access) config(op kmsg.ACLOperation, res metadata.ConfigResource) *apiError {
	switch res.Type {
	case metadata.ResourceTopic:
		if !a.topic(op, res.Name) {
			return failCode(kerr.TopicAuthorizationFailed)
		}
	case metadata.ResourceGroup:
		if !a.allowed(op, kmsg.ACLResourceTypeGroup, res.Name) {
			return failCode(kerr.GroupAuthorizationFailed)
		}
	default:
		if !a.cluster(op) {
			return failCode(kerr.ClusterAuthorizationFailed)
		}
	}
	return nil
}
