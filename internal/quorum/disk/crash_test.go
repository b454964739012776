package disk_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kraft-dev/kraft-operator/internal/quorum"
	"github.com/kraft-dev/kraft-operator/internal/quorum/disk"
	"github.com/kraft-dev/kraft-operator/internal/storage"
	"github.com/kraft-dev/kraft-operator/internal/storage/memfs"
)

// past is what a scenario got done before the machine died.
type past struct {
	flushed  int64                // the log's end that must survive
	end      int64                // of anything ever written
	created  []storage.SnapshotID // frozen: these or newer ones must be there
	epoch    quorum.Epoch         // of the last quorum-state that was persisted
	installs bool                 // an installation was completed
}

// ownSnapshots appends, makes snapshots, and drops what they hold. A replica that may vote flushes each append.
func ownSnapshots(_ testing.TB, fs storage.FS, observer bool, p *past) error {
	d, err := openAs(fs, observer)
	if err != nil {
		return err
	}
	step := func(f func() error) {
		if err == nil {
			err = f()
		}
	}
	step(func() error { return appendControl(d, 1) })
	p.flush(step, d, observer)
	for round := range int64(3) {
		for range 4 {
			step(func() error { return appendBatch(d, 1, 2) })
			p.end = max(p.end, d.EndOffset()+2) // what failed half way may stand too
			p.flush(step, d, observer)
		}
		step(func() error {
			if err := createSnapshot(d, 1); err != nil {
				return err
			}
			p.created, p.flushed = append(p.created, storage.SnapshotID{EndOffset: d.EndOffset(), Epoch: 1}), d.EndOffset()
			return nil
		})
		step(func() error {
			return d.DropPrefix(quorum.DropPrefix{Start: d.Snapshots()[len(d.Snapshots())-1].Info().ID})
		})
		step(func() error { return errors.Join(d.RemovePending(0), d.RemovePending(1<<40)) })
		step(func() error {
			_, err := d.PersistElection(quorum.PersistElection{State: quorum.ElectionState{Epoch: quorum.Epoch(round + 1), LeaderID: 1, Voted: quorum.NoReplica}})
			if err == nil {
				p.epoch = quorum.Epoch(round + 1)
			}
			return err
		})
	}
	return errors.Join(err, d.Close())
}

// flush makes the log durable, on a replica that may vote.
func (p *past) flush(step func(func() error), d *disk.Disk, observer bool) {
	if observer {
		return
	}
	step(d.Flush)
	step(func() error { p.flushed = d.EndOffset(); return nil })
}

func openAs(fs storage.FS, observer bool) (*disk.Disk, error) {
	if observer {
		return disk.OpenObserver(fs, root, smallSegments(), 1000)
	}
	return openDisk(fs)
}

var downloaded = storage.SnapshotID{EndOffset: 30, Epoch: 4}

// installation downloads a snapshot, a first time only half, and installs it over a log with a snapshot of its own.
func installation(t testing.TB, fs storage.FS, observer bool, p *past) error {
	d, err := openAs(fs, observer)
	if err != nil {
		return err
	}
	data := snapshotBytes(t, downloaded)
	id := quorum.OffsetAndEpoch{Offset: quorum.Offset(downloaded.EndOffset), Epoch: quorum.Epoch(downloaded.Epoch)}
	step := func(f func() error) {
		if err == nil {
			err = f()
		}
	}
	step(func() error { return appendControl(d, 1) })
	p.flush(step, d, observer)
	for range 5 {
		step(func() error { return appendBatch(d, 1, 2) })
		p.flush(step, d, observer)
	}
	step(func() error { return createSnapshot(d, 1) })
	step(func() error {
		p.created, p.flushed = []storage.SnapshotID{{EndOffset: d.EndOffset(), Epoch: 1}}, d.EndOffset()
		return nil
	})
	for range 4 {
		step(func() error { return appendBatch(d, 1, 2) })
		p.flush(step, d, observer)
	}
	p.end = 50
	write := func(from, to int) {
		step(func() error {
			return d.WriteSnapshot(quorum.WriteSnapshot{ID: id, Position: int64(from), Data: data[from:to]})
		})
	}
	write(0, 200)
	step(func() error { return d.AbandonSnapshot(quorum.AbandonSnapshot{ID: id}) })
	write(0, 300)
	write(300, 600)
	write(600, len(data))
	step(func() error {
		done, err := d.InstallSnapshot(quorum.InstallSnapshot{Token: 7, ID: id, Size: int64(len(data))})
		if err == nil && (!done.OK || done.Token != 7 || done.Size != int64(len(data)) || len(done.Control) != 2 || d.StartOffset() != 30 || d.EndOffset() != 30) {
			err = fmt.Errorf("installed %+v, log %d to %d", done, d.StartOffset(), d.EndOffset())
		}
		if err == nil {
			p.installs, p.flushed, p.created = true, 30, []storage.SnapshotID{downloaded}
		}
		return err
	})
	for range 3 {
		step(func() error { return appendBatch(d, 4, 2) })
		p.flush(step, d, observer)
	}
	step(func() error { return errors.Join(d.RemovePending(0), d.RemovePending(1<<40)) })
	return errors.Join(err, d.Close())
}

