//go:build linux

// Command localkube runs a real Kubernetes of several nodes on one Linux machine, from plain processes: no container
// engine, no virtual machine, no prebuilt download. README.md beside it says how.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func main() {
	if len(os.Args) == 3 && os.Args[1] == initCommand {
		fmt.Fprintln(os.Stderr, runMachine(os.Args[2]))
		os.Exit(1)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := newCommand().ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "localkube:", err)
		stop()
		os.Exit(1)
	}
}

func newCommand() *cobra.Command {
	root := &cobra.Command{
		Use:           "localkube",
		Short:         "A real Kubernetes of several nodes on this machine, from plain processes",
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	var name string
	root.PersistentFlags().StringVar(&name, "name", "demo", "the cluster's name; clusters of different names stand side by side")
	root.AddCommand(
		upCommand(&name),
		&cobra.Command{
			Use: "down", Short: "End the cluster and remove all that belongs to it", Args: cobra.NoArgs,
			RunE: func(cmd *cobra.Command, _ []string) error { return down(cmd.Context(), name, cmd.OutOrStdout()) },
		},
		&cobra.Command{
			Use: "status", Short: "Say what runs", Args: cobra.NoArgs,
			RunE: func(cmd *cobra.Command, _ []string) error {
				return withCluster(name, func(c *Cluster) error { return c.printStatus(cmd.Context(), cmd.OutOrStdout()) })
			},
		},
		&cobra.Command{
			Use: "kubeconfig", Short: "Print the path of the administrator's kubeconfig", Args: cobra.NoArgs,
			RunE: func(cmd *cobra.Command, _ []string) error {
				return withCluster(name, func(c *Cluster) error { return say(cmd, c.kubeconfig()) })
			},
		},
		&cobra.Command{
			Use: "audit", Short: "Print the path of the API server's audit log (JSON lines: who asked for what)", Args: cobra.NoArgs,
			RunE: func(cmd *cobra.Command, _ []string) error {
				return withCluster(name, func(c *Cluster) error { return say(cmd, c.auditLog()) })
			},
		},
		&cobra.Command{
			Use: "load IMAGE.tar...", Short: "Give every node the images of docker or OCI archives", Args: cobra.MinimumNArgs(1),
			RunE: func(cmd *cobra.Command, args []string) error {
				return withCluster(name, func(c *Cluster) error { return c.load(cmd.Context(), cmd.OutOrStdout(), args...) })
			},
		},
		&cobra.Command{
			Use: "domain NAME", Short: "Change the cluster's DNS suffix (pods see it once they are started again)", Args: cobra.ExactArgs(1),
			RunE: func(cmd *cobra.Command, args []string) error {
				return withLockedCluster(cmd, name, func(c *Cluster) error { return c.setDomain(cmd.Context(), args[0]) })
			},
		},
		nodeCommand(&name), buildCommand(), assetsCommand(),
	)
	root.AddCommand(hiddenCommands()...)
	return root
}

func upCommand(name *string) *cobra.Command {
	o := upOptions{}
	cmd := &cobra.Command{
		Use: "up", Short: "Make the cluster run, from whatever an earlier run of that name left", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			o.name = *name
			return up(cmd.Context(), o, cmd.OutOrStdout())
		},
	}
	cmd.Flags().IntVar(&o.nodes, "nodes", 3, "how many nodes, in zones z1 to z3 in turn")
	cmd.Flags().StringVar(&o.domain, "domain", "cluster.local", "the cluster's DNS suffix")
	return cmd
}

func nodeCommand(name *string) *cobra.Command {
	root := &cobra.Command{Use: "node", Short: "Do to a node what happens to nodes"}
	act := func(use, short string, do func(context.Context, *Cluster, int) error) {
		root.AddCommand(&cobra.Command{
			Use: use + " NAME", Short: short, Args: cobra.ExactArgs(1),
			RunE: func(cmd *cobra.Command, args []string) error {
				return withLockedCluster(cmd, *name, func(c *Cluster) error {
					n, err := c.nodeNumber(args[0])
					if err != nil {
						return err
					}
					return do(cmd.Context(), c, n)
				})
			},
		})
	}
	act("stop", "Cut its power: kubelet, containerd and pods end at once", func(ctx context.Context, c *Cluster, n int) error {
		return c.stopNode(ctx, n)
	})
	act("start", "Start it again on its own disk, and wait until it is Ready", func(ctx context.Context, c *Cluster, n int) error {
		if p, ok := c.process(nodeName(n)); ok && p.alive() {
			return nil
		}
		if err := c.stopNode(ctx, n); err != nil { // what is left of one that died by itself
			return err
		}
		start := time.Now()
		if err := c.startNode(ctx, n); err != nil {
			return err
		}
		// Until it reports anew, its Ready may be what it said before it stopped.
		if err := c.waitReport(ctx, n, start, time.Minute); err != nil {
			return err
		}
		return c.waitNodes(ctx, []int{n}, true, time.Minute)
	})
	act("cut", "Pull its network cable: its pods run on, and nobody reaches them", setLink(false))
	act("heal", "Plug its network cable in again", setLink(true))
	root.AddCommand(&cobra.Command{
		Use: "exec NAME -- COMMAND...", Short: "Run a command inside a node's namespaces", Args: cobra.MinimumNArgs(2),
		RunE: func(_ *cobra.Command, args []string) error {
			return withCluster(*name, func(c *Cluster) error {
				p, err := c.runningNode(args[0])
				if err != nil {
					return err
				}
				argv := append([]string{"nsenter", "-t", strconv.Itoa(p.PID), "-m", "-u", "-i", "-n", "-p", "--"}, args[1:]...)
				return syscall.Exec("/usr/bin/nsenter", argv, os.Environ())
			})
		},
	})
	return root
}

