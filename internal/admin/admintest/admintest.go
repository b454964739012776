// Package admintest answers what internal/admin asks, in place of brokers and controllers.
package admintest

import (
	"encoding/binary"
	"io"
	"net"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Answer is given the address that was asked. A nil response is none: the question isn't answered. ApiVersions is answered
// without it.
type Answer func(at net.Addr, req kmsg.Request) kmsg.Response

// Serve answers on every connection until l is closed.
func Serve(l net.Listener, answer Answer) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer conn.Close()
			for converse(conn, answer) == nil {
			}
		}()
	}
}

// converse reads one request and writes its answer.
func converse(conn net.Conn, answer Answer) error {
	var size [4]byte
	if _, err := io.ReadFull(conn, size[:]); err != nil {
		return err
	}
	frame := make([]byte, binary.BigEndian.Uint32(size[:]))
	if _, err := io.ReadFull(conn, frame); err != nil {
		return err
	}
	key, version := int16(binary.BigEndian.Uint16(frame)), int16(binary.BigEndian.Uint16(frame[2:]))
	req := kmsg.RequestForKey(key)
	req.SetVersion(version)
	body := frame[10+max(0, int16(binary.BigEndian.Uint16(frame[8:]))):]
	if req.IsFlexible() {
		body = body[1:] // no tags in the header
	}
	if err := req.ReadFrom(body); err != nil {
		return err
	}
	resp := versions(req)
	if resp == nil {
		resp = answer(conn.LocalAddr(), req)
	}
	if resp == nil {
		return nil
	}
	resp.SetVersion(version)
	out := append(make([]byte, 4), frame[4:8]...)
	if resp.IsFlexible() && key != int16(kmsg.ApiVersions) {
		out = append(out, 0)
	}
	out = resp.AppendTo(out)
	binary.BigEndian.PutUint32(out, uint32(len(out)-4))
	_, err := conn.Write(out)
	return err
}

func versions(req kmsg.Request) kmsg.Response {
	if _, ok := req.(*kmsg.ApiVersionsRequest); !ok {
		return nil
	}
	resp := kmsg.NewPtrApiVersionsResponse()
	for _, k := range []kmsg.Key{
		kmsg.ApiVersions, kmsg.Metadata, kmsg.DescribeConfigs, kmsg.IncrementalAlterConfigs, kmsg.DescribeQuorum, kmsg.AddRaftVoter, kmsg.RemoveRaftVoter,
	} {
		api := kmsg.NewApiVersionsResponseApiKey()
		api.ApiKey, api.MaxVersion = int16(k), kmsg.RequestForKey(int16(k)).MaxVersion()
		resp.ApiKeys = append(resp.ApiKeys, api)
	}
	return resp
}
