//go:build linux

package main

import (
	"context"
	"fmt"
	"log/slog"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
)

// growClaims lets bound claims of this provisioner grow where their class allows it (the API refuses the others): a
// folder has no size, so growing it is writing the new size down, as an external resizer does at its end.
func growClaims(ctx context.Context, client kubernetes.Interface) {
	informer := informers.NewSharedInformerFactory(client, 0).Core().V1().PersistentVolumeClaims().Informer()
	grow := func(obj any) {
		if pvc, ok := obj.(*corev1.PersistentVolumeClaim); ok && wantsMore(pvc) {
			if err := growClaim(ctx, client, pvc); err != nil {
				slog.Error("growing a claim", "namespace", pvc.Namespace, "claim", pvc.Name, "error", err)
			}
		}
	}
	_, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{AddFunc: grow, UpdateFunc: func(_, obj any) { grow(obj) }})
	if err != nil {
		slog.Error("watching claims", "error", err)
		return
	}
	informer.RunWithContext(ctx)
}

// wantsMore says whether a bound claim of ours asks for more than it has.
func wantsMore(pvc *corev1.PersistentVolumeClaim) bool {
	asked, has := pvc.Spec.Resources.Requests[corev1.ResourceStorage], pvc.Status.Capacity[corev1.ResourceStorage]
	return pvc.Status.Phase == corev1.ClaimBound && asked.Cmp(has) > 0 &&
		pvc.Annotations["volume.kubernetes.io/storage-provisioner"] == provisionerName
}

func growClaim(ctx context.Context, client kubernetes.Interface, pvc *corev1.PersistentVolumeClaim) error {
	size := pvc.Spec.Resources.Requests[corev1.ResourceStorage]
	pv, err := client.CoreV1().PersistentVolumes().Get(ctx, pvc.Spec.VolumeName, metav1.GetOptions{})
	if err != nil {
		return fmt.Errorf("reading volume %s: %w", pvc.Spec.VolumeName, err)
	}
	if has := pv.Spec.Capacity[corev1.ResourceStorage]; has.Cmp(size) < 0 {
		pv.Spec.Capacity = withStorage(pv.Spec.Capacity, size)
		if _, err := client.CoreV1().PersistentVolumes().Update(ctx, pv, metav1.UpdateOptions{}); err != nil {
			return fmt.Errorf("growing volume %s: %w", pv.Name, err)
		}
	}
	grown := pvc.DeepCopy()
	grown.Status.Capacity = withStorage(grown.Status.Capacity, size)
	grown.Status.Conditions, grown.Status.AllocatedResourceStatuses = nil, nil
	if _, err := client.CoreV1().PersistentVolumeClaims(pvc.Namespace).UpdateStatus(ctx, grown, metav1.UpdateOptions{}); err != nil {
		return fmt.Errorf("growing claim %s: %w", pvc.Name, err)
	}
	return nil
}

func withStorage(list corev1.ResourceList, size resource.Quantity) corev1.ResourceList {
	out := list.DeepCopy()
	if out == nil {
		out = corev1.ResourceList{}
	}
	out[corev1.ResourceStorage] = size
	return out
}
