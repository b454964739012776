package cli

import (
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/kraft-dev/kraft-operator/internal/config"
	"github.com/kraft-dev/kraft-operator/internal/quorum"
	"github.com/kraft-dev/kraft-operator/internal/quorum/disk"
	"github.com/kraft-dev/kraft-operator/internal/storage"
	"github.com/kraft-dev/kraft-operator/internal/uuid"
)

// epochJump sets a recovered quorum apart from whatever the lost majority may have elected meanwhile.
const epochJump = 1000

const recoverLong = `Make one surviving controller the only voter, when the majority of the voters' disks is lost for good.

Stop every controller that is left. On each, without other flags, this prints where its log ends and changes nothing that
a start would not change. Then, on the one whose log ends last (the highest epoch, then the highest offset):

  kraftd quorum recover --config FILE --survivor POSITION… --quarantined KEY… --accept-data-loss

with the positions that the other survivors printed, and every other voter's key. Naming a key says that its disk is destroyed,
or kept from ever starting again by itself: a majority of the old voters that starts elsewhere is a second cluster, which goes
on with the same id and takes writes of its own. A named voter that does start and reaches the new leader observes.

What only lost disks had is lost: acknowledged metadata may be among it. Afterwards start this node, then the other survivors,
and make them voters by 'kraftd quorum add'.`

// position is where a stopped controller's log ends.
type position struct {
	key   quorum.ReplicaKey
	epoch quorum.Epoch // of its last record
	end   quorum.Offset
}

func (p position) String() string {
	return fmt.Sprintf("%d:%s:%d:%d", p.key.ID, p.key.DirectoryID, p.epoch, p.end)
}

func (p position) behind(o position) bool {
	return p.epoch < o.epoch || p.epoch == o.epoch && p.end < o.end
}

func parsePosition(s string) (p position, err error) {
	parts := strings.Split(s, ":")
	if len(parts) != 4 {
		return p, fmt.Errorf("--survivor %q: want id:directory:epoch:offset, as this command prints it", s)
	}
	if p.key, err = parseKey(parts[0] + "@" + parts[1]); err != nil {
		return p, fmt.Errorf("--survivor %q: %w", s, err)
	}
	epoch, errEpoch := strconv.ParseInt(parts[2], 10, 32)
	end, errEnd := strconv.ParseInt(parts[3], 10, 64)
	if err := errors.Join(errEpoch, errEnd); err != nil || epoch < 0 || end < 0 {
		return p, fmt.Errorf("--survivor %q: want id:directory:epoch:offset, as this command prints it", s)
	}
	p.epoch, p.end = quorum.Epoch(epoch), quorum.Offset(end)
	return p, nil
}

func parseKey(s string) (quorum.ReplicaKey, error) {
	id, directory, ok := strings.Cut(s, "@")
	n, err := nodeID(id)
	if !ok || err != nil {
		return quorum.ReplicaKey{}, fmt.Errorf("%q is not id@directory", s)
	}
	dir, err := uuid.Parse(directory)
	return quorum.ReplicaKey{ID: quorum.NodeID(n), DirectoryID: dir}, err
}

// recovery is one call of the command.
type recovery struct {
	file        string
	survivors   []string
	quarantined []string
	accept      bool

	cfg    *config.Config
	mine   position
	status quorum.Status
	others []position
}

func quorumRecover(conn *quorumConnection) *cobra.Command {
	var r recovery
	cmd := &cobra.Command{
		Use: "recover --config FILE", Short: "Go on with one surviving controller when the majority is lost for good", Long: recoverLong, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			r.file = conn.file
			return r.run(cmd.OutOrStdout())
		},
	}
	cmd.Flags().StringArrayVar(&r.survivors, "survivor", nil, "position of another controller that is left, as this command printed it there")
	cmd.Flags().StringArrayVar(&r.quarantined, "quarantined", nil, "id@directory of a voter whose disk is destroyed or can't start by itself; every other voter must be named")
	cmd.Flags().BoolVar(&r.accept, "accept-data-loss", false, "what only lost disks had may be lost")
	return cmd
}

