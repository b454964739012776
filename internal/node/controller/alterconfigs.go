package controller

import (
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kraft-dev/kraft-operator/internal/metadata"
)

// incrementalAlterConfigs serves IncrementalAlterConfigs v0 and 1 (KIP-339): each resource changes whole or not at all.
func incrementalAlterConfigs(tx *tx, who access, req *kmsg.IncrementalAlterConfigsRequest) (kmsg.Response, error) {
	resp := kmsg.NewPtrIncrementalAlterConfigsResponse()
	var all []configChange
	for _, r := range req.Resources {
		ch := configChange{typ: r.ResourceType, name: r.ResourceName}
		for _, c := range r.Configs {
			ch.ops = append(ch.ops, configOp{c.Name, c.Op, c.Value})
		}
		all = append(all, ch)
	}
	tx.alterConfigResources(who, all, false, req.ValidateOnly, func(ch configChange, e *apiError) {
		resp.Resources = append(resp.Resources, kmsg.IncrementalAlterConfigsResponseResource{
			ErrorCode: codeOf(e), ErrorMessage: e.text(), ResourceType: ch.typ, ResourceName: ch.name,
		})
	})
	return resp, nil
}

// alterConfigs serves the older AlterConfigs v0 to 2: what isn't named goes back to its default.
func alterConfigs(tx *tx, who access, req *kmsg.AlterConfigsRequest) (kmsg.Response, error) {
	resp := kmsg.NewPtrAlterConfigsResponse()
	var all []configChange
	for _, r := range req.Resources {
		ch := configChange{typ: r.ResourceType, name: r.ResourceName}
		for _, c := range r.Configs {
			ch.ops = append(ch.ops, configOp{c.Name, kmsg.IncrementalAlterConfigOpSet, c.Value})
		}
		all = append(all, ch)
	}
	tx.alterConfigResources(who, all, true, req.ValidateOnly, func(ch configChange, e *apiError) {
		resp.Resources = append(resp.Resources, kmsg.AlterConfigsResponseResource{
			ErrorCode: codeOf(e), ErrorMessage: e.text(), ResourceType: ch.typ, ResourceName: ch.name,
		})
	})
	return resp, nil
}

// configChange is what a request asks of one resource.
type configChange struct {
	typ  kmsg.ConfigResourceType
	name string
	ops  []configOp
}

func (ch configChange) resource() metadata.ConfigResource {
	return metadata.ConfigResource{Type: int8(ch.typ), Name: ch.name}
}

// alterConfigResources alters each resource of a request and answers for it; one named more than once is refused, once.
func (tx *tx) alterConfigResources(who access, all []configChange, replace, validateOnly bool, answer func(configChange, *apiError)) {
	named := map[metadata.ConfigResource]int{}
	for _, ch := range all {
		named[ch.resource()]++
	}
	answered := map[metadata.ConfigResource]bool{}
	for _, ch := range all {
		res := ch.resource()
		switch {
		case answered[res]:
			continue
		case !knownResourceType(res.Type):
			answer(ch, fail(kerr.UnsupportedVersion, "Unknown resource type %d.", res.Type))
			continue
		}
		answered[res] = true
		answer(ch, tx.alterConfigResource(who, ch, named[res], replace))
	}
	if validateOnly {
		tx.discard()
	}
}

func (tx *tx) alterConfigResource(who access, ch configChange, named int, replace bool) *apiError {
	if named > 1 {
		return fail(kerr.InvalidRequest, "Duplicate resource.")
	}
	if e := who.config(kmsg.ACLOperationAlterConfigs, ch.resource()); e != nil {
		return e
	}
	return tx.alterResource(ch.resource(), ch.ops, replace)
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
