package envtest

import (
	"bytes"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/kraft-dev/kraft-operator/api/v1alpha1"
)

// weather is an apiserver in trouble: every call but a watch takes its time, each so-many-th write is a conflict, and of
// some writes that are carried out the answer is lost.
type weather struct {
	next            http.RoundTripper
	slow            time.Duration
	writes          atomic.Int64
	conflicts, lost atomic.Int64
}

func (w *weather) RoundTrip(req *http.Request) (*http.Response, error) {
	events := strings.Contains(req.URL.Path, "/events")
	if req.URL.Query().Get("watch") != "" || events {
		return w.next.RoundTrip(req)
	}
	select {
	case <-time.After(w.slow):
	case <-req.Context().Done():
		return nil, req.Context().Err()
	}
	if req.Method == http.MethodGet {
		return w.next.RoundTrip(req)
	}
	switch n := w.writes.Add(1); {
	case n%6 == 0:
		w.conflicts.Add(1)
		return refusal(req, http.StatusConflict, metav1.StatusReasonConflict)
	case n%5 == 0:
		w.lost.Add(1)
		resp, err := w.next.RoundTrip(req)
		if err != nil {
			return nil, err
		}
		_ = resp.Body.Close()
		return refusal(req, http.StatusGatewayTimeout, metav1.StatusReasonTimeout)
	}
	return w.next.RoundTrip(req)
}

// refusal answers in the API's place.
func refusal(req *http.Request, code int, reason metav1.StatusReason) (*http.Response, error) {
	if req.Body != nil {
		_ = req.Body.Close()
	}
	body := `{"kind":"Status","apiVersion":"v1","status":"Failure","message":"bad weather","reason":"` + string(reason) + `","code":` + strconv.Itoa(code) + `}`
	return &http.Response{
		StatusCode: code, Status: http.StatusText(code), Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Request: req,
		Header: http.Header{"Content-Type": []string{"application/json"}}, Body: io.NopCloser(bytes.NewBufferString(body)),
	}, nil
}

// TestAnAPIServerInTroubleIsSurvived: slow answers, conflicts, and answers that are lost though the write was made. The
// cluster forms, and a roll takes each node down once.
func TestAnAPIServerInTroubleIsSurvived(t *testing.T) {
	bad := &weather{slow: time.Second}
	api := rest.CopyConfig(cfg)
	api.Wrap(func(next http.RoundTripper) http.RoundTripper { bad.next = next; return bad })
	w := newWorldBy(t, api)
	w.patience = 2 * patience
	w.apply(strings.NewReplacer("controllers: {replicas: 3", "controllers: {replicas: 1", "brokers: {replicas: 3", "brokers: {replicas: 1").Replace(base))
	c := w.await("demo", "Ready", is("Ready", "True"))
	require.Len(t, w.claims(), 2)
	id := c.Status.ClusterID
	w.takeStarted()

	w.edit("demo", func(c *v1alpha1.KRaftCluster) {
		c.Spec.Config = v1alpha1.NodeConfig{"num.recovery.threads.per.data.dir": "3"}
	})
	w.edit("demo", func(c *v1alpha1.KRaftCluster) { c.Spec.Image = "kraft:2" })
	c = w.await("demo", "Ready with the new image", is("Ready", "True"))
	require.Equal(t, id, c.Status.ClusterID)
	require.Equal(t, []string{"demo-controller-0@kraft:2", "demo-broker-1000@kraft:2"}, w.takeStarted(), "each once, in order")
	require.Greater(t, bad.conflicts.Load(), int64(3))
	require.Greater(t, bad.lost.Load(), int64(3))
}

// holdUp lets nobody read one cluster until it is let go.
type holdUp struct {
	next    http.RoundTripper
	cluster string
	reads   atomic.Int64
	letGo   chan struct{}
}

func (h *holdUp) RoundTrip(req *http.Request) (*http.Response, error) {
	if strings.HasSuffix(req.URL.Path, "/kraftclusters/"+h.cluster) {
		h.reads.Add(1)
		select {
		case <-h.letGo:
		case <-req.Context().Done():
			return nil, req.Context().Err()
		}
	}
	return h.next.RoundTrip(req)
}

// TestAPassThatHangsDelaysNoOtherCluster: it holds one worker, and the others go on.
func TestAPassThatHangsDelaysNoOtherCluster(t *testing.T) {
	h := &holdUp{cluster: "slow", letGo: make(chan struct{})}
	api := rest.CopyConfig(cfg)
	api.Wrap(func(next http.RoundTripper) http.RoundTripper { h.next = next; return h })
	w := newWorldBy(t, api)
	w.apply(strings.Replace(combined, "demo", "slow", 1))
	w.until("its pass hangs", func() bool { return h.reads.Load() > 0 })
	w.apply(combined)
	made := func(cluster string) bool { _, ok := w.sets()[cluster+"-controller-2"]; return ok }
	w.until("the other's nodes are made", func() bool { return made("demo") })
	require.False(t, made("slow"))
	close(h.letGo)
	w.until("and its own", func() bool { return made("slow") })
}

// TestObjectsOfTheOldClusterMayStillTerminate when one of the same name is made: nothing of the old is taken for the new
// one's, the operator says what it waits for, and goes on when it is gone.
func TestObjectsOfTheOldClusterMayStillTerminate(t *testing.T) {
	w := newWorld(t)
	w.apply(base)
	c := w.await("demo", "Ready", is("Ready", "True"))
	held := []client.Object{
		&appsv1.StatefulSet{ObjectMeta: metav1.ObjectMeta{Namespace: w.ns, Name: "demo-controller-1"}},
		&corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: w.ns, Name: "demo-bootstrap"}},
		&corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Namespace: w.ns, Name: "data-demo-broker-1001"}},
	}
	finalizers := func(value string) {
		patch := client.RawPatch("application/merge-patch+json", []byte(`{"metadata":{"finalizers":`+value+`}}`))
		for _, obj := range held {
			require.NoError(t, kube.Patch(t.Context(), obj.DeepCopyObject().(client.Object), patch))
		}
	}
	finalizers(`["example.com/held"]`)
	w.destroy(c)
	require.NoError(t, kube.Delete(t.Context(), held[2].DeepCopyObject().(client.Object)))

	w.apply(base)
	again := w.await("demo", "known to wait", func(c *v1alpha1.KRaftCluster) bool {
		return strings.Contains(condition(c, "Ready").Message, "demo-bootstrap is being deleted")
	})
	require.NotEqual(t, c.UID, again.UID)
	require.NoError(t, kube.Get(t.Context(), client.ObjectKeyFromObject(held[0]), held[0]))
	require.NotNil(t, held[0].GetDeletionTimestamp(), "nobody took the finalizer off")

	finalizers("null")
	again = w.await("demo", "Ready", is("Ready", "True"))
	require.Equal(t, c.Status.ClusterID, again.Status.ClusterID, "the same cluster, by its other claims")
	w.until("what was held is made anew", func() bool { // Ready needs neither: the old pod runs
		set := w.sets()["demo-controller-1"]
		claims := w.claims()
		goes := func(c corev1.PersistentVolumeClaim) bool { return c.DeletionTimestamp != nil }
		return metav1.IsControlledBy(&set, again) && len(claims) == 6 && !slices.ContainsFunc(claims, goes)
	})
}
