//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// client talks to the cluster as its administrator.
func (c *Cluster) client() (kubernetes.Interface, error) {
	config, err := clientcmd.BuildConfigFromFlags("", c.kubeconfig())
	if err != nil {
		return nil, fmt.Errorf("reading the kubeconfig: %w", err)
	}
	config.Timeout, config.QPS, config.Burst = 5*time.Second, 50, 100
	config.WarningHandler = rest.NoWarnings{}
	return kubernetes.NewForConfig(config)
}

// waitAPI waits until the API server says that it is ready.
func (c *Cluster) waitAPI(ctx context.Context) error {
	client, err := c.client()
	if err != nil {
		return err
	}
	return waitFor(ctx, 60*time.Second, "the API server (see "+c.path("log", "kube-apiserver.log")+")", func() (bool, error) {
		_, err := client.Discovery().RESTClient().Get().AbsPath("/readyz").DoRaw(ctx)
		return err == nil, err
	})
}

// waitNodes waits until each of these nodes is Ready, or none of them is.
func (c *Cluster) waitNodes(ctx context.Context, numbers []int, ready bool, limit time.Duration) error {
	client, err := c.client()
	if err != nil {
		return err
	}
	what := "nodes to be Ready"
	if !ready {
		what = "nodes to be NotReady"
	}
	return waitFor(ctx, limit, what, func() (bool, error) {
		list, err := client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
		if err != nil {
			return false, err
		}
		is := map[string]bool{}
		for i := range list.Items {
			is[list.Items[i].Name] = nodeReady(&list.Items[i])
		}
		for _, n := range numbers {
			if is[nodeName(n)] != ready {
				return false, fmt.Errorf("%s: Ready is %v", nodeName(n), is[nodeName(n)])
			}
		}
		return true, nil
	})
}

// waitReport waits until a node's kubelet has renewed its lease after a moment.
func (c *Cluster) waitReport(ctx context.Context, n int, after time.Time, limit time.Duration) error {
	client, err := c.client()
	if err != nil {
		return err
	}
	return waitFor(ctx, limit, "a sign of life from "+nodeName(n), func() (bool, error) {
		lease, err := client.CoordinationV1().Leases(corev1.NamespaceNodeLease).Get(ctx, nodeName(n), metav1.GetOptions{})
		if err != nil {
			return false, err
		}
		return lease.Spec.RenewTime != nil && lease.Spec.RenewTime.After(after), nil
	})
}

func nodeReady(n *corev1.Node) bool {
	for _, cond := range n.Status.Conditions {
		if cond.Type == corev1.NodeReady {
			return cond.Status == corev1.ConditionTrue
		}
	}
	return false
}

// waitDNS waits until CoreDNS runs as its Deployment now says.
func (c *Cluster) waitDNS(ctx context.Context) error {
	client, err := c.client()
	if err != nil {
		return err
	}
	return waitFor(ctx, 90*time.Second, "CoreDNS", func() (bool, error) {
		d, err := client.AppsV1().Deployments("kube-system").Get(ctx, "coredns", metav1.GetOptions{})
		if err != nil {
			return false, err
		}
		s := d.Status
		if s.ObservedGeneration < d.Generation || s.UpdatedReplicas < *d.Spec.Replicas || s.Replicas > s.UpdatedReplicas {
			return false, errors.New("its pods aren't those of the current Deployment")
		}
		// One that answers is enough to go on: the other may belong on a node that is stopped.
		return s.AvailableReplicas > 0, fmt.Errorf("%d of %d pods are available", s.AvailableReplicas, *d.Spec.Replicas)
	})
}
