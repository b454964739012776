package storage

import (
	"slices"
	"sort"
)

// epochCache is the leader-epoch cache (KIP-101): where each epoch begins, ascending in both numbers.
type epochCache struct{ entries []EpochEntry }

func (c *epochCache) latest() (EpochEntry, bool) {
	if len(c.entries) == 0 {
		return EpochEntry{Epoch: -1, StartOffset: -1}, false
	}
	return c.entries[len(c.entries)-1], true
}

// assign adds an epoch that is newer than all known; it tells whether it did. Entries that begin at or past the new
// one hold no records and go.
func (c *epochCache) assign(epoch int32, start int64) bool {
	if last, ok := c.latest(); epoch < 0 || (ok && epoch <= last.Epoch) {
		return false
	}
	c.truncateEnd(start)
	c.entries = append(c.entries, EpochEntry{epoch, start})
	return true
}

// truncateEnd forgets epochs that begin at or past end.
func (c *epochCache) truncateEnd(end int64) bool {
	n := sort.Search(len(c.entries), func(i int) bool { return c.entries[i].StartOffset >= end })
	changed := n < len(c.entries)
	c.entries = slices.Clip(c.entries[:n])
	return changed
}

// truncateStart forgets epochs that end at or below start; the one that holds start now begins there.
func (c *epochCache) truncateStart(start int64) bool {
	n := sort.Search(len(c.entries), func(i int) bool { return c.entries[i].StartOffset > start })
	if n == 0 || (n == 1 && c.entries[0].StartOffset == start) {
		return false
	}
	c.entries = slices.Clone(c.entries[n-1:])
	c.entries[0].StartOffset = start
	return true
}

// endOffsetFor is the largest known epoch not past the asked one, and where it ends.
func (c *epochCache) endOffsetFor(epoch int32, logEnd int64) (int32, int64) {
	last, ok := c.latest()
	switch {
	case !ok || epoch < 0 || epoch > last.Epoch:
		return -1, -1
	case epoch == last.Epoch:
		return epoch, logEnd
	}
	higher := sort.Search(len(c.entries), func(i int) bool { return c.entries[i].Epoch > epoch })
	if higher == 0 {
		return epoch, c.entries[0].StartOffset
	}
	return c.entries[higher-1].Epoch, c.entries[higher].StartOffset
}

func (c *epochCache) at(offset int64) int32 {
	n := sort.Search(len(c.entries), func(i int) bool { return c.entries[i].StartOffset > offset })
	if n == 0 {
		return -1
	}
	return c.entries[n-1].Epoch
}
