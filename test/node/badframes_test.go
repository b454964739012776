package node_test

import (
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/kraft-dev/kraft-operator/test/cluster"
	"github.com/kraft-dev/kraft-operator/test/e2e/load"
)

// disconnects counts connections that a client lost.
type disconnects struct{ n atomic.Int64 }

func (d *disconnects) OnBrokerDisconnect(kgo.BrokerMetadata, net.Conn) { d.n.Add(1) }

// sized puts a frame's size before it.
func sized(frame ...byte) []byte {
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(frame))), frame...)
}

// badFrames end with the connection closed, whichever listener gets them.
var badFrames = map[string][]byte{
	"negative size":         {0xff, 0xff, 0xff, 0xff},
	"no size":               {0, 0, 0, 0},
	"two gigabytes":         {0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 9},
	"http":                  []byte("GET / HTTP/1.1\r\n\r\n"),
	"tls":                   {0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xfc, 0x03, 0x03},
	"unknown key":           sized(3, 0xe7, 0, 0, 0, 0, 0, 1, 0xff, 0xff),
	"negative key":          sized(0xff, 0xff, 0, 0, 0, 0, 0, 1, 0xff, 0xff),
	"version to come":       sized(0, 12, 0, 99, 0, 0, 0, 1, 0xff, 0xff),
	"client id past end":    sized(0, 18, 0, 4, 0, 0, 0, 1, 0x7f, 0xff, 'a'),
	"tags without end":      sized(0, 18, 0, 4, 0, 0, 0, 1, 0, 0, 0, 1, 1, 0xff, 0xff, 0xff, 0xff, 0x0f),
	"header tags":           sized(0, 18, 0, 4, 0, 0, 0, 1, 0, 0, 0xff, 0xff, 0xff, 0xff, 0x0f),
	"fetch of many topics":  sized(0, 1, 0, 12, 0, 0, 0, 1, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0x0f),
	"api versions and more": sized(0, 18, 0, 0, 0, 0, 0, 1, 0xff, 0xff, 1, 2, 3),
}

// attack sends one frame and waits until the connection is closed by the other side.
func attack(addr string, frame []byte) error {
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		return err
	}
	defer nc.Close()
	if _, err := nc.Write(frame); err != nil {
		return nil // closed already
	}
	_ = nc.SetReadDeadline(time.Now().Add(patience))
	_, err = io.Copy(io.Discard, nc)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return err
	}
	return nil
}

// TestBadFramesDisturbNobody sends thousands of bad frames to both listeners of a node, and holds open large frames that never arrive, while a
// client produces: it loses no connection and no request, memory stays bounded, and the log doesn't fill.
func TestBadFramesDisturbNobody(t *testing.T) {
	t.Parallel()
	c := cluster.Start(t, cluster.Spec{Controllers: 1, Processes: true})
	n := c.Brokers[0]
	create(t, c, "t", 3, 1)
	var lost disconnects
	cl := c.Client(kgo.WithHooks(&lost), kgo.DefaultProduceTopic("t"))
	var ledger load.Ledger
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for i := int64(0); ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			if err := cl.ProduceSync(t.Context(), &kgo.Record{Value: load.Value("go", i, 100)}).FirstErr(); err != nil {
				ledger.Failed(err)
			} else {
				ledger.Acked("go", i, time.Now())
			}
		}
	}()
	c.Eventually("a producer runs", patience, func() bool { return ledger.Total() > 100 })
	before, began := rssOf(t, n.PID()), time.Now()

	var held []net.Conn
	for range 50 { // a Produce of 90 MB that stops after 64 KiB
		nc, err := net.Dial("tcp", n.Addr())
		require.NoError(t, err)
		frame := append(binary.BigEndian.AppendUint32(nil, 90<<20), 0, 0, 0, 9, 0, 0, 0, 1, 0xff, 0xff)
		_, err = nc.Write(append(frame, make([]byte, 64<<10)...))
		require.NoError(t, err)
		held = append(held, nc)
	}
	var wg sync.WaitGroup
	var sent, broken atomic.Int64
	for worker := range 8 {
		rng := rand.New(rand.NewPCG(seed(t), uint64(worker)))
		wg.Go(func() {
			for range 20 {
				for _, addr := range []string{n.Addr(), n.ControllerAddr()} {
					for _, frame := range badFrames {
						sent.Add(1)
						if attack(addr, frame) != nil {
							broken.Add(1)
						}
					}
					noise := make([]byte, 8+rng.IntN(200)) // ApiVersions, then anything, with trailing bytes at the least
					for i := range noise {
						noise[i] = byte(rng.Uint32())
					}
					copy(noise, []byte{0, 18, 0, 0})
					if len(noise) >= 10 {
						copy(noise[8:], []byte{0xff, 0xff})
					}
					sent.Add(1)
					if len(noise) > 10 && attack(addr, sized(noise...)) != nil {
						broken.Add(1)
					}
				}
			}
		})
	}
	wg.Wait()
	during := rssOf(t, n.PID())
	for _, nc := range held {
		require.NoError(t, nc.Close())
	}
	close(stop)
	<-done
	failed, first := ledger.Failures()
	require.Zero(t, failed, "%v", first)
	require.Zero(t, lost.n.Load(), "the producer lost connections")
	require.Zero(t, broken.Load(), "connections that stayed open")
	require.NoError(t, n.Ready())
	lines := strings.Count(n.Log(), "Closing a connection")
	atMost := 10 + 10*int(time.Since(began)/time.Second+1)
	t.Logf("%d bad frames in %s, %d records meanwhile, %d lines in the log, %s before, %s during", sent.Load(), time.Since(began), ledger.Total(), lines, before, during)
	require.Greater(t, lines, 0)
	require.LessOrEqual(t, lines, 2*atMost, "lines in the log; each of two servers may write 10 a second")
	require.Less(t, during.total()-before.total(), 24<<10, "KiB more for bad input")
}
