// Package auth says who asks and whether they may.
//
// Every request carries a [Principal] and passes an [Authorizer] from the first
// day; SASL, TLS and ACLs become other sources of the one and other
// implementations of the other.
package auth

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
)

// UserType is the principal type of people and services (Kafka's KafkaPrincipal.USER_TYPE).
const UserType = "User"

// Principal names who is behind a connection, as Kafka's KafkaPrincipal does.
type Principal struct {
	Type string // "User", or a custom builder's type
	Name string
	// TokenAuthenticated is true where a delegation token logged in (KIP-48).
	TokenAuthenticated bool
}

// Anonymous is everybody on a listener without authentication.
var Anonymous = Principal{Type: UserType, Name: "ANONYMOUS"}

// String is "Type:Name", the form that ACLs and super.users use.
func (p Principal) String() string { return p.Type + ":" + p.Name }

// IsZero says that no principal was set.
func (p Principal) IsZero() bool { return p.Type == "" && p.Name == "" }

// ParsePrincipal reads "Type:Name"; the name may hold colons.
func ParsePrincipal(s string) (Principal, error) {
	typ, name, found := strings.Cut(s, ":")
	if !found || typ == "" || name == "" {
		return Principal{}, fmt.Errorf("principal %q: want Type:Name, such as User:alice", s)
	}
	return Principal{Type: typ, Name: name}, nil
}

// ErrPrincipalData is returned for a serialized principal that cannot be read.
var ErrPrincipalData = errors.New("malformed serialized principal")

// AppendBinary appends the principal as Envelope.RequestPrincipal carries it.
//
// Shape: DefaultPrincipalData v0, flexible: int16 version, compact type, compact name, bool
// tokenAuthenticated, tag buffer (KIP-590).
func (p Principal) AppendBinary(dst []byte) ([]byte, error) {
	dst = binary.BigEndian.AppendUint16(dst, 0)
	dst = appendCompactString(dst, p.Type)
	dst = appendCompactString(dst, p.Name)
	token := byte(0)
	if p.TokenAuthenticated {
		token = 1
	}
	return append(dst, token, 0), nil
}

// UnmarshalBinary reads what [Principal.AppendBinary] wrote.
// Errors: ErrPrincipalData; unknown tags are skipped, trailing bytes refused.
func (p *Principal) UnmarshalBinary(src []byte) error {
	if len(src) < 2 {
		return fmt.Errorf("%w: %d bytes", ErrPrincipalData, len(src))
	}
	if v := binary.BigEndian.Uint16(src); v != 0 {
		return fmt.Errorf("%w: version %d, known is 0", ErrPrincipalData, v)
	}
	src = src[2:]
	var out Principal
	var err error
	if out.Type, src, err = compactString(src); err != nil {
		return err
	}
	if out.Name, src, err = compactString(src); err != nil {
		return err
	}
	if len(src) < 2 {
		return fmt.Errorf("%w: cut after the name", ErrPrincipalData)
	}
	out.TokenAuthenticated = src[0] != 0
	if src, err = skipTags(src[1:]); err != nil {
		return err
	}
	if len(src) != 0 {
		return fmt.Errorf("%w: %d trailing bytes", ErrPrincipalData, len(src))
	}
	*p = out
	return nil
}

func appendCompactString(dst []byte, s string) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(s))+1)
	return append(dst, s...)
}

func compactString(src []byte) (string, []byte, error) {
	n, w := binary.Uvarint(src)
	if w <= 0 || n == 0 || n-1 > uint64(len(src)-w) {
		return "", nil, fmt.Errorf("%w: string length", ErrPrincipalData)
	}
	src = src[w:]
	return string(src[:n-1]), src[n-1:], nil
}

func skipTags(src []byte) ([]byte, error) {
	count, w := binary.Uvarint(src)
	if w <= 0 || count > uint64(len(src)) {
		return nil, fmt.Errorf("%w: tag count", ErrPrincipalData)
	}
	src = src[w:]
	for ; count > 0; count-- {
		_, w = binary.Uvarint(src)
		if w <= 0 {
			return nil, fmt.Errorf("%w: tag", ErrPrincipalData)
		}
		src = src[w:]
		n, w := binary.Uvarint(src)
		if w <= 0 || n > uint64(len(src)-w) {
			return nil, fmt.Errorf("%w: tag size", ErrPrincipalData)
		}
		src = src[w+int(n):]
	}
	return src, nil
}
