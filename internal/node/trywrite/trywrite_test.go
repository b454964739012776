package trywrite

import (
	"io"
	"net"
	"testing"

	"github.com/stretchr/testify/require"
)

func pair(t *testing.T) (here, there net.Conn) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	here, err = net.Dial("tcp", l.Addr().String())
	require.NoError(t, err)
	there, err = l.Accept()
	require.NoError(t, err)
	t.Cleanup(func() { here.Close(); there.Close() })
	return here, there
}

func TestWriteTakesWhatTheKernelTakes(t *testing.T) {
	here, there := pair(t)
	w := New(here)
	n, err := w.Write([]byte("hello"))
	require.NoError(t, err)
	require.Equal(t, 5, n)
	got := make([]byte, 5)
	_, err = io.ReadFull(there, got)
	require.NoError(t, err)
	require.Equal(t, "hello", string(got))

	sent, block := 0, make([]byte, Largest)
	for n = Largest; n == Largest; sent += n { // until the peer's buffer is full
		n, err = w.Write(block)
		require.NoError(t, err)
	}
	require.Less(t, n, Largest, "it came back though the peer reads nothing")
	read, err := io.ReadFull(there, make([]byte, sent))
	require.NoError(t, err)
	require.Equal(t, sent, read)
}

func TestWriteOfWhatIsNotTried(t *testing.T) {
	here, _ := pair(t)
	n, err := New(here).Write(make([]byte, Largest+1))
	require.NoError(t, err)
	require.Zero(t, n, "too large")
	pipe, _ := net.Pipe()
	n, err = New(pipe).Write([]byte("x"))
	require.NoError(t, err)
	require.Zero(t, n, "no socket")
}

func TestWriteToAClosedConnection(t *testing.T) {
	here, _ := pair(t)
	w := New(here)
	require.NoError(t, here.Close())
	_, err := w.Write([]byte("x"))
	require.Error(t, err)
}

func TestWriteAllocatesNothing(t *testing.T) {
	here, there := pair(t)
	go func() { _, _ = io.Copy(io.Discard, there) }()
	w, b := New(here), make([]byte, 100)
	require.Zero(t, testing.AllocsPerRun(100, func() { _, _ = w.Write(b) }))
}
