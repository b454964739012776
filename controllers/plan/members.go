package plan

import (
	"fmt"
	"slices"

	"github.com/kraft-dev/kraft-operator/controllers/plan/planted"
)

// PoolSize is the range of node ids of one pool.
const PoolSize = 1000

// Members is a pool's node ids, and what is asked of it.
type Members struct {
	First int32   // of the pool's range
	IDs   []int32 // there now, ascending
	Want  int32   // nodes the spec asks for
	// Kept are ids of the range whose claims exist. One that isn't in IDs belongs to a node that left: its data may
	// come back, so its id is never given to another.
	Kept []int32
}

// Grow returns the ids of a pool that shall have Want nodes: those it has and the lowest free ones. Fewer than it has
// is not for Grow: it returns those it has.
func (m Members) Grow() ([]int32, error) {
	ids := slices.Clone(m.IDs)
	for id := m.First; int32(len(ids)) < m.Want; id++ {
		if id >= m.First+PoolSize {
			return nil, fmt.Errorf("no free node id in %d to %d: delete claims of nodes that left for good", m.First, m.First+PoolSize-1)
		}
		if !slices.Contains(ids, id) && (!slices.Contains(m.Kept, id) || planted.Bug == planted.IDAgain) {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids, nil
}