func (r *recovery) run(out io.Writer) (err error) {
	if r.file == "" {
		return errors.New("--config FILE of the stopped controller is needed")
	}
	if r.cfg, err = loadNode(r.file); err != nil {
		return err
	}
	if !r.cfg.IsController() {
		return fmt.Errorf("%s: node %d is no controller", r.file, r.cfg.NodeID())
	}
	for _, s := range r.survivors {
		p, err := parsePosition(s)
		if err != nil {
			return err
		}
		r.others = append(r.others, p)
	}
	fsys, dir := storage.OS(), r.cfg.MetadataLogDir()
	lock, err := storage.LockDir(fsys, dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	d, err := disk.Open(fsys, dir, storage.MetadataLogConfig(r.cfg.Int64(config.MetadataLogSegmentBytes), r.cfg.Int64(config.MetadataLogSegmentMs)), time.Now().UnixMilli())
	if err != nil {
		return err
	}
	if err := r.look(d, dir); err != nil {
		return errors.Join(err, d.Abandon())
	}
	excluded := r.report(out)
	if err := r.refuse(excluded); err != nil {
		return errors.Join(err, d.Abandon()) // a refusal changes nothing
	}
	epoch, err := r.write(d)
	if err := errors.Join(err, d.Close()); err != nil {
		return err
	}
	fmt.Fprintf(out, "\nNode %d is the only voter now, from epoch %d on. Start it; then start the other survivors, and `kraftd quorum add` each.\n", r.mine.key.ID, epoch)
	return nil
}

// look finds out where this log ends, and who votes by it.
func (r *recovery) look(d *disk.Disk, dir string) error {
	meta, err := storage.ReadMetaProperties(storage.OS(), dir)
	if err != nil {
		return err
	}
	cfg := quorum.DefaultConfig()
	cfg.NodeID, cfg.DirectoryID, cfg.Controller = quorum.NodeID(r.cfg.NodeID()), meta.DirectoryID, true
	q, err := quorum.New(cfg, d.Persisted, d.LogState, 0)
	if err != nil {
		return err
	}
	r.status = q.Status()
	if r.status.KRaftVersion < 1 || r.status.Voters.Len() == 0 {
		return errors.New("kraft.version is 0, or no voters are recorded: edit controller.quorum.voters instead")
	}
	r.mine = position{key: quorum.ReplicaKey{ID: cfg.NodeID, DirectoryID: meta.DirectoryID}, end: quorum.Offset(d.EndOffset())}
	if n := len(d.LogState.Epochs); n > 0 {
		r.mine.epoch = d.LogState.Epochs[n-1].Epoch
	} else if n := len(d.LogState.Snapshots); n > 0 {
		r.mine.epoch = d.LogState.Snapshots[n-1].ID.Epoch
	}
	return nil
}

// report says what is known and returns the voters that would be excluded.
func (r *recovery) report(out io.Writer) (excluded []quorum.ReplicaKey) {
	fmt.Fprintf(out, "position: %s\n", r.mine)
	for _, v := range r.status.Voters.Voters() {
		if v.Key != r.mine.key {
			excluded = append(excluded, v.Key)
		}
	}
	ranked := append([]position{r.mine}, r.others...)
	slices.SortStableFunc(ranked, func(a, b position) int {
		switch {
		case b.behind(a):
			return -1
		case a.behind(b):
			return 1
		}
		return 0
	})
	fmt.Fprintf(out, "voters by this log: %s, majority %d\nsurvivors, best first:\n", r.status.Voters, r.status.Voters.Majority())
	for _, p := range ranked {
		fmt.Fprintf(out, "  node %d (%s): log ends at offset %d, last record of epoch %d\n", p.key.ID, p.key.DirectoryID, p.end, p.epoch)
	}
	fmt.Fprintf(out, "may be lost: whatever was written after offset %d of epoch %d and stands on no survivor, acknowledged or not\nexcluded from now on:\n", r.mine.end, r.mine.epoch)
	for _, k := range excluded {
		fmt.Fprintf(out, "  %s\n", k)
	}
	return excluded
}

func (r *recovery) refuse(excluded []quorum.ReplicaKey) error {
	for _, p := range r.others {
		if r.mine.behind(p) {
			return fmt.Errorf("node %d has more (offset %d, epoch %d): recover there", p.key.ID, p.end, p.epoch)
		}
	}
	left := 0
	for _, p := range append([]position{r.mine}, r.others...) {
		if r.status.Voters.Contains(p.key) {
			left++
		}
	}
	if left >= r.status.Voters.Majority() {
		return fmt.Errorf("%d of %d voters are left, which is a majority: start them, there is nothing to recover", left, r.status.Voters.Len())
	}
	if !r.accept {
		return errors.New("nothing was changed: --accept-data-loss is needed, and --quarantined for each excluded voter; see --help first")
	}
	var named []quorum.ReplicaKey
	for _, s := range r.quarantined {
		k, err := parseKey(s)
		if err != nil {
			return fmt.Errorf("--quarantined: %w", err)
		}
		named = append(named, k)
	}
	for _, k := range excluded {
		if !slices.Contains(named, k) {
			return fmt.Errorf("nothing was changed: voter %s is not named by --quarantined: make sure that its disk is destroyed or can't start by itself", k)
		}
	}
	return nil
}

// write ends the log with a voter set of this node alone, in an epoch far ahead of all that is known.
func (r *recovery) write(d *disk.Disk) (quorum.Epoch, error) {
	epoch := max(r.status.Epoch, r.mine.epoch)
	for _, p := range r.others {
		epoch = max(epoch, p.epoch)
	}
	if epoch > math.MaxInt32-2*epochJump {
		return 0, fmt.Errorf("epoch %d is too near the last there is", epoch)
	}
	epoch += epochJump
	set, err := r.cfg.Listeners()
	if err != nil {
		return 0, err
	}
	self := quorum.Voter{Key: r.mine.key, Supported: quorum.DefaultConfig().KRaftVersions}
	for _, l := range set.ControllerAdvertised() {
		self.Endpoints = append(self.Endpoints, quorum.Endpoint{Listener: l.Name, Host: l.Host, Port: uint16(l.Port)})
	}
	voters, level, ids := quorum.NewVoterSet(self), r.status.KRaftVersion, []quorum.NodeID{r.mine.key.ID}
	// quorum-state first: were the log longer than it knows of, its epoch would be taken from the log, which is as good.
	state := quorum.ElectionState{Epoch: epoch, LeaderID: r.mine.key.ID, Voted: quorum.NoReplica}
	if _, err := d.PersistElection(quorum.PersistElection{Seq: 1, State: state}); err != nil {
		return 0, err
	}
	records := []quorum.ControlRecord{
		{LeaderChange: &quorum.LeaderChange{LeaderID: r.mine.key.ID, Voters: ids, GrantingVoters: ids}},
		{KRaftVersion: &level}, {Voters: &voters},
	}
	if err := d.Append(quorum.Append{Base: r.mine.end, End: r.mine.end + quorum.Offset(len(records)), Epoch: epoch, Control: records}, time.Now().UnixMilli()); err != nil {
		return 0, err
	}
	return epoch, d.Flush()
}
