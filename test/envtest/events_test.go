package envtest

import (
	"cmp"
	"context"
	"strings"
	"time"

	"github.com/stretchr/testify/require"
	eventsv1 "k8s.io/api/events/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// awaitEvent waits for an event with that reason whose note contains text.
func (w *world) awaitEvent(reason, text string) {
	w.t.Helper()
	var seen []string
	err := wait.PollUntilContextTimeout(w.t.Context(), 20*time.Millisecond, cmp.Or(w.patience, patience), true, func(ctx context.Context) (bool, error) {
		var list eventsv1.EventList
		if err := kube.List(ctx, &list, client.InNamespace(w.ns)); err != nil {
			return false, err
		}
		seen = nil
		for _, e := range list.Items {
			seen = append(seen, e.Reason+": "+e.Note)
			if e.Reason == reason && strings.Contains(e.Note, text) {
				return true, nil
			}
		}
		return false, nil
	})
	require.NoError(w.t, err, "events: %s", strings.Join(seen, "\n"))
}
