package metadata

import (
	"cmp"
	"iter"
	"sync"

	"github.com/tidwall/btree"
)

// pmap is a persistent ordered map: a copy is O(1) and shares all nodes; writing to the copy replaces only the
// nodes on the way to what changes. A pmap that an Image holds is never written again.
type pmap[K, V any] struct {
	mu  sync.Mutex // copying marks the shared nodes; readers don't look at the mark
	cmp func(a, b K) int
	t   *btree.BTreeG[entry[K, V]]
}

type entry[K, V any] struct {
	key K
	val V
}

func newPmap[K, V any](cmp func(a, b K) int) *pmap[K, V] {
	less := func(a, b entry[K, V]) bool { return cmp(a.key, b.key) < 0 }
	return &pmap[K, V]{cmp: cmp, t: btree.NewBTreeGOptions(less, btree.Options{NoLocks: true, Degree: 16})}
}

func newOrdered[K cmp.Ordered, V any]() *pmap[K, V] { return newPmap[K, V](cmp.Compare[K]) }

func (m *pmap[K, V]) copy() *pmap[K, V] {
	m.mu.Lock()
	defer m.mu.Unlock()
	return &pmap[K, V]{cmp: m.cmp, t: m.t.Copy()}
}

// own returns a map that the caller may write: *p itself when it isn't shared (prev) any more, else a copy
// that replaces it.
func own[K, V any](p **pmap[K, V], prev *pmap[K, V]) *pmap[K, V] {
	if *p == prev {
		*p = prev.copy()
	}
	return *p
}

func (m *pmap[K, V]) get(k K) (V, bool) {
	e, ok := m.t.Get(entry[K, V]{key: k})
	return e.val, ok
}

func (m *pmap[K, V]) set(k K, v V) { m.t.Set(entry[K, V]{k, v}) }

func (m *pmap[K, V]) delete(k K) bool {
	_, ok := m.t.Delete(entry[K, V]{key: k})
	return ok
}

func (m *pmap[K, V]) len() int { return m.t.Len() }

// all yields the entries in key order.
func (m *pmap[K, V]) all() iter.Seq2[K, V] {
	return func(yield func(K, V) bool) {
		m.t.Scan(func(e entry[K, V]) bool { return yield(e.key, e.val) })
	}
}

// from yields the entries from k on, in key order.
func (m *pmap[K, V]) from(k K) iter.Seq2[K, V] {
	return func(yield func(K, V) bool) {
		m.t.Ascend(entry[K, V]{key: k}, func(e entry[K, V]) bool { return yield(e.key, e.val) })
	}
}
