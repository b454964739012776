package rpc

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kraft-dev/kraft-operator/internal/node/wire"
)

// versionRange is what a peer serves of an API.
type versionRange struct{ lo, hi int16 }

// open dials and negotiates; both within ctx.
func (c *Client) open(ctx context.Context, addr string) (*conn, error) {
	nc, err := c.connect(ctx, addr)
	if err != nil {
		return nil, err
	}
	cn := newConn(c, addr, nc)
	stop := context.AfterFunc(ctx, func() { _ = nc.SetDeadline(time.Unix(1, 0)) })
	err = cn.negotiate()
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		_ = nc.Close()
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return nil, err
	}
	return cn, nil
}

// negotiate asks for the versions that the peer serves: in the newest version first. A peer that
// doesn't know it says so in v0 and names its own range, or nothing: then v0 is asked (KIP-511).
func (cn *conn) negotiate() error {
	api, _ := wire.Lookup(wire.APIVersionsKey)
	version := api.Max
	for {
		resp, err := cn.askVersions(version)
		if err != nil {
			return err
		}
		switch err := kerr.ErrorForCode(resp.ErrorCode); {
		case err == nil:
			for _, k := range resp.ApiKeys {
				cn.versions[k.ApiKey] = versionRange{k.MinVersion, k.MaxVersion}
			}
			return nil
		case resp.ErrorCode == kerr.UnsupportedVersion.Code && version > 0:
			version = nextVersion(resp, version)
		case resp.ErrorCode == kerr.IllegalSaslState.Code, resp.ErrorCode == kerr.SaslAuthenticationFailed.Code,
			resp.ErrorCode == kerr.ClusterAuthorizationFailed.Code:
			return &Error{Addr: cn.addr, API: api.Name, Kind: ErrAuth, Err: err}
		default:
			return &Error{Addr: cn.addr, API: api.Name, Kind: ErrProtocol, Err: err}
		}
	}
}

// nextVersion is what to ask after version was refused: strictly less.
func nextVersion(resp *kmsg.ApiVersionsResponse, version int16) int16 {
	for _, k := range resp.ApiKeys {
		if k.ApiKey == wire.APIVersionsKey && k.MaxVersion >= 0 {
			return min(k.MaxVersion, version-1)
		}
	}
	return 0
}

// askVersions makes one round trip on a connection that nobody else uses yet.
func (cn *conn) askVersions(version int16) (*kmsg.ApiVersionsResponse, error) {
	req := kmsg.NewPtrApiVersionsRequest()
	req.Version = version
	req.ClientSoftwareName, req.ClientSoftwareVersion = cn.c.cfg.SoftwareName, cn.c.cfg.SoftwareVersion
	cn.lastID++
	if _, err := cn.nc.Write(wire.AppendRequest(nil, &cn.c.cfg.ClientID, cn.lastID, req)); err != nil {
		return nil, err
	}
	frame, err := readFrame(cn.br, cn.c.cfg.MaxResponse)
	if err != nil {
		return nil, err
	}
	id, body, err := wire.ParseResponseHeader(wire.APIVersionsKey, version, frame)
	if err == nil && id != cn.lastID {
		err = fmt.Errorf("correlation id %d, want %d", id, cn.lastID)
	}
	resp := kmsg.NewPtrApiVersionsResponse()
	resp.Version = version
	if len(body) >= 2 && int16(binary.BigEndian.Uint16(body)) == kerr.UnsupportedVersion.Code {
		resp.Version = 0 // whatever was asked
	}
	if err == nil {
		err = wire.DecodeResponse(resp, body)
	}
	if err != nil {
		return nil, &Error{Addr: cn.addr, API: "ApiVersions", Kind: ErrProtocol, Err: err}
	}
	return resp, nil
}

// pick is the highest version that the table, the peer and the options share.
func (cn *conn) pick(key int16, o callOptions) (int16, error) {
	ours, ok := wire.Lookup(key)
	if !ok {
		return 0, fmt.Errorf("key %d is not known", key)
	}
	theirs, ok := cn.versions[key]
	if !ok {
		return 0, fmt.Errorf("the peer doesn't serve %s", ours.Name)
	}
	lo, hi := max(ours.Min, theirs.lo, o.minVersion), min(ours.Max, theirs.hi, o.maxVersion)
	if lo > hi {
		return 0, fmt.Errorf("%s: the peer serves %d to %d, wanted is %d to %d",
			ours.Name, theirs.lo, theirs.hi, max(ours.Min, o.minVersion), min(ours.Max, o.maxVersion))
	}
	return hi, nil
}

// eagerFrame is allocated at once; of a larger frame only as much as has arrived, times 4.
const eagerFrame = 1 << 20

// readFrame reads one size-prefixed answer.
// Errors: wire.ErrMalformed and wire.ErrTooLarge for sizes that can't be.
func readFrame(br *bufio.Reader, maxSize int) ([]byte, error) {
	var prefix [4]byte
	if _, err := io.ReadFull(br, prefix[:]); err != nil {
		return nil, err
	}
	size := int(int32(binary.BigEndian.Uint32(prefix[:])))
	switch {
	case size < 4:
		return nil, fmt.Errorf("answer of %d bytes: %w", size, wire.ErrMalformed)
	case size > maxSize:
		return nil, fmt.Errorf("answer of %d bytes, at most %d: %w", size, maxSize, wire.ErrTooLarge)
	}
	buf := make([]byte, min(size, eagerFrame))
	read := 0
	for {
		n, err := io.ReadFull(br, buf[read:])
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return nil, err
		}
		if read += n; read == size {
			return buf, nil
		}
		larger := make([]byte, min(size, 4*len(buf)))
		copy(larger, buf)
		buf = larger
	}
}
