package storage

import (
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"

	"github.com/kraft-dev/kraft-operator/internal/uuid"
)

// TopicPartition names a partition.
type TopicPartition struct {
	Topic     string
	Partition int32
}

// String is the partition's folder, too.
func (tp TopicPartition) String() string { return tp.Topic + "-" + strconv.Itoa(int(tp.Partition)) }

// DirName is a partition's folder: topic-partition.
func (tp TopicPartition) DirName() string { return tp.String() }

// DirKind tells what a folder in a log dir is.
type DirKind int8

// Kinds of folders.
const (
	DirLog     DirKind = iota // topic-partition
	DirDeleted                // topic-partition.<32 hex digits>-delete: to be removed
	DirFuture                 // …-future: a copy being moved between log dirs
	DirStray                  // …-stray: a replica that isn't this node's any more
)

var dirSuffixes = map[DirKind]string{DirDeleted: "-delete", DirFuture: "-future", DirStray: "-stray"}

// ParseDirName reads a folder's name; ok is false for folders that aren't a partition's. Names of deleted, future and
// stray folders may be cut, so the topic is only a hint there.
func ParseDirName(name string) (tp TopicPartition, kind DirKind, ok bool) {
	for k, suffix := range dirSuffixes {
		stem, found := strings.CutSuffix(name, suffix)
		dot := len(stem) - 33
		if !found || dot < 1 || stem[dot] != '.' {
			continue
		}
		if _, err := hex.DecodeString(stem[dot+1:]); err == nil {
			name, kind = stem[:dot], k
			break
		}
	}
	dash := strings.LastIndexByte(name, '-')
	if dash < 1 || dash == len(name)-1 || name[dash+1] == '+' || name[dash+1] == '-' {
		return TopicPartition{}, 0, false
	}
	n, err := strconv.ParseInt(name[dash+1:], 10, 32)
	if err != nil || (len(name)-dash > 2 && name[dash+1] == '0') || !validTopic(name[:dash]) {
		return TopicPartition{}, 0, false
	}
	return TopicPartition{Topic: name[:dash], Partition: int32(n)}, kind, true
}

func validTopic(s string) bool {
	if s == "" || s == "." || s == ".." || len(s) > 249 {
		return false
	}
	for _, c := range []byte(s) {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '.' && c != '_' && c != '-' {
			return false
		}
	}
	return true
}

// DeletedDirName is the name a partition's folder gets until it is removed: unique, at most 255 bytes.
func DeletedDirName(tp TopicPartition, unique uuid.UUID) string {
	suffix := fmt.Sprintf("-%d.%x-delete", tp.Partition, unique[:])
	return tp.Topic[:min(len(tp.Topic), 255-len(suffix))] + suffix
}
