package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/kraft-dev/kraft-operator/internal/metadata"
	"github.com/kraft-dev/kraft-operator/internal/storage/record"
)

// bootstrapCheckpoint is the snapshot that formatting writes; it is never fetched.
const bootstrapCheckpoint = "00000000000000000000-0000000000.checkpoint"

// newestSnapshot is the file name of a node's newest snapshot, "" if it has none but the one of formatting.
func newestSnapshot(n *node) string {
	files, err := filepath.Glob(filepath.Join(n.metadataLog(), "*.checkpoint"))
	need(err, "the snapshots of %s", n)
	slices.Sort(files)
	if len(files) == 0 || filepath.Base(files[len(files)-1]) == bootstrapCheckpoint {
		return ""
	}
	return filepath.Base(files[len(files)-1])
}

// logStart is the offset that a node's log begins at, as its file's name has it.
func (n *node) logStart() string {
	segments, err := filepath.Glob(filepath.Join(n.metadataLog(), "*.log"))
	need(err, "the log of %s", n)
	want(len(segments) > 0, "%s has no log", n)
	return strings.TrimSuffix(filepath.Base(slices.Min(segments)), ".log")
}

// requireSameSnapshot: a node's log begins at a snapshot that is byte for byte the other's.
func (w *world) requireSameSnapshot(n, of *node) {
	start := n.logStart()
	want(start != "00000000000000000000", "%s has fetched the log from offset 0", n)
	files, err := filepath.Glob(filepath.Join(n.metadataLog(), start+"-*.checkpoint"))
	need(err, "the snapshots of %s", n)
	want(len(files) == 1, "%s has %d snapshots at the start of its log, %s", n, len(files), start)
	mine, err := os.ReadFile(files[0])
	need(err, "the snapshot of %s", n)
	theirs, err := os.ReadFile(filepath.Join(of.metadataLog(), filepath.Base(files[0])))
	need(err, "the snapshot of %s", of)
	want(len(mine) > 3*chunk, "%s has only %d bytes: that is fetched at once", filepath.Base(files[0]), len(mine))
	at := 0
	for at < min(len(mine), len(theirs)) && mine[at] == theirs[at] {
		at++
	}
	want(bytes.Equal(mine, theirs), "%s of %s has %d bytes, of %s %d: they differ from byte %d on", filepath.Base(files[0]), n, len(mine), of, len(theirs), at)
}

// hasSnapshotBehind waits for a node's snapshot that ends at an offset or behind it, and returns its file name and end.
func (w *world) hasSnapshotBehind(n *node, offset int64) (name string, end int64) {
	eventually(electsWithin, fmt.Sprintf("a snapshot of %s behind offset %d", n, offset), func() error {
		if name = newestSnapshot(n); name == "" {
			return errors.New("none")
		}
		if _, err := fmt.Sscanf(name, "%d-", &end); err != nil {
			return err
		}
		if end < offset {
			return errors.New(name)
		}
		return nil
	})
	return name, end
}

// requireTrueSnapshots is requireTrueSnapshot for every voter.
func (w *world) requireTrueSnapshots() {
	for _, n := range w.voters {
		w.requireTrueSnapshot(n)
	}
}

// requireTrueSnapshot waits until a node has made a snapshot of what is committed now, and compares the records in it with those of the image
// that our own replay makes of the leader's log from its first record to the snapshot's offset.
func (w *world) requireTrueSnapshot(n *node) {
	s := w.caughtUp()
	name, end := w.hasSnapshotBehind(n, s.highWatermark)
	inFile, err := described(snapshotRecords(filepath.Join(n.metadataLog(), name)))
	need(err, "%s of %s", name, n)
	inLog, err := described(s.leader.replayed(end))
	need(err, "the log of %s", s.leader)
	for _, r := range inFile {
		want(slices.Contains(inLog, r), "%s of %s has %s, which the log doesn't amount to", name, n, r)
	}
	for _, r := range inLog {
		want(slices.Contains(inFile, r), "%s of %s lacks %s", name, n, r)
	}
}

// beginFromSnapshots lets an observer of each kind begin with a snapshot of the other kind's leader, and make one itself.
func (w *world) beginFromSnapshots() {
	var all []*node
	for _, k := range []kind{goKind, javaKind} {
		w.check(fmt.Sprintf("a %s observer begins with a %s leader's snapshot, which has every kind of record", k, k.other()), func() {
			w.lead(k.other())
			n := w.newNode(int32(30+int(k)), k)
			n.joins = true
			n.format()
			all, w.brokers = append(all, n), append(w.brokers, n)
			n.start()
			w.caughtUp()
			want(n.logStart() != "00000000000000000000", "%s has fetched the log from offset 0", n)
		})
	}
	for _, n := range all {
		w.check(fmt.Sprintf("the %s observer's own next snapshot is what the log from its first record on amounts to", n.kind), func() { w.requireTrueSnapshot(n) })
	}
	w.check("both observers stop in order", func() {
		for _, n := range all {
			n.stop()
		}
	})
	w.brokers, w.gone = slices.DeleteFunc(w.brokers, func(n *node) bool { return slices.Contains(all, n) }), append(w.gone, all...)
}

// described puts records into words, with all their fields. What Kafka keeps in maps has no order.
func described(recs []metadata.Record) (out []string, err error) {
	for _, rec := range recs {
		switch r := rec.(type) {
		case *metadata.RegisterControllerRecord:
			sortByName(r.EndPoints, r.Features)
		case *metadata.RegisterBrokerRecord:
			sortByName(r.EndPoints, r.Features)
		}
		text, err := json.Marshal(rec)
		if err != nil {
			return nil, err
		}
		out = append(out, fmt.Sprintf("%T %s", rec, text))
	}
	return out, nil
}

func sortByName(endpoints []metadata.Endpoint, features []metadata.FeatureRange) {
	slices.SortFunc(endpoints, func(a, b metadata.Endpoint) int { return strings.Compare(a.Name, b.Name) })
	slices.SortFunc(features, func(a, b metadata.FeatureRange) int { return strings.Compare(a.Name, b.Name) })
}

// snapshotRecords are the data records of a snapshot.
func snapshotRecords(file string) (out []metadata.Record) {
	rest, err := os.ReadFile(file)
	need(err, "a snapshot")
	for len(rest) > 0 {
		b, left, err := record.Split(rest)
		need(err, "%s", file)
		rest = left
		if b.IsControl() {
			continue
		}
		for r, err := range b.Records(0) {
			need(err, "%s", file)
			rec, _, err := metadata.Decode(r.Value)
			need(err, "%s", file)
			out = append(out, rec)
		}
	}
	return out
}

// replayed are the records of the image that a node's history below an offset makes.
func (n *node) replayed(below int64) []metadata.Record {
	replayer := metadata.NewReplayer(metadata.Empty())
	for _, e := range n.history(below) {
		if e.record != nil {
			need(replayer.Apply([]metadata.Record{e.record}, e.offset, e.epoch), "replay offset %d", e.offset)
		}
	}
	_, image, _ := replayer.Publish()
	return slices.Collect(image.Records())
}
