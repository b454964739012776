//go:build e2e

package e2e_test

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

type tsw struct{ f *os.File }

func (w tsw) Write(b []byte) (int, error) {
	fmt.Fprintf(w.f, "%s %s", time.Now().Format("15:04:05.000"), b)
	return len(b), nil
}

func TestZZGap(t *testing.T) {
	f, _ := os.Create("/tmp/lead/gap/kgo.log")
	defer f.Close()
	cl, err := kgo.NewClient(kgo.SeedBrokers(external(t)...), kgo.WithLogger(kgo.BasicLogger(tsw{f}, kgo.LogLevelDebug, nil)))
	require.NoError(t, err)
	adm := kadm.NewClient(cl)
	adm.CreateTopic(context.Background(), 6, 3, nil, "zzgap")
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		last := time.Now()
		for i := 0; ctx.Err() == nil; i++ {
			v := fmt.Sprint(600_000_000 + i%1000)
			b := time.Now()
			_, err := adm.AlterTopicConfigs(ctx, []kadm.AlterConfig{{Op: kadm.SetConfig, Name: "retention.ms", Value: &v}}, "zzgap")
			if d := time.Since(last); d > 150*time.Millisecond {
				fmt.Printf("%s GAP %s since %s err=%v\n", time.Now().Format("15:04:05.000"), d, b.Format("15:04:05.000"), err)
			}
			last = time.Now()
			time.Sleep(10 * time.Millisecond)
		}
	}()
	for _, id := range []string{"1000", "1001", "1002"} {
		was := pods(t)[id]
		fmt.Printf("%s delete %s\n", time.Now().Format("15:04:05.000"), was.Name)
		k(t, "delete", "pod", was.Name, "--wait=false")
		replaced(t, was)
		fmt.Printf("%s replaced %s\n", time.Now().Format("15:04:05.000"), was.Name)
		eventually(t, "back", time.Minute, func() bool { return readyPods(t) >= 6 && pods(t)[id].Ready })
		fmt.Printf("%s ready %s\n", time.Now().Format("15:04:05.000"), was.Name)
		e := time.Now().Add(4 * time.Second)
		eventually(t, "tail", time.Minute, func() bool { return time.Now().After(e) })
	}
	stop()
	<-done
}