func setLink(up bool) func(context.Context, *Cluster, int) error {
	return func(ctx context.Context, c *Cluster, n int) error {
		if _, err := c.runningNode(nodeName(n)); err != nil {
			return err
		}
		master, _ := c.process(controlPlane)
		return c.setNodeLink(ctx, n, master, up)
	}
}

// runningNode finds the first process of a node by the node's name.
func (c *Cluster) runningNode(name string) (Process, error) {
	if _, err := c.nodeNumber(name); err != nil {
		return Process{}, err
	}
	p, ok := c.process(name)
	if !ok || !p.alive() {
		return Process{}, fmt.Errorf("%s is stopped: `localkube node start %[1]s --name %s`", name, c.Name)
	}
	return p, nil
}

func buildCommand() *cobra.Command {
	return &cobra.Command{
		Use: "build", Short: "Build Kubernetes, etcd and CoreDNS from their modules into the cache; print the folder", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			dir, err := ensureBinaries(cmd.Context(), len(binaries), cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			return say(cmd, dir)
		},
	}
}

func assetsCommand() *cobra.Command {
	return &cobra.Command{
		Use: "assets", Short: "Print a folder for KUBEBUILDER_ASSETS (kube-apiserver, etcd, kubectl), built if need be", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			dir, err := ensureBinaries(cmd.Context(), assetBinaries, cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			return say(cmd, dir)
		},
	}
}

// hiddenCommands are run by the cluster's own machines, not by people.
func hiddenCommands() []*cobra.Command {
	return []*cobra.Command{
		{
			Use: provisionerCommand, Hidden: true, Args: cobra.ExactArgs(1),
			RunE: func(cmd *cobra.Command, args []string) error { return runProvisioner(cmd.Context(), args[0]) },
		},
		{
			Use: movableCommand, Hidden: true, Args: cobra.MinimumNArgs(3), DisableFlagParsing: true,
			RunE: func(cmd *cobra.Command, args []string) error {
				return runMovableDriver(args[0], args[1], args[2:], cmd.OutOrStdout())
			},
		},
	}
}

func say(cmd *cobra.Command, line string) error {
	_, err := fmt.Fprintln(cmd.OutOrStdout(), line)
	return err
}

func withCluster(name string, do func(*Cluster) error) error {
	if err := checkHost(); err != nil {
		return err
	}
	c, err := loadCluster(name)
	if err != nil {
		return err
	}
	return do(c)
}

func withLockedCluster(cmd *cobra.Command, name string, do func(*Cluster) error) error {
	return withCluster(name, func(*Cluster) error {
		unlock, err := lockCluster(cmd.Context(), name, cmd.ErrOrStderr())
		if err != nil {
			return err
		}
		defer unlock()
		c, err := loadCluster(name) // again: it may have changed while we waited
		if err != nil {
			return err
		}
		if p, ok := c.process(controlPlane); !ok || !p.alive() {
			return fmt.Errorf("cluster %s doesn't run: `localkube up --name %[1]s`", name)
		}
		return do(c)
	})
}

// printStatus says which machines run and what the API says of the nodes. It fails if something that should run doesn't.
func (c *Cluster) printStatus(ctx context.Context, out io.Writer) error {
	ready := map[string]string{}
	client, err := c.client()
	if err == nil {
		list, listErr := client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
		err = listErr
		if err == nil {
			for i := range list.Items {
				ready[list.Items[i].Name] = "NotReady"
				if nodeReady(&list.Items[i]) {
					ready[list.Items[i].Name] = "Ready"
				}
			}
		}
	}
	fmt.Fprintf(out, "cluster %s: %s, API %s, domain %s, binaries %s\n", c.Name, c.network(), c.apiURL(), c.Domain, c.BinDir)
	w := tabwriter.NewWriter(out, 2, 0, 2, ' ', 0)
	fmt.Fprintln(w, "MACHINE\tPROCESS\tSTATE\tADDRESS\tZONE\tNODE")
	var dead []error
	for _, m := range c.machines() {
		state, pid := "stopped", "-"
		if p, ok := c.process(m); ok {
			pid = strconv.Itoa(p.PID)
			if state = "running"; !p.alive() {
				state = "dead"
				dead = append(dead, fmt.Errorf("%s has died", m))
			}
		}
		address, zone := c.apiAddr(), "-"
		if n, err := c.nodeNumber(m); err == nil {
			address, zone = c.nodeAddr(n), nodeZone(n)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", m, pid, state, address, zone, ready[m])
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if err != nil {
		dead = append(dead, fmt.Errorf("asking the API server: %w", err))
	}
	return errors.Join(dead...)
}
