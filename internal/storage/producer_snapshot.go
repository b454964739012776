package storage

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/kraft-dev/kraft-operator/internal/storage/record"
)

// Kafka's producer snapshot, version 1: version i16, CRC-32C u32 of what follows, count i32, entries.
const (
	producerSnapshotVersion = 1
	producerSnapshotHeader  = 2 + 4 + 4
	producerEntrySize       = 8 + 2 + 4 + 8 + 4 + 8 + 4 + 8
	maxProducerSnapshot     = 256 << 20
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func producerSnapshotName(dir string, offset int64) string {
	return path.Join(dir, segmentName(offset)+producerSuffix)
}

func parseProducerSnapshotName(name string) (int64, bool) {
	return parseStem(name, producerSuffix)
}

// parseStem reads a name of 20 digits and suffix.
func parseStem(name, suffix string) (int64, bool) {
	stem, ok := strings.CutSuffix(name, suffix)
	if !ok || len(stem) != 20 || strings.Trim(stem, "0123456789") != "" {
		return 0, false
	}
	v, err := strconv.ParseInt(stem, 10, 64)
	return v, err == nil
}

// encode is the snapshot file's content; only the newest batch of each producer is kept, as Kafka's format has it.
func (p *producers) encode() []byte {
	be := binary.BigEndian
	out := make([]byte, producerSnapshotHeader, producerSnapshotHeader+len(p.byID)*producerEntrySize)
	be.PutUint16(out, producerSnapshotVersion)
	be.PutUint32(out[6:], uint32(len(p.byID)))
	for _, id := range slices.Sorted(maps.Keys(p.byID)) {
		e := p.byID[id]
		last := producerBatch{lastSeq: record.NoSequence, lastOff: -1}
		if e.n > 0 {
			last = e.batches[e.n-1]
		}
		out = be.AppendUint64(out, uint64(id))
		out = be.AppendUint16(out, uint16(e.epoch))
		out = be.AppendUint32(out, uint32(last.lastSeq))
		out = be.AppendUint64(out, uint64(last.lastOff))
		out = be.AppendUint32(out, uint32(last.delta))
		out = be.AppendUint64(out, uint64(e.lastTs))
		out = be.AppendUint32(out, uint32(e.coordinatorEpoch))
		out = be.AppendUint64(out, uint64(e.txnFirst))
	}
	be.PutUint32(out[2:], crc32.Checksum(out[6:], castagnoli))
	return out
}

func decodeProducers(name string, data []byte) (producers, error) {
	be := binary.BigEndian
	p := newProducers()
	if len(data) < producerSnapshotHeader {
		return p, corruptFile(name, "%d bytes", len(data))
	}
	if v := be.Uint16(data); v != producerSnapshotVersion {
		return p, corruptFile(name, "version %d, this release reads 1", v)
	}
	if crc32.Checksum(data[6:], castagnoli) != be.Uint32(data[2:]) {
		return p, corruptFile(name, "CRC-32C mismatch")
	}
	n := int64(int32(be.Uint32(data[6:])))
	if data = data[producerSnapshotHeader:]; n < 0 || n*producerEntrySize != int64(len(data)) {
		return p, corruptFile(name, "%d entries in %d bytes", n, len(data))
	}
	for ; len(data) > 0; data = data[producerEntrySize:] {
		e := newProducerEntry()
		e.epoch = int16(be.Uint16(data[8:]))
		b := producerBatch{lastSeq: int32(be.Uint32(data[10:])), lastOff: int64(be.Uint64(data[14:])), delta: int32(be.Uint32(data[22:]))}
		e.lastTs = int64(be.Uint64(data[26:]))
		b.timestamp = e.lastTs
		e.coordinatorEpoch = int32(be.Uint32(data[34:]))
		e.txnFirst = int64(be.Uint64(data[38:]))
		if b.lastSeq >= 0 && b.lastOff >= 0 && b.delta >= 0 {
			e.add(b)
		}
		p.byID[int64(be.Uint64(data))] = e
	}
	return p, nil
}

func readProducerSnapshot(fsys FS, name string) (producers, error) {
	data, err := readWhole(fsys, name, maxProducerSnapshot)
	if err != nil {
		return producers{}, err
	}
	return decodeProducers(name, data)
}

// takeProducerSnapshot writes the state at offset. It isn't fsynced: its CRC finds a torn one, and the state can be made
// again from the log.
func (l *Log) takeProducerSnapshot(offset int64) error {
	return replaceFileLazily(l.fs, producerSnapshotName(l.dir, offset), l.producers.encode())
}

// producerSnapshots lists the offsets of the snapshot files, ascending.
func producerSnapshots(fsys FS, dir string) ([]int64, error) {
	names, err := fsys.List(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var out []int64
	for _, name := range names {
		if off, ok := parseProducerSnapshotName(name); ok {
			out = append(out, off)
		}
	}
	slices.Sort(out)
	return out, err
}

// removeProducerSnapshots removes the snapshot files that keep doesn't want, and tells whether there were any.
func (l *Log) removeProducerSnapshots(keep func(offset int64) bool) (bool, error) {
	offs, err := producerSnapshots(l.fs, l.dir)
	if err != nil {
		return false, err
	}
	any := false
	for _, off := range offs {
		if keep(off) {
			continue
		}
		any = true
		if err := removeIfThere(l.fs, producerSnapshotName(l.dir, off)); err != nil {
			return any, err
		}
	}
	return any, nil
}
