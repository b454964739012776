package controllers

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/kraft-dev/kraft-operator/controllers/plan"
	"github.com/kraft-dev/kraft-operator/internal/admin"
)

// replicaSets gathers partitions by where their replicas are: a cluster has many partitions and few such sets.
type replicaSets struct {
	at   map[string]int // place in list
	list []plan.ReplicaSet
}

func (r *replicaSets) add(p admin.Partition) {
	replicas, isr := slices.Sorted(slices.Values(p.Replicas)), slices.Sorted(slices.Values(p.ISR))
	var key []byte
	for _, id := range slices.Concat(replicas, []int32{-1}, isr, []int32{-1, int32(p.MinISR)}) {
		key = binary.BigEndian.AppendUint32(key, uint32(id))
	}
	if r.at == nil {
		r.at = map[string]int{}
	}
	i, ok := r.at[string(key)]
	if !ok {
		i = len(r.list)
		r.at[string(key)] = i
		r.list = append(r.list, plan.ReplicaSet{
			Replicas: replicas, ISR: isr, MinISR: p.MinISR,
		})
	}
	set := &r.list[i]
	if set.Count++; len(set.Examples) < plan.Examples {
		set.Examples = append(set.Examples, fmt.Sprintf("%s-%d", p.Topic, p.Partition))
	}
}
