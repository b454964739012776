package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/kraft-dev/kraft-operator/internal/admin"
	"github.com/kraft-dev/kraft-operator/internal/config"
	"github.com/kraft-dev/kraft-operator/internal/storage"
	"github.com/kraft-dev/kraft-operator/internal/uuid"
)

// quorumConnection says which controllers to ask: by flag, or as a node's properties file says.
type quorumConnection struct {
	controllers []string
	file        string
}

func quorumCommand() *cobra.Command {
	var conn quorumConnection
	cmd := &cobra.Command{Use: "quorum", Short: "Look at the controllers' quorum, and change its voters"}
	cmd.PersistentFlags().StringSliceVar(&conn.controllers, "bootstrap-controller", nil, "host:port of controllers, all of them if possible")
	cmd.PersistentFlags().StringVar(&conn.file, "config", "", "a node's properties file; its controller.quorum.bootstrap.servers or controller.quorum.voters are asked where --bootstrap-controller is not given")
	cmd.AddCommand(quorumStatus(&conn), quorumAdd(&conn), quorumRemove(&conn), quorumTransfer(&conn), quorumRecover(&conn))
	return cmd
}

// addresses of controllers to ask.
func (c *quorumConnection) addresses() ([]string, error) {
	if len(c.controllers) > 0 {
		return c.controllers, nil
	}
	if c.file == "" {
		return nil, errors.New("which controllers? give --bootstrap-controller host:port,… or --config FILE of a node")
	}
	cfg, err := loadNode(c.file)
	if err != nil {
		return nil, err
	}
	servers, err := cfg.BootstrapServers()
	if err == nil && len(servers) == 0 {
		var voters []config.Address
		voters, err = cfg.QuorumVoters()
		for _, v := range voters {
			servers = append(servers, config.JoinHostPort(v.Host, v.Port))
		}
	}
	if err == nil && len(servers) == 0 {
		err = fmt.Errorf("%s names no controllers: give --bootstrap-controller", c.file)
	}
	return servers, err
}

func loadNode(file string) (*config.Config, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	props, err := config.Parse(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	props, err = config.Expand(props, func(name string) (string, bool) {
		if v, ok := os.LookupEnv(name); ok {
			return v, true
		}
		return "${env:" + name + "}", true // another place than the node's: it stays as it is
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	cfg, err := config.Load(props)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return cfg, nil
}

func quorumStatus(conn *quorumConnection) *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "Show leader, epoch, high watermark, voters and observers",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			q, _, err := conn.describe(cmd.Context())
			if err != nil {
				return err
			}
			return printQuorum(cmd.OutOrStdout(), q)
		},
	}
}

// describe asks until a leader answers, or a few seconds are over: an election takes that long.
func (c *quorumConnection) describe(ctx context.Context) (*admin.Quorum, []string, error) {
	addrs, err := c.addresses()
	if err != nil {
		return nil, nil, err
	}
	deadline := time.Now().Add(5 * time.Second)
	for {
		q, err := admin.Client{}.DescribeQuorum(ctx, addrs)
		switch {
		case err == nil && q.Leader >= 0:
			return q, addrs, nil
		case time.Now().After(deadline) && err != nil:
			return nil, nil, err
		case time.Now().After(deadline):
			return nil, nil, fmt.Errorf("%s: controllers answer, but none of them leads: a majority of the voters is missing, or these are not all controllers", strings.Join(addrs, ","))
		}
		if err := pause(ctx); err != nil {
			return nil, nil, err
		}
	}
}

func pause(ctx context.Context) error {
	t := time.NewTimer(200 * time.Millisecond)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func printQuorum(out io.Writer, q *admin.Quorum) error {
	end := int64(-1)
	for _, r := range slices.Concat(q.Voters, q.Observers) {
		end = max(end, r.LogEndOffset)
	}
	fmt.Fprintf(out, "leader %d, epoch %d, high watermark %d, %d voters (majority %d)\n", q.Leader, q.LeaderEpoch, q.HighWatermark, len(q.Voters), len(q.Voters)/2+1)
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "NODE\tDIRECTORY\tROLE\tLOG END\tLAG\tLAST FETCH")
	line := func(r admin.Replica, role string) {
		if r.ID == q.Leader {
			role = "leader"
		}
		logEnd, lag, fetched := "unknown", "unknown", "never"
		if r.LogEndOffset >= 0 {
			logEnd, lag = fmt.Sprint(r.LogEndOffset), fmt.Sprint(end-r.LogEndOffset)
		}
		if r.SinceFetch >= 0 {
			fetched = r.SinceFetch.Round(time.Millisecond).String() + " ago"
		}
		if r.ID == q.Leader {
			fetched = "-"
		}
		fmt.Fprintf(w, "%d\t%s\t%s\t%s\t%s\t%s\n", r.ID, uuid.UUID(r.DirectoryID), role, logEnd, lag, fetched)
	}
	for _, v := range q.Voters {
		line(v, "voter")
	}
	for _, o := range q.Observers {
		line(o, "observer")
	}
	return w.Flush()
}

func quorumAdd(conn *quorumConnection) *cobra.Command {
	var (
		id        int32
		directory string
		endpoints []string
	)
	cmd := &cobra.Command{
		Use:   "add",
		Short: "Make a running controller that observes a voter",
		Long: "Make a controller a voter. It must run and have caught up, as an observer.\n" +
			"With --config FILE it is the node whose properties file that is: its id, directory id and controller listeners are read there and on its disk.\n" +
			"Otherwise name it by --id, --directory and --endpoint.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			key, at, err := voterToAdd(conn.file, id, directory, endpoints)
			if err != nil {
				return err
			}
			addrs, err := conn.addresses()
			if err != nil {
				return err
			}
			if err := (admin.Client{}).AddVoter(cmd.Context(), addrs, key, at); err != nil {
				return explain(err)
			}
			fmt.Fprintf(cmd.OutOrStdout(), "node %d (directory %s) is a voter\n", key.ID, uuid.UUID(key.DirectoryID))
			return nil
		},
	}
	cmd.Flags().Int32Var(&id, "id", -1, "node id of the controller")
	cmd.Flags().StringVar(&directory, "directory", "", "directory id of its metadata log directory")
	cmd.Flags().StringSliceVar(&endpoints, "endpoint", nil, "LISTENER://host:port of its controller listeners")
	return cmd
}

