package main

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"runtime/pprof"
	"slices"
	"sync"
	"syscall"
	"time"

	boltdb "github.com/hashicorp/raft-boltdb/v2"
	wal "github.com/hashicorp/raft-wal"

	"github.com/kraft-dev/kraft-operator/test/engine"
)

// kinds of quorums that are compared.
const (
	pull     = "pull"      // this project's
	pushWAL  = "push-wal"  // hashicorp/raft on raft-wal
	pushBolt = "push-bolt" // hashicorp/raft on raft-boltdb
)

// spec is what a process of replicas is told: one voter, or some observers.
type spec struct {
	Kind      string
	Self      []engine.Member
	Voters    []engine.Member
	Nonvoters []engine.Member
	Dir       string
}

// order is one line to such a process, outcome the line that answers it.
type order struct {
	Op      string // leads, load, lag
	Writers int
	Rate    int // records a second; 0: each writer as fast as it is answered
	For     time.Duration
	Profile string // write a CPU profile of the load here
}

type outcome struct {
	Error   string
	Leads   bool
	Commits int
	Took    time.Duration
	CPU     time.Duration
	P50     time.Duration // load: of one commit; lag: of a record's way
	P99     time.Duration
	Samples int
}

// payloadSize is about what a metadata record with its frame takes.
const payloadSize = 128

// payload begins with the time at which its writer gave it away.
func payload() []byte {
	b := make([]byte, payloadSize)
	binary.LittleEndian.PutUint64(b, uint64(time.Now().UnixNano()))
	return b
}

// machine is what both engines replicate here: a running checksum. It samples how old records are when they arrive.
type machine struct {
	sample bool

	mu    sync.Mutex
	sum   uint32
	count int
	ages  []time.Duration
}

const (
	sampleEvery = 8
	maxSamples  = 1 << 17
)

// Apply implements engine.Machine.
func (m *machine) Apply(record []byte) []byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.sum = crc32.Update(m.sum, crc32.IEEETable, record)
	m.count++
	if m.sample && m.count%sampleEvery == 0 && len(record) == payloadSize && len(m.ages) < maxSamples {
		m.ages = append(m.ages, time.Duration(time.Now().UnixNano()-int64(binary.LittleEndian.Uint64(record))))
	}
	return nil
}

func (m *machine) takeAges() []time.Duration {
	m.mu.Lock()
	defer m.mu.Unlock()
	a := m.ages
	m.ages = nil
	return a
}

// replicas are those of one process.
type replicas struct {
	running  []engine.Replica
	machines []*machine
}

// serveReplicas runs the replicas of a spec until in ends, answering each order with an outcome.
func serveReplicas(args []string, in io.Reader, out io.Writer) (err error) {
	var s spec
	if err := json.Unmarshal([]byte(args[0]), &s); err != nil {
		return err
	}
	var rs replicas
	defer func() {
		for _, r := range rs.running {
			err = errors.Join(err, r.Stop(false))
		}
	}()
	for _, self := range s.Self {
		m := &machine{sample: !self.Voter}
		r, err := startReplica(s, self, m)
		if err != nil {
			return err
		}
		rs.running, rs.machines = append(rs.running, r), append(rs.machines, m)
	}
	answers := json.NewEncoder(out)
	if err := answers.Encode(outcome{}); err != nil { // started
		return err
	}
	orders := json.NewDecoder(in)
	for {
		var o order
		if err := orders.Decode(&o); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		if err := answers.Encode(rs.obey(o)); err != nil {
			return err
		}
	}
}

func startReplica(s spec, self engine.Member, m engine.Machine) (engine.Replica, error) {
	cfg := engine.Config{
		Self: self, Voters: s.Voters, Dir: filepath.Join(s.Dir, fmt.Sprint(self.ID)), Machine: m,
		Timeouts: engine.KafkasTimeouts, Seed: uint64(self.ID) + 1,
	}
	if err := os.MkdirAll(cfg.Dir, 0o755); err != nil {
		return nil, err
	}
	if s.Kind == pull {
		return engine.StartPull(cfg)
	}
	stores, err := openStores(s.Kind, self, cfg.Dir)
	if err != nil {
		return nil, err
	}
	return engine.StartPush(cfg, stores, s.Nonvoters)
}

