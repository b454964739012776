package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/kraft-dev/kraft-operator/internal/metadata"
	"github.com/kraft-dev/kraft-operator/internal/storage/record"
	"github.com/kraft-dev/kraft-operator/internal/storage/record/control"
)

// readBatches reads the whole batches below an offset from a node's metadata log, CRCs checked, in order and without gaps.
func readBatches(dir string, below int64) ([]record.Batch, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.log"))
	if err != nil {
		return nil, err
	}
	slices.Sort(files)
	var out []record.Batch
	next := int64(-1)
	for _, file := range files {
		rest, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		for len(rest) > 0 {
			b, left, err := record.Split(rest)
			if err != nil || b.BaseOffset() >= below { // what is above may be in the middle of being written
				break
			}
			rest = left
			if err := b.Validate(); err != nil {
				return nil, fmt.Errorf("%s: offset %d: %w", file, b.BaseOffset(), err)
			}
			if b.BaseTimestamp() != b.MaxTimestamp() {
				return nil, fmt.Errorf("%s: offset %d: timestamps from %d to %d: a Java node exits over two in one batch", file, b.BaseOffset(), b.BaseTimestamp(), b.MaxTimestamp())
			}
			if next >= 0 && b.BaseOffset() != next {
				return nil, fmt.Errorf("%s: offset %d follows %d", file, b.BaseOffset(), next-1)
			}
			next = b.NextOffset()
			out = append(out, b)
		}
	}
	if next < below {
		return nil, fmt.Errorf("%s ends at %d, below %d", dir, next, below)
	}
	return out, nil
}

// sameBytes compares the part that two logs have in common and returns how many batches that is.
func sameBytes(a, b []record.Batch) (int, error) {
	if len(a) == 0 || len(b) == 0 {
		return 0, errors.New("an empty log")
	}
	start := max(a[0].BaseOffset(), b[0].BaseOffset())
	from := func(l []record.Batch) []record.Batch {
		return l[slices.IndexFunc(l, func(x record.Batch) bool { return x.BaseOffset() >= start }):]
	}
	a, b = from(a), from(b)
	for i := range min(len(a), len(b)) {
		if !bytes.Equal(a[i], b[i]) {
			return i, fmt.Errorf("offset %d: %d bytes of epoch %d and %d bytes of epoch %d differ", a[i].BaseOffset(), len(a[i]), a[i].Epoch(), len(b[i]), b[i].Epoch())
		}
	}
	if len(a) != len(b) {
		return 0, fmt.Errorf("%d and %d batches", len(a), len(b))
	}
	return len(a), nil
}

// entry is one record of the metadata log.
type entry struct {
	offset  int64
	epoch   int32
	leader  int32 // of that epoch
	record  metadata.Record
	control control.Record
}

// readEntries decodes every record below an offset.
func readEntries(dir string, below int64) ([]entry, error) {
	batches, err := readBatches(dir, below)
	if err != nil {
		return nil, err
	}
	var out []entry
	leader := int32(-1)
	for _, b := range batches {
		if b.IsControl() {
			recs, err := control.DecodeBatch(b)
			if err != nil {
				return nil, err
			}
			for _, r := range recs {
				if change, ok := r.Record.(control.LeaderChange); ok {
					leader = change.LeaderID
				}
				out = append(out, entry{offset: r.Offset, epoch: b.Epoch(), leader: leader, control: r.Record})
			}
			continue
		}
		for r, err := range b.Records(0) {
			if err != nil {
				return nil, err
			}
			rec, _, err := metadata.Decode(r.Value)
			if err != nil {
				return nil, fmt.Errorf("offset %d: %w", r.Offset, err)
			}
			out = append(out, entry{offset: r.Offset, epoch: b.Epoch(), leader: leader, record: rec})
		}
	}
	return out, nil
}

// history is all that a node knows of the metadata below an offset: the records of the snapshot that its log begins at, if it doesn't begin at
// offset 0, and those of the log.
func (n *node) history(below int64) (out []entry) {
	entries, err := readEntries(n.metadataLog(), below)
	need(err, "the log of %s", n)
	if start := entries[0].offset; start > 0 {
		files, err := filepath.Glob(filepath.Join(n.metadataLog(), fmt.Sprintf("%020d-*.checkpoint", start)))
		need(err, "the snapshots of %s", n)
		want(len(files) == 1, "%s has %d snapshots at the start of its log, %d", n, len(files), start)
		for _, rec := range snapshotRecords(files[0]) {
			out = append(out, entry{offset: start - 1, record: rec})
		}
	}
	return append(out, entries...)
}

// logsOf reads the logs of the voters that run, up to the high watermark.
func (w *world) logsOf(s *quorumState) map[int32][]record.Batch {
	logs := map[int32][]record.Batch{}
	for _, n := range w.voters {
		if n.up() {
			batches, err := readBatches(n.metadataLog(), s.highWatermark)
			need(err, "the log of %s", n)
			logs[n.id] = batches
		}
	}
	return logs
}

// requireSameLogs gives up unless all voters' logs are equal byte for byte below the high watermark.
func (w *world) requireSameLogs() {
	logs := w.logsOf(w.caughtUp())
	want(len(logs) == len(w.voters), "%d logs of %d", len(logs), len(w.voters))
	first := w.voters[0]
	for _, n := range w.voters[1:] {
		same, err := sameBytes(logs[first.id], logs[n.id])
		need(err, "%s and %s", first, n)
		want(same >= 20, "%s and %s: only %d batches to compare", first, n, same)
	}
}

// requireLedger gives up unless every acknowledged entry of the ledger is known to every voter.
func (w *world) requireLedger(atLeast int) {
	w.ledger.stop()
	s := w.caughtUp()
	acked := w.ledger.acked
	want(len(acked) >= atLeast, "only %d writes were acknowledged", len(acked))
	for _, n := range w.voters {
		users := map[string]bool{}
		for _, e := range n.history(s.highWatermark) {
			if q, ok := e.record.(*metadata.ClientQuotaRecord); ok && len(q.Entity) == 1 && q.Entity[0].EntityName != nil {
				users[*q.Entity[0].EntityName] = true
			}
		}
		for _, user := range acked {
			want(users[user], "%s: acknowledged, and neither in the log nor in the snapshot of %s", user, n)
		}
	}
}
