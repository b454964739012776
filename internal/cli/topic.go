package cli

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/kraft-dev/kraft-operator/internal/uuid"
)

func topicCommand() *cobra.Command {
	var conn connection
	cmd := &cobra.Command{Use: "topic", Short: "Create, list, describe and delete topics"}
	conn.flags(cmd)
	cmd.AddCommand(topicCreate(&conn), topicList(&conn), topicDescribe(&conn), topicDelete(&conn))
	return cmd
}

func topicCreate(conn *connection) *cobra.Command {
	var (
		partitions int32
		rf         int16
		configs    []string
		ifMissing  bool
	)
	cmd := &cobra.Command{
		Use:   "create NAME…",
		Short: "Create topics, in one request",
		Args:  cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, names []string) error {
			settings, err := parseConfigs(configs)
			if err != nil {
				return err
			}
			cl, err := conn.client(cmd.Context())
			if err != nil {
				return err
			}
			defer cl.Close()
			created, err := kadm.NewClient(cl).CreateTopics(cmd.Context(), partitions, rf, settings, names...)
			if err != nil {
				return err
			}
			for _, r := range created.Sorted() {
				switch {
				case r.Err == nil:
					fmt.Fprintf(cmd.OutOrStdout(), "created %s (%s): %d partitions, replication factor %d\n", r.Topic, uuid.UUID(r.ID), r.NumPartitions, r.ReplicationFactor)
				case ifMissing && errors.Is(r.Err, kerr.TopicAlreadyExists):
					fmt.Fprintf(cmd.OutOrStdout(), "%s exists\n", r.Topic)
				default:
					err = errors.Join(err, fmt.Errorf("create %s: %w %s", r.Topic, r.Err, r.ErrMessage))
				}
			}
			return err
		},
	}
	cmd.Flags().Int32Var(&partitions, "partitions", -1, "partitions; -1 is the cluster's num.partitions")
	cmd.Flags().Int16Var(&rf, "replication-factor", -1, "replicas of each partition; -1 is the cluster's default.replication.factor")
	cmd.Flags().StringSliceVar(&configs, "config", nil, "key=value, more than once for more settings")
	cmd.Flags().BoolVar(&ifMissing, "if-not-exists", false, "a topic that stands is no error")
	return cmd
}

func parseConfigs(pairs []string) (map[string]*string, error) {
	out := map[string]*string{}
	for _, p := range pairs {
		k, v, ok := strings.Cut(p, "=")
		if !ok || k == "" {
			return nil, fmt.Errorf("--config %q: want key=value", p)
		}
		out[k] = &v
	}
	return out, nil
}

func topicList(conn *connection) *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List topics with their partitions and replicas",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cl, err := conn.client(cmd.Context())
			if err != nil {
				return err
			}
			defer cl.Close()
			topics, err := kadm.NewClient(cl).ListTopicsWithInternal(cmd.Context())
			if err != nil {
				return err
			}
			w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
			fmt.Fprintln(w, "TOPIC\tID\tPARTITIONS\tREPLICAS")
			for _, t := range topics.Sorted() {
				fmt.Fprintf(w, "%s\t%s\t%d\t%d\n", t.Topic, uuid.UUID(t.ID), len(t.Partitions), t.Partitions.NumReplicas())
			}
			return w.Flush()
		},
	}
}

func topicDescribe(conn *connection) *cobra.Command {
	return &cobra.Command{
		Use:   "describe NAME…",
		Short: "Show each partition's leader, replicas and ISR",
		Args:  cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, names []string) error {
			cl, err := conn.client(cmd.Context())
			if err != nil {
				return err
			}
			defer cl.Close()
			topics, err := kadm.NewClient(cl).ListTopics(cmd.Context(), names...)
			if err != nil {
				return err
			}
			w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
			fmt.Fprintln(w, "TOPIC\tPARTITION\tLEADER\tEPOCH\tREPLICAS\tISR")
			for _, t := range topics.Sorted() {
				if t.Err != nil {
					err = errors.Join(err, fmt.Errorf("describe %s: %w", t.Topic, t.Err))
					continue
				}
				for _, p := range slices.Sorted(maps.Keys(t.Partitions)) {
					d := t.Partitions[p]
					fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%v\t%v\n", t.Topic, p, d.Leader, d.LeaderEpoch, d.Replicas, d.ISR)
				}
			}
			return errors.Join(err, w.Flush())
		},
	}
}

func topicDelete(conn *connection) *cobra.Command {
	return &cobra.Command{
		Use:   "delete NAME…",
		Short: "Delete topics and their records",
		Args:  cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, names []string) error {
			cl, err := conn.client(cmd.Context())
			if err != nil {
				return err
			}
			defer cl.Close()
			deleted, err := kadm.NewClient(cl).DeleteTopics(cmd.Context(), names...)
			if err != nil {
				return err
			}
			for _, r := range deleted.Sorted() {
				if r.Err != nil {
					err = errors.Join(err, fmt.Errorf("delete %s: %w %s", r.Topic, r.Err, r.ErrMessage))
					continue
				}
				fmt.Fprintf(cmd.OutOrStdout(), "deleted %s\n", r.Topic)
			}
			return err
		},
	}
}
