package wire

import (
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func TestTable(t *testing.T) {
	a, ok := Lookup(18)
	require.True(t, ok)
	require.Equal(t, API{Key: 18, Min: 0, Max: 4, Name: "ApiVersions", Broker: true, Controller: true}, a)
	a, ok = Lookup(19)
	require.True(t, ok)
	require.Equal(t, API{Key: 19, Min: 2, Max: 7, Name: "CreateTopics", Broker: true, Controller: true, Forwardable: true}, a)
	a, ok = Lookup(52)
	require.True(t, ok)
	require.True(t, a.ClusterAction && a.Controller && !a.Broker)
	_, ok = Lookup(4)
	require.False(t, ok, "removed")
	require.Len(t, APIsFor(BrokerListener), 77)
	require.Len(t, APIsFor(ControllerListener), 41)
	require.Equal(t, []API{apiTable[1], apiTable[18]}, Narrow(APIsFor(BrokerListener), 18, 1, 52))
}

func TestTableFitsKmsg(t *testing.T) {
	for _, a := range apiTable {
		if a.Max < 0 {
			continue
		}
		req := kmsg.RequestForKey(a.Key)
		require.NotNil(t, req, a.Name)
		require.LessOrEqual(t, a.Max, req.MaxVersion(), a.Name)
		require.Equal(t, req.MaxVersion(), kmsg.ResponseForKey(a.Key).MaxVersion(), a.Name)
	}
}

func TestDamagedTablesAreRefused(t *testing.T) {
	for _, tsv := range []string{"0\tProduce\t3-13\tbroker\t", "1\tFetch\t4-18\tbroker\t\t", "0\tProduce\t3\tbroker\t\t", "x\tProduce\t3-13\tbroker\t\t"} {
		_, err := parseAPIs(tsv)
		require.Error(t, err, tsv)
	}
}

func TestFrameCaps(t *testing.T) {
	const produceCap = 100 << 20
	require.Equal(t, produceCap, MaxRequestSize(0, produceCap))
	require.Equal(t, 64<<10, MaxRequestSize(18, produceCap))
	require.Equal(t, 512<<10, MaxRequestSize(36, produceCap))
	require.Equal(t, 8<<20, MaxRequestSize(1, produceCap))
	require.Equal(t, 1<<20, MaxRequestSize(10, produceCap))
	require.Equal(t, 1<<20, MaxRequestSize(1, 1<<20), "never above socket.request.max.bytes")
	require.Zero(t, MaxRequestSize(4, produceCap), "removed")
	require.Zero(t, MaxRequestSize(-1, produceCap))
}
