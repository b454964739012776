package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/kraft-dev/kraft-operator/internal/config"
	"github.com/kraft-dev/kraft-operator/internal/node"
	"github.com/kraft-dev/kraft-operator/internal/storage"
	"github.com/kraft-dev/kraft-operator/internal/uuid"
)

func formatCommand() *cobra.Command {
	var (
		file, clusterID, initial               string
		standalone, noInitial, ignoreFormatted bool
	)
	cmd := &cobra.Command{
		Use:   "format --config FILE --cluster-id ID",
		Short: "Format the node's log directories, as Kafka's storage tool does",
		Long: "Format every log directory that has no meta.properties. A controller needs to know who votes: --standalone, --initial-controllers\n" +
			"(the same list on every node), or --no-initial-controllers to join an existing quorum as an observer.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := loadConfig(file)
			if err != nil {
				return err
			}
			req := node.FormatRequest{ClusterID: clusterID, Permit: true}
			if req.InitialControllers, err = initialControllers(cfg, standalone, noInitial, initial); err != nil {
				return err
			}
			fsys := storage.OS()
			id, empty, err := node.ReadIdentity(fsys, cfg)
			if err != nil {
				return err
			}
			if len(id.Directories) > 0 && !ignoreFormatted {
				return errors.New("a log directory is formatted already: --ignore-formatted leaves it and formats the others")
			}
			if id, err = node.Format(fsys, cfg, id, empty, req, rand.Reader, time.Now().UnixMilli()); err != nil {
				return err
			}
			for dir, directory := range id.Directories {
				fmt.Fprintf(cmd.OutOrStdout(), "%s: cluster %s, node %d, directory %s\n", dir, id.ClusterID, id.NodeID, directory)
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&file, "config", "", "Java properties file with Kafka's settings")
	cmd.Flags().StringVar(&clusterID, "cluster-id", "", "cluster id, the same on every node")
	cmd.Flags().BoolVar(&standalone, "standalone", false, "this controller is the only voter")
	cmd.Flags().StringVar(&initial, "initial-controllers", "", "id@host:port:directoryId,… of all voters")
	cmd.Flags().BoolVar(&noInitial, "no-initial-controllers", false, "write no voters: this controller observes until it is added")
	cmd.Flags().BoolVar(&ignoreFormatted, "ignore-formatted", false, "formatted directories are no error and are left as they are")
	_ = cmd.MarkFlagRequired("config")
	_ = cmd.MarkFlagRequired("cluster-id")
	return cmd
}

// initialControllers applies the rules of Kafka's storage tool to the three flags.
func initialControllers(cfg *config.Config, standalone, noInitial bool, initial string) ([]config.InitialController, error) {
	given := 0
	for _, set := range []bool{standalone, noInitial, initial != ""} {
		if set {
			given++
		}
	}
	static := cfg.IsSet(config.QuorumVoters) && cfg.String(config.QuorumVoters) != ""
	switch {
	case given > 1:
		return nil, errors.New("--standalone, --initial-controllers and --no-initial-controllers exclude each other")
	case static && given > 0 && !noInitial:
		return nil, fmt.Errorf("%s is set: static voters go without --standalone and --initial-controllers", config.QuorumVoters)
	case !cfg.IsController() || noInitial || static:
		return nil, nil
	case initial != "":
		voters, err := config.ParseInitialControllers(initial)
		if err != nil {
			return nil, fmt.Errorf("--initial-controllers: %w", err)
		}
		return voters, nil
	case standalone:
		return standaloneVoter(cfg)
	}
	return nil, errors.New("a controller needs --standalone, --initial-controllers or --no-initial-controllers")
}

func standaloneVoter(cfg *config.Config) ([]config.InitialController, error) {
	set, err := cfg.Listeners()
	if err != nil {
		return nil, err
	}
	directory, err := uuid.New(rand.Reader)
	if err != nil {
		return nil, err
	}
	l := set.ControllerAdvertised()[0]
	host := l.Host
	if host == "" || host == "0.0.0.0" {
		host = "localhost"
	}
	return []config.InitialController{{Address: config.Address{ID: cfg.NodeID(), Host: host, Port: l.Port}, DirectoryID: directory}}, nil
}
