package sim

import (
	"encoding/binary"
	"reflect"

	"github.com/kraft-dev/kraft-operator/internal/quorum"
	qdisk "github.com/kraft-dev/kraft-operator/internal/quorum/disk"
	"github.com/kraft-dev/kraft-operator/internal/storage/record"
	"github.com/kraft-dev/kraft-operator/internal/storage/record/control"
)

// On fake disks a batch is its number, in 4 bytes. On real disks it is Kafka's batch, and its bytes are looked up: there is
// no other proof that a disk gave back what it was given.

// wallClock is the time at the begin of a run, in ms since 1970.
const wallClock = 1_750_000_000_000

func (w *world) nowMs() int64 { return wallClock + w.now.Milliseconds() }

// newBatch registers a batch; real bytes are made of its records or of its control records.
func (w *world) newBatch(info quorum.BatchInfo, value uint64) batchID {
	id := batchID(len(w.batches))
	b := batch{info: info, value: value}
	if w.real {
		b.bytes = w.build(info, value)
		b.info.Size = len(b.bytes)
		if _, there := w.byBytes[string(b.bytes)]; there {
			w.check.fail("a batch of epoch %d at offset %d is written twice", info.Epoch, info.Base)
		}
		w.byBytes[string(b.bytes)] = id
	}
	w.batches = append(w.batches, b)
	return id
}

func (w *world) build(info quorum.BatchInfo, value uint64) []byte {
	if info.Control != nil {
		return control.AppendBatch(nil, int64(info.Base), int32(info.Epoch), w.nowMs(), qdisk.ControlRecords(info.Control)...)
	}
	b := record.NewBuilder(record.BuilderConfig{BaseOffset: int64(info.Base), Epoch: int32(info.Epoch)})
	for o := info.Base; o <= info.Last; o++ {
		v := binary.BigEndian.AppendUint64(nil, value)
		if value%8 == 0 { // over several sectors
			v = append(v, make([]byte, value%1500)...)
		}
		b.Append(w.nowMs(), nil, v)
	}
	out, err := b.Build()
	if err != nil {
		w.check.fail("a batch can't be built: %v", err)
	}
	return append([]byte(nil), out...)
}

// encode puts batches into the bytes of a Propose or a fetch answer.
func (w *world) encode(dst []byte, id batchID) []byte {
	if w.real {
		return append(dst, w.batches[id].bytes...)
	}
	return binary.BigEndian.AppendUint32(dst, uint32(id))
}

// decode finds the batches that these bytes are; ok is false where one is no batch that a leader ever made.
func (w *world) decode(data []byte) (ids []batchID, ok bool) {
	for len(data) > 0 {
		if !w.real {
			if len(data) < 4 {
				return ids, false
			}
			ids, data = append(ids, batchID(binary.BigEndian.Uint32(data))), data[4:]
			continue
		}
		b, rest, err := record.Split(data)
		if err != nil {
			return ids, false
		}
		id, known := w.byBytes[string(b)]
		if !known {
			return ids, false
		}
		ids, data = append(ids, id), rest
	}
	return ids, true
}

// describe is the receiving driver's work: it checks the batches and says what they are.
func (w *world) describe(c *quorum.FetchResponse) {
	if len(c.Data) == 0 {
		return
	}
	if !w.real {
		ids, _ := w.decode(c.Data)
		for _, id := range ids {
			c.Batches = append(c.Batches, w.batches[id].info)
		}
		return
	}
	batches, whole, err := qdisk.DescribeBatches(c.Data)
	if err != nil {
		c.Data, c.Corrupt = nil, true
		return
	}
	ids, ok := w.decode(whole)
	if !ok || len(ids) != len(batches) {
		w.check.fail("a fetch answer of %d batches has bytes that no leader wrote", len(batches))
	}
	for i, id := range ids {
		if want := w.batches[id].info; !reflect.DeepEqual(batches[i], want) {
			w.check.fail("batch %d is described as %+v, it is %+v", id, batches[i], want)
		}
	}
	c.Data, c.Batches = whole, batches
}

// spoil flips a bit on the wire, where a checksum sees it.
func (w *world) spoil(data []byte) []byte {
	out := append([]byte(nil), data...)
	b, _, err := record.Split(out)
	if err != nil {
		w.check.fail("a fetch answer begins with %v", err)
	}
	const covered = 21 // first byte under the CRC
	b[covered+w.rng.IntN(len(b)-covered)] ^= 1 << w.rng.IntN(8)
	return out
}