// openStores gives voters a real disk. Non-voters keep their log in memory, which spares the peer the fsync of each: this
// project's observers don't fsync either, since nobody counts them.
func openStores(kind string, self engine.Member, dir string) (engine.Stores, error) {
	if !self.Voter {
		return engine.MemoryStores(), nil
	}
	if kind == pushBolt {
		b, err := boltdb.New(boltdb.Options{Path: filepath.Join(dir, "raft.db")})
		if err != nil {
			return engine.Stores{}, err
		}
		return engine.Stores{Log: b, Stable: b, Close: b.Close}, nil
	}
	w, err := wal.Open(dir)
	if err != nil {
		return engine.Stores{}, err
	}
	return engine.Stores{Log: w, Stable: w, Close: w.Close}, nil
}

func (rs *replicas) obey(o order) outcome {
	switch o.Op {
	case "leads":
		return outcome{Leads: rs.running[0].Leads()}
	case "lag":
		var all []time.Duration
		for _, m := range rs.machines {
			all = append(all, m.takeAges()...)
		}
		return outcome{Samples: len(all), P50: percentile(all, 50), P99: percentile(all, 99)}
	case "load":
		out, err := takeLoad(rs.running[0], o)
		if err != nil {
			out.Error = err.Error()
		}
		return out
	}
	return outcome{Error: "unknown order " + o.Op}
}

// processCPU is what this process has used.
func processCPU() (time.Duration, error) {
	var u syscall.Rusage
	err := syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()), err
}

// takeLoad lets writers propose records for a while, each waiting for the commit of one before the next.
func takeLoad(r engine.Replica, o order) (out outcome, err error) {
	if o.Profile != "" {
		f, err := os.Create(o.Profile)
		if err != nil {
			return out, err
		}
		defer f.Close()
		if err := pprof.StartCPUProfile(f); err != nil {
			return out, err
		}
		defer pprof.StopCPUProfile()
	}
	cpu, err := processCPU()
	if err != nil {
		return out, err
	}
	began := time.Now()
	took, err := write(r, o)
	out.Took = time.Since(began)
	if err != nil {
		return out, err
	}
	after, err := processCPU()
	out.CPU, out.Commits = after-cpu, len(took)
	out.P50, out.P99, out.Samples = percentile(took, 50), percentile(took, 99), len(took)
	return out, err
}

// write returns how long each commit took.
func write(r engine.Replica, o order) ([]time.Duration, error) {
	end := time.Now().Add(o.For)
	due := pace(o, end)
	perWriter := make([][]time.Duration, o.Writers)
	errs := make(chan error, o.Writers)
	var wg sync.WaitGroup
	for i := range o.Writers {
		wg.Go(func() {
			for time.Now().Before(end) {
				if due != nil {
					if _, ok := <-due; !ok {
						return
					}
				}
				began := time.Now()
				if _, err := r.Apply(context.Background(), payload()); err != nil {
					errs <- err
					return
				}
				perWriter[i] = append(perWriter[i], time.Since(began))
			}
		})
	}
	wg.Wait()
	close(errs)
	return slices.Concat(perWriter...), <-errs
}

// pace hands out Rate tokens a second until end; nil where there is no rate.
func pace(o order, end time.Time) chan struct{} {
	if o.Rate == 0 {
		return nil
	}
	due := make(chan struct{}, o.Rate)
	go func() {
		defer close(due)
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		began, given := time.Now(), 0
		for now := range tick.C {
			if now.After(end) {
				return
			}
			for ; given < int(now.Sub(began).Seconds()*float64(o.Rate)); given++ {
				select {
				case due <- struct{}{}:
				default: // a second behind: the rate can't be held, and Commits will say so
				}
			}
		}
	}()
	return due
}

// percentile sorts d and gives the nearest rank: the smallest value that p of a hundred don't exceed.
func percentile(d []time.Duration, p int) time.Duration {
	if len(d) == 0 {
		return 0
	}
	slices.Sort(d)
	return d[max(0, (len(d)*p+99)/100-1)]
}
