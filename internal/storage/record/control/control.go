// Package control is KRaft's control records (KIP-595, KIP-630, KIP-853): keys, values, batches.
// Values are flexible messages of schema version 0 without the frame of metadata records.
package control

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/kraft-dev/kraft-operator/internal/uuid"
)

// Type is a control record's type, the second half of its key.
type Type int16

// Types. Abort and Commit end transactions in partitions; the others are KRaft's.
const (
	TypeAbort          Type = 0
	TypeCommit         Type = 1
	TypeLeaderChange   Type = 2
	TypeSnapshotHeader Type = 3
	TypeSnapshotFooter Type = 4
	TypeKRaftVersion   Type = 5
	TypeVoters         Type = 6
)

// ErrMalformed is wrapped by every decoding error.
var ErrMalformed = errors.New("malformed control record")

// Record is one of LeaderChange, SnapshotHeader, SnapshotFooter, KRaftVersion, Voters.
type Record interface {
	Type() Type
	appendValue([]byte) []byte
}

// LeaderChange is the first record of every leader epoch.
type LeaderChange struct {
	LeaderID       int32
	Voters         []int32
	GrantingVoters []int32
}

// SnapshotHeader is a snapshot's first record.
type SnapshotHeader struct {
	LastContainedLogTimestamp int64 // ms since 1970
}

// SnapshotFooter is a snapshot's last batch.
type SnapshotFooter struct{}

// KRaftVersion is the finalized kraft.version.
type KRaftVersion struct{ Level int16 }

// Voters is a whole voter set.
type Voters struct{ Voters []Voter }

// Voter is one entry of a voter set.
type Voter struct {
	ID          int32
	DirectoryID uuid.UUID
	Endpoints   []Endpoint
	MinVersion  int16 // of kraft.version that this voter supports
	MaxVersion  int16
}

// Endpoint is where a voter listens, by listener name.
type Endpoint struct {
	Name, Host string
	Port       uint16
}

// Unknown is a control record of a type that this version doesn't know; it is kept and passed by.
type Unknown struct {
	T     Type
	Value []byte
}

func (LeaderChange) Type() Type   { return TypeLeaderChange }
func (SnapshotHeader) Type() Type { return TypeSnapshotHeader }
func (SnapshotFooter) Type() Type { return TypeSnapshotFooter }
func (KRaftVersion) Type() Type   { return TypeKRaftVersion }
func (Voters) Type() Type         { return TypeVoters }
func (u Unknown) Type() Type      { return u.T }

// Encode returns the key and value of r.
func Encode(r Record) (key, value []byte) {
	return AppendKey(nil, r.Type()), r.appendValue(nil)
}

// AppendKey appends the key of a control record: version 0, type.
func AppendKey(dst []byte, t Type) []byte {
	dst = binary.BigEndian.AppendUint16(dst, 0)
	return binary.BigEndian.AppendUint16(dst, uint16(t))
}

// DecodeKey reads a key. Keys of a later version may be longer, as Kafka allows.
func DecodeKey(key []byte) (Type, error) {
	if len(key) < 4 {
		return 0, fmt.Errorf("%w: key of %d bytes, want 4", ErrMalformed, len(key))
	}
	if v := int16(binary.BigEndian.Uint16(key)); v < 0 {
		return 0, fmt.Errorf("%w: key version %d", ErrMalformed, v)
	}
	return Type(binary.BigEndian.Uint16(key[2:])), nil
}

// Decode reads one control record. Types that aren't KRaft's come back as Unknown. Errors wrap ErrMalformed.
func Decode(key, value []byte) (Record, error) {
	t, err := DecodeKey(key)
	if err != nil {
		return nil, err
	}
	d := decoder{buf: value}
	var r Record
	switch t {
	case TypeLeaderChange:
		r = d.leaderChange()
	case TypeSnapshotHeader:
		d.version()
		r = SnapshotHeader{LastContainedLogTimestamp: d.i64()}
	case TypeSnapshotFooter:
		d.version()
		r = SnapshotFooter{}
	case TypeKRaftVersion:
		d.version()
		r = KRaftVersion{Level: d.i16()}
	case TypeVoters:
		r = d.voters()
	default:
		return Unknown{T: t, Value: value}, nil
	}
	d.tags()
	if d.err == nil && len(d.buf) > 0 {
		d.fail("%d bytes left over", len(d.buf))
	}
	if d.err != nil {
		return nil, fmt.Errorf("%w: type %d: %w", ErrMalformed, t, d.err)
	}
	return r, nil
}
