package controller

import (
	"math"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kraft-dev/kraft-operator/internal/metadata"
)

// Quota keys by who they are for (KIP-546, KIP-599, KIP-612).
var (
	clientQuotaKeys = []string{"consumer_byte_rate", "controller_mutation_rate", "producer_byte_rate", "request_percentage"}
	ipQuotaKeys     = []string{"connection_creation_rate"}
)

// alterClientQuotas serves AlterClientQuotas v0 and 1: each entry whole or not at all.
func alterClientQuotas(tx *tx, req *kmsg.AlterClientQuotasRequest) (kmsg.Response, error) {
	resp := kmsg.NewPtrAlterClientQuotasResponse()
	seen := map[string]bool{}
	for _, entry := range req.Entries {
		entity := quotaEntity(entry)
		key := metadata.QuotaKey(entity)
		var e *apiError
		if seen[key] {
			e = fail(kerr.InvalidRequest, "The same quota entity is listed more than once.")
		} else if e = checkQuota(entity, entry.Ops); e == nil {
			tx.setQuotas(entity, entry.Ops)
		}
		seen[key] = true
		resp.Entries = append(resp.Entries, quotaAnswer(entry, e))
	}
	if req.ValidateOnly {
		tx.discard()
	}
	return resp, nil
}

func (tx *tx) setQuotas(entity []metadata.QuotaEntity, ops []kmsg.AlterClientQuotasRequestEntryOp) {
	old := tx.view().img.Quota(entity)
	for _, op := range ops {
		was, had := old[op.Key]
		if op.Remove && !had || !op.Remove && had && was == op.Value {
			continue
		}
		rec := metadata.NewClientQuotaRecord()
		rec.Entity, rec.Key, rec.Remove = entity, op.Key, op.Remove
		if !op.Remove {
			rec.Value = op.Value
		}
		tx.emit(rec)
	}
}

func quotaEntity(entry kmsg.AlterClientQuotasRequestEntry) []metadata.QuotaEntity {
	var out []metadata.QuotaEntity
	for _, e := range entry.Entity {
		out = append(out, metadata.QuotaEntity{EntityType: e.Type, EntityName: e.Name})
	}
	return out
}

func checkQuota(entity []metadata.QuotaEntity, ops []kmsg.AlterClientQuotasRequestEntryOp) *apiError {
	if len(entity) == 0 {
		return fail(kerr.InvalidRequest, "Invalid empty client quota entity")
	}
	valid := clientQuotaKeys
	types := map[string]bool{}
	for _, e := range entity {
		if types[e.EntityType] {
			return fail(kerr.InvalidRequest, "Invalid client quota entity, duplicate entity type %s", e.EntityType)
		}
		types[e.EntityType] = true
		switch e.EntityType {
		case "user", "client-id":
		case "ip":
			valid = ipQuotaKeys
		default:
			return fail(kerr.InvalidRequest, "Unhandled client quota entity type: %s", e.EntityType)
		}
		if e.EntityName != nil && *e.EntityName == "" {
			return fail(kerr.InvalidRequest, "Empty %s not supported", e.EntityType)
		}
	}
	if types["ip"] && len(types) > 1 {
		return fail(kerr.InvalidRequest, "Invalid quota entity combination, IP entity should not be combined with User or ClientId")
	}
	for i, op := range ops {
		switch {
		case !slices.Contains(valid, op.Key):
			return fail(kerr.InvalidRequest, "Invalid configuration key %s", op.Key)
		case slices.ContainsFunc(ops[:i], func(o kmsg.AlterClientQuotasRequestEntryOp) bool { return o.Key == op.Key }):
			return fail(kerr.InvalidRequest, "Duplicate configuration key %s", op.Key)
		case op.Remove:
		case math.IsNaN(op.Value) || math.IsInf(op.Value, 0) || op.Value <= 0:
			return fail(kerr.InvalidRequest, "Quota %s must be greater than 0", op.Key)
		case op.Key != "request_percentage" && op.Key != "controller_mutation_rate" && op.Value != math.Trunc(op.Value):
			return fail(kerr.InvalidRequest, "%s cannot be a fractional value", op.Key)
		}
	}
	return nil
}

func quotaAnswer(entry kmsg.AlterClientQuotasRequestEntry, e *apiError) kmsg.AlterClientQuotasResponseEntry {
	out := kmsg.AlterClientQuotasResponseEntry{ErrorCode: codeOf(e), ErrorMessage: e.text()}
	for _, part := range entry.Entity {
		out.Entity = append(out.Entity, kmsg.AlterClientQuotasResponseEntryEntity{Type: part.Type, Name: part.Name})
	}
	return out
}
