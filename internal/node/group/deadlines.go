package group

import (
	"container/heap"
	"time"
)

// timed is an entry's place among the deadlines.
type timed struct {
	shard *shard
	due   time.Duration // never later than the group's own deadline
	index int           // in the heap, -1 while it isn't there
}

// deadlines are the groups in which something is timed, the earliest first: finding the next one doesn't take a look at
// all groups. A deadline that was pushed back by a sign of life stays where it was, and is put right when its time comes.
type deadlines []*entry

// Len is heap.Interface's, as are Less, Swap, Push and Pop.
func (d deadlines) Len() int           { return len(d) }
func (d deadlines) Less(i, j int) bool { return d[i].due < d[j].due }
func (d deadlines) Swap(i, j int) {
	d[i], d[j] = d[j], d[i]
	d[i].index, d[j].index = i, j
}

// Push adds an *entry at the end.
func (d *deadlines) Push(x any) {
	e := x.(*entry)
	e.index = len(*d)
	*d = append(*d, e)
}

// Pop takes the last one.
func (d *deadlines) Pop() any {
	last := len(*d) - 1
	e := (*d)[last]
	(*d)[last] = nil
	*d, e.index = (*d)[:last], -1
	return e
}

// set puts an entry where its deadline is; ok is false when nothing of it is timed.
func (d *deadlines) set(e *entry, at time.Duration, ok bool) {
	switch {
	case !ok && e.index >= 0:
		heap.Remove(d, e.index)
	case ok && e.index < 0:
		e.due = at
		heap.Push(d, e)
	case ok && e.due != at:
		e.due = at
		heap.Fix(d, e.index)
	}
}

// takeDue removes the entries whose time has come.
func (d *deadlines) takeDue(now time.Duration) (due []*entry) {
	for len(*d) > 0 && (*d)[0].due <= now {
		due = append(due, heap.Pop(d).(*entry))
	}
	return due
}

// schedule notes when a group must be looked at next. Whatever may bring its deadline forward ends here, by way of apply.
func (c *Coordinator) schedule(s *shard, e *entry) {
	at, ok := e.Deadline()
	e.shard = s
	c.deadlines.set(e, at, ok && c.holds(s, e))
}

// holds tells whether a group is still one of this coordinator's.
func (c *Coordinator) holds(s *shard, e *entry) bool {
	return c.shards[s.partition] == s && s.groups[e.ID] == e
}

func (c *Coordinator) untilDeadline() time.Duration {
	if len(c.deadlines) == 0 {
		return time.Hour
	}
	return min(time.Hour, max(0, c.deadlines[0].due-c.now()))
}

// tick gives each group whose time has come the chance to act, once.
func (c *Coordinator) tick() {
	now := c.now()
	for _, e := range c.deadlines.takeDue(now) {
		if at, ok := e.Deadline(); ok && at <= now && c.holds(e.shard, e) {
			c.apply(e.shard, e, e.Tick(now))
		} else {
			c.schedule(e.shard, e)
		}
	}
}
