package storage

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/kraft-dev/kraft-operator/internal/uuid"
)

// readCheckpoint reads Kafka's checkpoint layout: a line with version 0, a line with the number of entries, the entries.
func readCheckpoint(name, text string) ([]string, error) {
	lines := strings.Split(strings.ReplaceAll(text, "\r\n", "\n"), "\n")
	if lines[len(lines)-1] == "" {
		lines = lines[:len(lines)-1]
	}
	if len(lines) < 2 {
		return nil, corruptFile(name, "%d lines, want version, count and entries", len(lines))
	}
	if lines[0] != "0" {
		return nil, corruptFile(name, "version %q, this release reads 0", lines[0])
	}
	if n, err := strconv.Atoi(lines[1]); err != nil || n != len(lines)-2 {
		return nil, corruptFile(name, "line 2 says %q entries, %d follow", lines[1], len(lines)-2)
	}
	return lines[2:], nil
}

// ReadOffsetCheckpoint reads one of the three offset checkpoint files of a log dir; a missing file is an empty map.
// Errors wrap ErrCorrupt.
func ReadOffsetCheckpoint(fsys FS, logDir, file string) (map[TopicPartition]int64, error) {
	name := path.Join(logDir, file)
	data, err := readWhole(fsys, name, maxSmallFile)
	if errors.Is(err, fs.ErrNotExist) {
		return map[TopicPartition]int64{}, nil
	} else if err != nil {
		return nil, err
	}
	return parseOffsetCheckpoint(name, string(data))
}

func parseOffsetCheckpoint(name, text string) (map[TopicPartition]int64, error) {
	lines, err := readCheckpoint(name, text)
	if err != nil {
		return nil, err
	}
	out := make(map[TopicPartition]int64, len(lines))
	for i, line := range lines {
		f := strings.Fields(line)
		if len(f) != 3 || !validTopic(f[0]) {
			return nil, corruptFile(name, "line %d: want topic, partition, offset", i+3)
		}
		p, err1 := strconv.ParseInt(f[1], 10, 32)
		off, err2 := strconv.ParseInt(f[2], 10, 64)
		if err1 != nil || err2 != nil || p < 0 || off < 0 {
			return nil, corruptFile(name, "line %d: partition %q, offset %q", i+3, f[1], f[2])
		}
		out[TopicPartition{f[0], int32(p)}] = off
	}
	return out, nil
}

// WriteOffsetCheckpoint replaces it, durably.
func WriteOffsetCheckpoint(fsys FS, logDir, file string, offsets map[TopicPartition]int64) error {
	keys := make([]TopicPartition, 0, len(offsets))
	for tp := range offsets {
		keys = append(keys, tp)
	}
	slices.SortFunc(keys, func(a, b TopicPartition) int {
		if c := strings.Compare(a.Topic, b.Topic); c != 0 {
			return c
		}
		return int(a.Partition) - int(b.Partition)
	})
	b := fmt.Appendf(nil, "0\n%d\n", len(keys))
	for _, tp := range keys {
		b = fmt.Appendf(b, "%s %d %d\n", tp.Topic, tp.Partition, offsets[tp])
	}
	return replaceFile(fsys, path.Join(logDir, file), b)
}

func parseEpochs(name, text string) ([]EpochEntry, error) {
	lines, err := readCheckpoint(name, text)
	if err != nil {
		return nil, err
	}
	out := make([]EpochEntry, 0, len(lines))
	for i, line := range lines {
		f := strings.Fields(line)
		if len(f) != 2 {
			return nil, corruptFile(name, "line %d: want epoch and start offset", i+3)
		}
		e, err1 := strconv.ParseInt(f[0], 10, 32)
		off, err2 := strconv.ParseInt(f[1], 10, 64)
		if err1 != nil || err2 != nil || e < 0 || off < 0 {
			return nil, corruptFile(name, "line %d: epoch %q, start offset %q", i+3, f[0], f[1])
		}
		if n := len(out); n > 0 && (int32(e) <= out[n-1].Epoch || off < out[n-1].StartOffset) {
			return nil, corruptFile(name, "line %d: epoch %d at %d after epoch %d at %d", i+3, e, off, out[n-1].Epoch, out[n-1].StartOffset)
		}
		out = append(out, EpochEntry{Epoch: int32(e), StartOffset: off})
	}
	return out, nil
}

func formatEpochs(entries []EpochEntry) []byte {
	b := fmt.Appendf(nil, "0\n%d\n", len(entries))
	for _, e := range entries {
		b = fmt.Appendf(b, "%d %d\n", e.Epoch, e.StartOffset)
	}
	return b
}

// ReadPartitionMetadata reads the topic id. Errors: fs.ErrNotExist; wrapping ErrCorrupt.
func ReadPartitionMetadata(fsys FS, dir string) (uuid.UUID, error) {
	name := path.Join(dir, PartitionFile)
	data, err := readWhole(fsys, name, 1<<12)
	if err != nil {
		return uuid.Zero, err
	}
	return parsePartitionMetadata(name, string(data))
}

func parsePartitionMetadata(name, text string) (uuid.UUID, error) {
	lines := strings.Split(text, "\n")
	if strings.TrimSpace(lines[0]) != "version: 0" || len(lines) < 2 {
		return uuid.Zero, corruptFile(name, "want \"version: 0\" and \"topic_id: …\"")
	}
	v, ok := strings.CutPrefix(strings.TrimSpace(lines[1]), "topic_id: ")
	if !ok {
		return uuid.Zero, corruptFile(name, "no topic_id in line 2")
	}
	id, err := uuid.Parse(v)
	if err != nil || id.IsZero() {
		return uuid.Zero, corruptFile(name, "topic_id %q", v)
	}
	return id, nil
}

// WritePartitionMetadata replaces it, durably.
func WritePartitionMetadata(fsys FS, dir string, topicID uuid.UUID) error {
	return replaceFile(fsys, path.Join(dir, PartitionFile), fmt.Appendf(nil, "version: 0\ntopic_id: %s", topicID))
}