// TestCrashAtEveryOperation: wherever the machine dies, the node starts again by itself, with every record that was durable in its log or in a whole
// snapshot, and nothing that was never written.
func TestCrashAtEveryOperation(t *testing.T) {
	for name, scenario := range map[string]func(testing.TB, storage.FS, bool, *past) error{"own snapshots": ownSnapshots, "installation": installation} {
		for _, observer := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, observer %t", name, observer), func(t *testing.T) {
				whole := newFS(t)
				begin := whole.Ops()
				require.NoError(t, scenario(t, whole, observer, &past{}))
				total := whole.Ops() - begin
				for stop := range total {
					fs := newFS(t)
					fs.StopAfter(stop)
					var p past
					if err := scenario(t, fs, observer, &p); err != nil {
						require.ErrorIs(t, err, memfs.ErrStopped)
					}
					for crash := range uint64(6) {
						if !t.Run(fmt.Sprintf("stop %d crash %d", stop, crash), func(t *testing.T) { reopen(t, fs.CrashClone(crash), observer, p) }) {
							return
						}
					}
				}
				t.Logf("%d operations", total)
			})
		}
	}
}

func reopen(t *testing.T, fs *memfs.FS, observer bool, p past) {
	d, err := openAs(fs, observer)
	require.NoError(t, err)
	requireSound(t, fs, d)
	require.GreaterOrEqual(t, d.EndOffset(), p.flushed, "flushed records are gone")
	require.LessOrEqual(t, d.EndOffset(), p.end)
	if p.installs {
		require.Equal(t, downloaded.EndOffset, d.StartOffset())
	}
	for _, id := range p.created {
		if id.EndOffset >= d.StartOffset() {
			require.Contains(t, ids(d), id)
		}
	}
	if p.epoch > 0 {
		require.GreaterOrEqual(t, d.Persisted.Epoch, p.epoch)
	}
	// It goes on, and what is flushed now survives a crash that takes everything else.
	end := d.EndOffset()
	require.NoError(t, appendBatch(d, 9, 2))
	require.NoError(t, createSnapshot(d, 9))
	require.NoError(t, d.Flush())
	again, err := openAs(fs.CrashClone(0), observer)
	require.NoError(t, err)
	require.Equal(t, end+2, again.EndOffset())
	require.Contains(t, ids(again), storage.SnapshotID{EndOffset: end + 2, Epoch: 9})
}

// A download that is damaged is dropped, and the log stays.
func TestDamagedDownload(t *testing.T) {
	data := snapshotBytes(t, downloaded)
	id := quorum.OffsetAndEpoch{Offset: 30, Epoch: 4}
	for name, bad := range map[string][]byte{
		"a flipped bit": append(append([]byte(nil), data[:300]...), append([]byte{data[300] ^ 1}, data[301:]...)...),
		"no footer":     data[:len(data)-75],
		"no header":     data[159:],
		"empty batch":   make([]byte, 100),
	} {
		t.Run(name, func(t *testing.T) {
			fs := newFS(t)
			d, err := openDisk(fs)
			require.NoError(t, err)
			require.NoError(t, appendBatch(d, 1, 4))
			require.NoError(t, d.WriteSnapshot(quorum.WriteSnapshot{ID: id, Data: bad}))
			done, err := d.InstallSnapshot(quorum.InstallSnapshot{Token: 3, ID: id, Size: int64(len(bad))})
			require.NoError(t, err)
			require.Equal(t, quorum.SnapshotInstalled{Token: 3}, done)
			require.Equal(t, []int64{0, 4}, []int64{d.StartOffset(), d.EndOffset()})
			require.Empty(t, d.Snapshots())
			require.NoError(t, d.WriteSnapshot(quorum.WriteSnapshot{ID: id, Data: data}))
			done, err = d.InstallSnapshot(quorum.InstallSnapshot{Token: 4, ID: id, Size: int64(len(data))})
			require.NoError(t, err)
			require.True(t, done.OK)
			require.EqualValues(t, 30, d.EndOffset())
			requireWhole(t, d, downloaded)
		})
	}
}