func voterToAdd(file string, id int32, directory string, endpoints []string) (key admin.ReplicaKey, at []admin.Endpoint, err error) {
	if id >= 0 || directory != "" || len(endpoints) > 0 {
		if id < 0 || directory == "" || len(endpoints) == 0 {
			return key, nil, errors.New("--id, --directory and --endpoint go together")
		}
		dir, err := uuid.Parse(directory)
		if err != nil {
			return key, nil, fmt.Errorf("--directory: %w", err)
		}
		for _, e := range endpoints {
			name, rest, ok := strings.Cut(e, "://")
			host, port, err := config.SplitHostPort(rest)
			if !ok || err != nil || host == "" || name == "" {
				return key, nil, fmt.Errorf("--endpoint %q: want LISTENER://host:port", e)
			}
			at = append(at, admin.Endpoint{Listener: strings.ToUpper(name), Host: host, Port: uint16(port)})
		}
		return admin.ReplicaKey{ID: id, DirectoryID: dir}, at, nil
	}
	if file == "" {
		return key, nil, errors.New("which controller? give --config FILE of it, or --id, --directory and --endpoint")
	}
	cfg, err := loadNode(file)
	if err != nil {
		return key, nil, err
	}
	if !cfg.IsController() {
		return key, nil, fmt.Errorf("%s: node %d is no controller", file, cfg.NodeID())
	}
	meta, err := storage.ReadMetaProperties(storage.OS(), cfg.MetadataLogDir())
	if err != nil {
		return key, nil, err
	}
	set, err := cfg.Listeners()
	if err != nil {
		return key, nil, err
	}
	for _, l := range set.ControllerAdvertised() {
		at = append(at, admin.Endpoint{Listener: l.Name, Host: l.Host, Port: uint16(l.Port)})
	}
	return admin.ReplicaKey{ID: cfg.NodeID(), DirectoryID: meta.DirectoryID}, at, nil
}

func quorumRemove(conn *quorumConnection) *cobra.Command {
	var directory string
	cmd := &cobra.Command{
		Use:   "remove ID",
		Short: "Remove a voter; it goes on as an observer",
		Long: "Remove a voter. A node that runs goes on as an observer; a leader hands over first.\n" +
			"With controller.quorum.auto.join.enable a running controller would add itself again: stop it first.",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			id, err := nodeID(args[0])
			if err != nil {
				return err
			}
			q, addrs, err := conn.describe(cmd.Context())
			if err != nil {
				return err
			}
			i := slices.IndexFunc(q.Voters, func(r admin.Replica) bool { return r.ID == id })
			if i < 0 {
				return fmt.Errorf("node %d is not a voter", id)
			}
			key := admin.ReplicaKey{ID: id, DirectoryID: q.Voters[i].DirectoryID}
			if directory != "" {
				dir, err := uuid.Parse(directory)
				if err != nil {
					return fmt.Errorf("--directory: %w", err)
				}
				key.DirectoryID = dir
			}
			if err := (admin.Client{}).RemoveVoter(cmd.Context(), addrs, key); err != nil {
				return explain(err)
			}
			fmt.Fprintf(cmd.OutOrStdout(), "node %d (directory %s) is no voter any more; %d are left\n", id, uuid.UUID(key.DirectoryID), len(q.Voters)-1)
			return nil
		},
	}
	cmd.Flags().StringVar(&directory, "directory", "", "the voter's directory id; not needed, but it makes sure that this very disk is meant")
	return cmd
}

func quorumTransfer(conn *quorumConnection) *cobra.Command {
	return &cobra.Command{
		Use:   "transfer ID",
		Short: "Have the leader hand over to a voter",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			id, err := nodeID(args[0])
			if err != nil {
				return err
			}
			before, addrs, err := conn.describe(cmd.Context())
			if err != nil {
				return err
			}
			if before.Leader == id {
				fmt.Fprintf(cmd.OutOrStdout(), "node %d leads already, in epoch %d\n", id, before.LeaderEpoch)
				return nil
			}
			if err := (admin.Client{}).Transfer(cmd.Context(), addrs, id); err != nil {
				return explain(err)
			}
			after, _, err := conn.describe(cmd.Context())
			switch {
			case err != nil:
				return fmt.Errorf("node %d has resigned, and then: %w", before.Leader, err)
			case after.Leader != id:
				return fmt.Errorf("node %d has resigned, but node %d was elected, in epoch %d", before.Leader, after.Leader, after.LeaderEpoch)
			}
			fmt.Fprintf(cmd.OutOrStdout(), "node %d leads, in epoch %d\n", id, after.LeaderEpoch)
			return nil
		},
	}
}

func nodeID(s string) (int32, error) {
	id, err := strconv.ParseInt(s, 10, 32)
	if err != nil || id < 0 {
		return 0, fmt.Errorf("%q is not a node id", s)
	}
	return int32(id), nil
}

// explain adds what to do next to an answer that leaves the outcome open.
func explain(err error) error {
	if errors.Is(err, admin.ErrUncertain) {
		return fmt.Errorf("%w; see `kraftd quorum status`", err)
	}
	return err
}
