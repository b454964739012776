//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/sig-storage-lib-external-provisioner/v13/controller"
)

const (
	provisionerUser    = "localkube-provisioner"
	provisionerName    = "localkube.kraft.dev/volumes"
	provisionerCommand = "provisioner"
	nodeLabel          = "kubernetes.io/hostname"

	// volumesFolder is where a node keeps its own volumes, movableFolder where each node finds the movable ones.
	volumesFolder = "/var/lib/localkube/volumes"
	movableFolder = "/var/lib/localkube/movable"
)

// provisioner makes volumes out of folders. A class's parameter `kind` says which:
//
//   - local: a folder of the node that the scheduler chose, bound to that node. Losing the node loses the volume.
//   - movable: a folder that every node can reach, attached to one node at a time (movable.go). It plays a network disk.
type provisioner struct{ cluster *Cluster }

// Provision makes the folder and describes its volume. The folder is closed to the world; the kubelet gives it to a
// pod's fsGroup when it mounts it.
func (p *provisioner) Provision(_ context.Context, o controller.ProvisionOptions) (*corev1.PersistentVolume, controller.ProvisioningState, error) {
	capacity := o.PVC.Spec.Resources.Requests[corev1.ResourceStorage]
	pv := &corev1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: o.PVName},
		Spec: corev1.PersistentVolumeSpec{
			PersistentVolumeReclaimPolicy: *o.StorageClass.ReclaimPolicy,
			AccessModes:                   o.PVC.Spec.AccessModes,
			Capacity:                      corev1.ResourceList{corev1.ResourceStorage: capacity},
			VolumeMode:                    o.PVC.Spec.VolumeMode,
		},
	}
	for _, mode := range o.PVC.Spec.AccessModes {
		if mode != corev1.ReadWriteOnce && mode != corev1.ReadWriteOncePod {
			return nil, controller.ProvisioningFinished, fmt.Errorf("access mode %s: volumes here are for one node at a time, take ReadWriteOnce", mode)
		}
	}
	var folder string
	switch kind := o.StorageClass.Parameters["kind"]; kind {
	case "local":
		n, err := p.cluster.nodeNumber(o.SelectedNodeName)
		if err != nil {
			return nil, controller.ProvisioningFinished, err
		}
		folder = p.cluster.nodePath(n, volumesFolder, o.PVName)
		pv.Spec.Local = &corev1.LocalVolumeSource{Path: filepath.Join(volumesFolder, o.PVName)}
		pv.Spec.NodeAffinity = onNode(o.SelectedNodeName)
	case "movable":
		folder = p.cluster.path("movable", o.PVName)
		pv.Spec.FlexVolume = &corev1.FlexPersistentVolumeSource{Driver: movableDriver, Options: map[string]string{movableOption: o.PVName}}
	default:
		return nil, controller.ProvisioningFinished, fmt.Errorf("storage class %s: parameter kind is %q, want local or movable", o.StorageClass.Name, kind)
	}
	if err := os.MkdirAll(folder, 0o750); err != nil {
		return nil, controller.ProvisioningFinished, fmt.Errorf("making the volume's folder: %w", err)
	}
	return pv, controller.ProvisioningFinished, nil
}

func onNode(name string) *corev1.VolumeNodeAffinity {
	return &corev1.VolumeNodeAffinity{Required: &corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{{
		MatchExpressions: []corev1.NodeSelectorRequirement{{Key: nodeLabel, Operator: corev1.NodeSelectorOpIn, Values: []string{name}}},
	}}}}
}

// Delete removes the volume's folder. A movable volume that a node still holds is refused, and tried again later.
func (p *provisioner) Delete(_ context.Context, pv *corev1.PersistentVolume) error {
	if pv.Spec.Local != nil {
		terms := pv.Spec.NodeAffinity.Required.NodeSelectorTerms
		n, err := p.cluster.nodeNumber(terms[0].MatchExpressions[0].Values[0])
		if err != nil {
			return err
		}
		return os.RemoveAll(p.cluster.nodePath(n, volumesFolder, pv.Name))
	}
	holder, err := readHolder(p.cluster.path("movable", pv.Name))
	if err != nil {
		return err
	}
	if holder != "" {
		return fmt.Errorf("volume %s is attached to %s: %w", pv.Name, holder, errAttached)
	}
	return os.RemoveAll(p.cluster.path("movable", pv.Name))
}

// runProvisioner serves claims until it is ended.
func runProvisioner(ctx context.Context, name string) error {
	c, err := loadCluster(name)
	if err != nil {
		return err
	}
	config, err := clientcmd.BuildConfigFromFlags("", c.path("pki", "provisioner.kubeconfig"))
	if err != nil {
		return fmt.Errorf("reading the provisioner's credentials: %w", err)
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return fmt.Errorf("making a client: %w", err)
	}
	go growClaims(ctx, client)
	controller.NewProvisionController(ctx, client, provisionerName, &provisioner{cluster: c},
		controller.LeaderElection(false), controller.Threadiness(4), controller.MetricsPort(0)).Run(ctx)
	return errors.New("the provisioner ended")
}
