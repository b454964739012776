package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/kraft-dev/kraft-operator/internal/metadata"
	"github.com/kraft-dev/kraft-operator/internal/storage/record"
)

// bootstrapKind is what the first leader writes before all else.
var bootstrapKind = recordKind{types: []metadata.RecordType{metadata.TypeBeginTransaction, metadata.TypeFeatureLevel, metadata.TypeEndTransaction}}

// bootstraps starts the nodes of one kind, a majority: one of them writes the log's first records. Those of the other kind start on an empty log.
func (w *world) bootstraps(k kind) {
	if !w.check(fmt.Sprintf("%s nodes elect a leader without %s ones", k, k.other()), func() {
		for _, n := range w.of(k) {
			n.start()
		}
		w.elected()
	}) {
		return
	}
	w.check(fmt.Sprintf("%s nodes that start later have the transaction of first records that a %s leader wrote", k.other(), k), func() {
		w.start()
		w.requireRecords(bootstrapKind, k, 0)
	})
}

// aborts leaves a transaction open at the end of a leader's log, as a leader does that is killed within one, and lets this node lead again.
func (w *world) aborts(k kind) {
	w.check(fmt.Sprintf("a %s leader aborts the transaction that its log leaves open, and everyone replays that", k), func() {
		w.ledger.hold()
		defer w.ledger.release()
		n := w.lead(k).leader
		others := slices.DeleteFunc(slices.Clone(w.voters), func(v *node) bool { return v == n })
		for _, v := range others {
			v.kill()
		}
		n.kill() // the last: nobody's log is longer
		from := n.leaveTransactionOpen()
		n.start() // of two it alone can be elected
		others[0].start()
		s := w.elected()
		want(s.leader == n, "%s leads with a shorter log than %s", s.leader, n)
		w.repair()
		eventually(electsWithin, "the transaction is aborted", func() error {
			return try(func() {
				w.requireRecords(recordKind{types: []metadata.RecordType{metadata.TypeBeginTransaction, metadata.TypeAbortTransaction}}, k, from)
			})
		})
	})
}

// leaveTransactionOpen appends the beginning of a transaction to the log of a node that is down, and returns its offset.
func (n *node) leaveTransactionOpen() int64 {
	files, err := filepath.Glob(filepath.Join(n.metadataLog(), "*.log"))
	need(err, "the log of %s", n)
	slices.Sort(files)
	file := files[len(files)-1]
	data, err := os.ReadFile(file)
	need(err, "the log of %s", n)
	var last record.Batch
	rest := data
	for len(rest) > 0 {
		b, left, err := record.Split(rest)
		if err != nil { // what kill -9 left of a write
			break
		}
		last, rest = b, left
	}
	want(last != nil, "%s is empty", file)
	b := record.NewBuilder(record.BuilderConfig{BaseOffset: last.NextOffset(), Epoch: last.Epoch()})
	// Nothing that changes the image: Apache Kafka 4.3.1 lets aborted records into it if others follow the abort in one fetch.
	for _, r := range []metadata.Record{metadata.NewBeginTransactionRecord(), metadata.NewNoOpRecord()} {
		b.Append(last.MaxTimestamp(), nil, metadata.Encode(r, 0))
	}
	batch, err := b.Build()
	need(err, "a batch")
	need(os.WriteFile(file, append(data[:len(data)-len(rest)], batch...), 0o600), "append to %s", file)
	return last.NextOffset()
}
