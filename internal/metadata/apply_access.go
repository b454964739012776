package metadata

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
)

func (a *applier) addACL(rec *AccessControlEntryRecord) error {
	if _, ok := a.next.acls.get(rec.ID); ok {
		return fmt.Errorf("access control entry %s exists", rec.ID)
	}
	own(&a.next.acls, a.prev.acls).set(rec.ID, rec)
	mark(&a.delta.ACLs, rec.ID)
	return nil
}

func (a *applier) removeACL(rec *RemoveAccessControlEntryRecord) error {
	if _, ok := a.next.acls.get(rec.ID); !ok {
		return fmt.Errorf("unknown access control entry %s", rec.ID)
	}
	own(&a.next.acls, a.prev.acls).delete(rec.ID)
	mark(&a.delta.ACLs, rec.ID)
	return nil
}

func (a *applier) setScram(rec *UserScramCredentialRecord) error {
	key := ScramKey{rec.Mechanism, rec.Name}
	own(&a.next.scram, a.prev.scram).set(key, rec)
	mark(&a.delta.Scram, key)
	return nil
}

func (a *applier) removeScram(rec *RemoveUserScramCredentialRecord) error {
	key := ScramKey{rec.Mechanism, rec.Name}
	if _, ok := a.next.scram.get(key); !ok {
		return fmt.Errorf("user %q has no credential of mechanism %d", rec.Name, rec.Mechanism)
	}
	own(&a.next.scram, a.prev.scram).delete(key)
	mark(&a.delta.Scram, key)
	return nil
}

// QuotaKey is a text that stands for one quota entity, whatever the order of its parts.
func QuotaKey(entity []QuotaEntity) string {
	var key []byte
	for _, e := range sortedEntity(entity) {
		key = appendString(key, e.EntityType)
		key = appendNullableString(key, e.EntityName)
	}
	return string(key)
}

func sortedEntity(entity []QuotaEntity) []QuotaEntity {
	return slices.SortedStableFunc(slices.Values(entity), func(a, b QuotaEntity) int {
		return cmp.Compare(a.EntityType, b.EntityType)
	})
}

func (a *applier) setQuota(rec *ClientQuotaRecord) error {
	key := QuotaKey(rec.Entity)
	next := &QuotaEntry{Entity: sortedEntity(rec.Entity), Values: map[string]float64{}}
	if old, ok := a.next.quotas.get(key); ok {
		next.Values = maps.Clone(old.Values)
	}
	if rec.Remove {
		delete(next.Values, rec.Key)
	} else {
		next.Values[rec.Key] = rec.Value
	}
	if len(next.Values) == 0 {
		own(&a.next.quotas, a.prev.quotas).delete(key)
	} else {
		own(&a.next.quotas, a.prev.quotas).set(key, next)
	}
	mark(&a.delta.Quotas, key)
	return nil
}

func (a *applier) setToken(rec *DelegationTokenRecord) error {
	own(&a.next.tokens, a.prev.tokens).set(rec.TokenID, rec)
	mark(&a.delta.Tokens, rec.TokenID)
	return nil
}

// removeToken forgives an unknown token, as Kafka does: a token may expire twice.
func (a *applier) removeToken(rec *RemoveDelegationTokenRecord) error {
	own(&a.next.tokens, a.prev.tokens).delete(rec.TokenID)
	mark(&a.delta.Tokens, rec.TokenID)
	return nil
}