// Snapshots are served in pieces, also while they are dropped.
func TestServing(t *testing.T) {
	fs := newFS(t)
	d, err := openDisk(fs)
	require.NoError(t, err)
	for range 2 {
		for range 5 {
			require.NoError(t, appendBatch(d, 1, 2))
		}
		require.NoError(t, createSnapshot(d, 1))
	}
	first, second := d.Snapshots()[0], d.Snapshots()[1]
	want := readFile(t, fs, folder+"/"+first.ID.Name())
	require.EqualValues(t, len(want), first.Size)
	var got []byte
	for len(got) < len(want) {
		done, err := d.ReadSnapshot(quorum.ReadSnapshot{Token: 1, ID: first.Info().ID, Position: int64(len(got)), MaxBytes: 100})
		require.NoError(t, err)
		got = append(got, done.Data...)
	}
	require.Equal(t, want, got)

	require.NoError(t, createSnapshot(d, 1), "a snapshot that is there is no error")
	require.Len(t, d.Snapshots(), 2)
	w, err := d.CreateSnapshot(storage.SnapshotID{EndOffset: 19, Epoch: 1}, header(), 1)
	require.ErrorContains(t, err, "no batch of that epoch ends at offset 18")
	require.Nil(t, w)
	_, err = d.CreateSnapshot(storage.SnapshotID{EndOffset: 18, Epoch: 2}, header(), 1)
	require.ErrorContains(t, err, "no batch of that epoch")

	reader, err := d.OpenSnapshot(first.ID)
	require.NoError(t, err)
	require.NoError(t, d.DropPrefix(quorum.DropPrefix{Start: second.Info().ID}))
	done, err := d.ReadSnapshot(quorum.ReadSnapshot{Token: 2, ID: first.Info().ID, MaxBytes: 100})
	require.NoError(t, err)
	require.Equal(t, quorum.SnapshotRead{Token: 2, Missing: true}, done)
	require.NoError(t, reader.Check(), "who has it open reads on")
	_, err = d.ReadCommitted(5, 20, 100)
	require.ErrorIs(t, err, storage.ErrOffsetOutOfRange)
	w, err = d.CreateSnapshot(storage.SnapshotID{EndOffset: 10, Epoch: 1}, header(), 1)
	require.NoError(t, err, "left behind")
	require.Nil(t, w)
}

// kraft.version of quorum-state follows the log: appended, cut, and taken from an installed snapshot.
func TestQuorumStateFollowsKRaftVersion(t *testing.T) {
	fs := newFS(t)
	d, err := openDisk(fs)
	require.NoError(t, err)
	version := func() string {
		_, err := d.PersistElection(quorum.PersistElection{State: quorum.ElectionState{Epoch: 1, LeaderID: 1, Voted: quorum.NoReplica}})
		require.NoError(t, err)
		return string(readFile(t, fs, folder+"/quorum-state"))
	}
	require.Contains(t, version(), `"data_version":0`)
	require.NoError(t, appendControl(d, 1))
	require.Contains(t, version(), `"data_version":1`)
	require.NoError(t, d.Truncate(quorum.Truncate{To: 0}))
	require.Contains(t, version(), `"data_version":0`)
	require.NoError(t, d.WriteSnapshot(quorum.WriteSnapshot{ID: quorum.OffsetAndEpoch{Offset: 30, Epoch: 4}, Data: snapshotBytes(t, downloaded)}))
	_, err = d.InstallSnapshot(quorum.InstallSnapshot{ID: quorum.OffsetAndEpoch{Offset: 30, Epoch: 4}, Size: int64(len(snapshotBytes(t, downloaded)))})
	require.NoError(t, err)
	require.Contains(t, version(), `"data_version":1`)
}
