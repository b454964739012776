package main

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// answerWithin bounds one request with its connection.
const answerWithin = 15 * time.Second

// maxAnswer bounds a response's size in bytes.
const maxAnswer = 64 << 20

var formatter = kmsg.NewRequestFormatter(kmsg.FormatterClientID("interop-quorum"))

// versions are the newest that Apache Kafka 4.3.1 serves on its controller listener, where the library knows newer ones.
var versions = map[int16]int16{
	1:  18, // Fetch
	18: 4,  // ApiVersions
	19: 7,  // CreateTopics
	20: 6,  // DeleteTopics
	29: 3,  // DescribeAcls
	30: 3,  // CreateAcls
	31: 3,  // DeleteAcls
	32: 4,  // DescribeConfigs
	37: 3,  // CreatePartitions
	44: 1,  // IncrementalAlterConfigs
	49: 1,  // AlterClientQuotas
	56: 3,  // AlterPartition
	57: 2,  // UpdateFeatures
	62: 4,  // BrokerRegistration
	63: 2,  // BrokerHeartbeat
}

// newest sets a request to the version that is asked for here.
func newest[R kmsg.Request](req R) R {
	v := req.MaxVersion()
	if most, ok := versions[req.Key()]; ok && most < v {
		v = most
	}
	req.SetVersion(v)
	return req
}

// ask sends one request on a connection of its own and returns the answer. No library retries, reroutes or reads versions in between:
// what is checked here is what one node says.
func ask[T kmsg.Response](addr string, req kmsg.Request) (T, error) {
	return askWithin[T](answerWithin, addr, req)
}

func askWithin[T kmsg.Response](within time.Duration, addr string, req kmsg.Request) (T, error) {
	var none T
	conn, err := net.DialTimeout("tcp", addr, within)
	if err != nil {
		return none, err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(within)); err != nil {
		return none, err
	}
	if _, err := conn.Write(formatter.AppendRequest(nil, req, 7)); err != nil {
		return none, err
	}
	var size [4]byte
	if _, err := io.ReadFull(conn, size[:]); err != nil {
		return none, fmt.Errorf("%s: %w", kmsg.NameForKey(req.Key()), err)
	}
	n := binary.BigEndian.Uint32(size[:])
	if n < 5 || n > maxAnswer {
		return none, fmt.Errorf("%s: an answer of %d bytes", kmsg.NameForKey(req.Key()), n)
	}
	body := make([]byte, n)
	if _, err := io.ReadFull(conn, body); err != nil {
		return none, fmt.Errorf("%s: %w", kmsg.NameForKey(req.Key()), err)
	}
	if id := binary.BigEndian.Uint32(body); id != 7 {
		return none, fmt.Errorf("%s: correlation id %d", kmsg.NameForKey(req.Key()), id)
	}
	body = body[4:]
	if req.IsFlexible() && req.Key() != 18 {
		if body[0] != 0 {
			return none, fmt.Errorf("%s: tags in the response header", kmsg.NameForKey(req.Key()))
		}
		body = body[1:]
	}
	resp, ok := req.ResponseKind().(T)
	if !ok {
		return none, fmt.Errorf("%s answers with %T", kmsg.NameForKey(req.Key()), req.ResponseKind())
	}
	if err := resp.ReadFrom(body); err != nil {
		return none, fmt.Errorf("%s v%d: %w", kmsg.NameForKey(req.Key()), req.GetVersion(), err)
	}
	return resp, nil
}

// errorOf is an error code with its message.
func errorOf(code int16, message *string) error {
	err := kerr.ErrorForCode(code)
	if err != nil && message != nil {
		return fmt.Errorf("%w (%s)", err, *message)
	}
	return err
}
