package controllers

import (
	"context"
	"fmt"

	"sigs.k8s.io/controller-runtime/pkg/client"
)

// relabel puts back the labels by which a node's object is found, where a hand took them off. Nothing else of it changes.
func (r *Reconciler) relabel(ctx context.Context, s *scope, n *node, obj client.Object) error {
	if obj.GetLabels()[labelCluster] == s.cluster.Name {
		return nil
	}
	mended := obj.DeepCopyObject().(client.Object)
	mended.SetLabels(merged(obj.GetLabels(), n.labels()))
	if err := r.Patch(ctx, mended, seen(obj), client.FieldOwner(fieldManager)); client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("labels of %s: %w", obj.GetName(), err)
	}
	return nil
}
