package main

import (
	"fmt"
	"log/slog"
	"os"

	"github.com/spf13/cobra"

	"github.com/kraft-dev/kraft-operator/internal/config"
	"github.com/kraft-dev/kraft-operator/internal/node"
)

func runCommand() *cobra.Command {
	var file, level, format string
	cmd := &cobra.Command{
		Use:   "run --config FILE",
		Short: "Run the node until SIGTERM, which hands leadership over",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := loadConfig(file)
			if err != nil {
				return err
			}
			logger, err := newLogger(level, format)
			if err != nil {
				return err
			}
			return node.Run(cmd.Context(), node.Options{Config: cfg, Logger: logger, Version: version})
		},
	}
	cmd.Flags().StringVar(&file, "config", "", "Java properties file with Kafka's settings")
	cmd.Flags().StringVar(&level, "log-level", "info", "debug, info, warn or error")
	cmd.Flags().StringVar(&format, "log-format", "text", "text or json")
	_ = cmd.MarkFlagRequired("config")
	return cmd
}

// loadConfig reads, expands and checks a properties file.
func loadConfig(file string) (*config.Config, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	props, err := config.Parse(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	if props, err = config.Expand(props, os.LookupEnv); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	cfg, err := config.Load(props)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return cfg, nil
}

func newLogger(level, format string) (*slog.Logger, error) {
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil {
		return nil, fmt.Errorf("--log-level %q: want debug, info, warn or error", level)
	}
	opts := &slog.HandlerOptions{Level: l}
	switch format {
	case "text":
		return slog.New(slog.NewTextHandler(os.Stderr, opts)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(os.Stderr, opts)), nil
	}
	return nil, fmt.Errorf("--log-format %q: want text or json", format)
}
