package controller

// queue is a FIFO whose memory is given back as it drains.
type queue[T any] struct {
	items []T
	head  int
}

func (q *queue[T]) len() int  { return len(q.items) - q.head }
func (q *queue[T]) push(v T)  { q.items = append(q.items, v) }
func (q *queue[T]) front() *T { return &q.items[q.head] }
func (q *queue[T]) reset()    { *q = queue[T]{} }

func (q *queue[T]) pop() T {
	v := q.items[q.head]
	var zero T
	q.items[q.head] = zero
	q.head++
	switch {
	case q.head == len(q.items):
		q.items, q.head = q.items[:0], 0
	case q.head > 64 && q.head*2 > len(q.items):
		q.items = append(q.items[:0:0], q.items[q.head:]...)
		q.head = 0
	}
	return v
}
