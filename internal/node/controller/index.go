package controller

import (
	"bytes"
	"cmp"

	"github.com/tidwall/btree"

	"github.com/kraft-dev/kraft-operator/internal/metadata"
)

// noLeader is the leader of a partition without one.
const noLeader = metadata.NoLeader

// index answers what the image can't without a scan. It is persistent like the image: copies share all that didn't
// change.
type index struct {
	imbalanced  *btree.BTreeG[metadata.PartitionRef] // led, but not by the first replica
	reassigning *btree.BTreeG[metadata.PartitionRef] // with replicas that come or go
	colliding   *btree.BTreeG[collision]
}

// collision is a topic whose name has '.' or '_'; unified is the name under which it collides.
type collision struct{ unified, name string }

func newIndex() index {
	o := btree.Options{NoLocks: true}
	less := func(a, b metadata.PartitionRef) bool { return compareRefs(a, b) < 0 }
	return index{
		imbalanced:  btree.NewBTreeGOptions(less, o),
		reassigning: btree.NewBTreeGOptions(less, o),
		colliding: btree.NewBTreeGOptions(func(a, b collision) bool {
			return cmp.Or(cmp.Compare(a.unified, b.unified), cmp.Compare(a.name, b.name)) < 0
		}, o),
	}
}

func compareRefs(a, b metadata.PartitionRef) int {
	return cmp.Or(bytes.Compare(a.TopicID[:], b.TopicID[:]), cmp.Compare(a.Partition, b.Partition))
}

// after is the index of next, which differs from prev as delta says.
func (x index) after(prev, next *metadata.Image, delta *metadata.Delta) index {
	if len(delta.Topics) == 0 {
		return x
	}
	out := index{imbalanced: x.imbalanced.Copy(), reassigning: x.reassigning.Copy(), colliding: x.colliding.Copy()}
	for id, t := range delta.Topics {
		_, was := prev.TopicByID(id)
		_, is := next.TopicByID(id)
		if unified, ok := collidingName(t.Name); ok && was != is {
			if is {
				out.colliding.Set(collision{unified, t.Name})
			} else {
				out.colliding.Delete(collision{unified, t.Name})
			}
		}
		for i := range t.Partitions {
			ref := metadata.PartitionRef{TopicID: id, Partition: i}
			p, ok := next.Partition(id, i)
			member(out.imbalanced, ref, ok && imbalanced(p))
			member(out.reassigning, ref, ok && len(p.Adding)+len(p.Removing) > 0)
		}
	}
	return out
}

func member(set *btree.BTreeG[metadata.PartitionRef], ref metadata.PartitionRef, in bool) {
	if in {
		set.Set(ref)
	} else {
		set.Delete(ref)
	}
}

func imbalanced(p *metadata.Partition) bool {
	return p.Leader != noLeader && len(p.Replicas) > 0 && p.Leader != p.Replicas[0]
}

// collidesWith returns an existing topic whose name differs from name in '.' and '_' only.
func (x index) collidesWith(name string) (string, bool) {
	unified, ok := collidingName(name)
	if !ok {
		return "", false
	}
	found := ""
	x.colliding.Ascend(collision{unified: unified}, func(c collision) bool {
		if c.unified == unified {
			found = c.name
		}
		return false
	})
	return found, found != ""
}
