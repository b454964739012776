// Package uuid is Kafka's Uuid: 16 bytes, printed as unpadded base64url (Kafka's org.apache.kafka.common.Uuid).
package uuid

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
)

// UUID is 16 bytes, big-endian: the wire form and kmsg's form of a uuid.
type UUID [16]byte

// Zero stands for "none" on the wire.
var Zero UUID

// MetadataTopicID is the fixed topic id of __cluster_metadata: the UUID with value 1 (KIP-595).
var MetadataTopicID = UUID{15: 1}

// Directory ids below this value are reserved: 0 migrating, 1 unassigned, 2 lost (KIP-858).
const firstUnreserved = 100

var encoding = base64.RawURLEncoding.Strict()

// New reads a random version 4 UUID from r. Reserved values, and those that print with a leading
// dash (which a command line would read as a flag), are drawn again, as Kafka does.
func New(r io.Reader) (UUID, error) {
	for {
		var u UUID
		if _, err := io.ReadFull(r, u[:]); err != nil {
			return Zero, fmt.Errorf("random uuid: %w", err)
		}
		u[6] = u[6]&0x0f | 0x40
		u[8] = u[8]&0x3f | 0x80
		if !u.Reserved() && u.String()[0] != '-' {
			return u, nil
		}
	}
}

// Parse reads the printed form: 22 characters of unpadded base64url.
func Parse(s string) (UUID, error) {
	var u UUID
	if len(s) != 22 {
		return Zero, fmt.Errorf("uuid %q: %d characters, want 22 of unpadded base64url", s, len(s))
	}
	if _, err := encoding.Decode(u[:], []byte(s)); err != nil {
		return Zero, fmt.Errorf("uuid %q: want 22 characters of unpadded base64url: %w", s, err)
	}
	return u, nil
}

// String is the unpadded base64url form.
func (u UUID) String() string { return encoding.EncodeToString(u[:]) }

// IsZero tells whether u is "none".
func (u UUID) IsZero() bool { return u == Zero }

// Reserved tells whether u is one of the values that are never given to a real directory or topic.
func (u UUID) Reserved() bool {
	return binary.BigEndian.Uint64(u[:8]) == 0 && binary.BigEndian.Uint64(u[8:]) < firstUnreserved
}

// MarshalText prints u, for JSON and logs.
func (u UUID) MarshalText() ([]byte, error) { return []byte(u.String()), nil }

// UnmarshalText is Parse.
func (u *UUID) UnmarshalText(b []byte) (err error) {
	*u, err = Parse(string(b))
	return err
}
