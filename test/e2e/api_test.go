//go:build e2e

package e2e_test

import (
	"bytes"
	"io"
	"net/http"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/util/json"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/util/jsonpath"
)

// clusters is where the API server has the test's KRaftClusters.
func clusters() string { return "/apis/kraft.dev/v1alpha1/namespaces/" + namespace + "/kraftclusters/" }

// apiServer is the API server of the kubeconfig in the environment. What is looked at again and again is read from it directly: a
// kubectl each time would take a good part of the machine that the cluster is measured on.
var apiServer = sync.OnceValues(func() (*http.Client, error) {
	cfg, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(clientcmd.NewDefaultClientConfigLoadingRules(), nil).ClientConfig()
	if err != nil {
		return nil, err
	}
	apiHost = cfg.Host
	return rest.HTTPClientFor(cfg)
})

var apiHost string // set by apiServer

// get reads from the API server.
func get(t testing.TB, path string) []byte {
	t.Helper()
	server, err := apiServer()
	require.NoError(t, err)
	resp, err := server.Get(apiHost + path)
	require.NoError(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, resp.StatusCode, "%s: %s", path, body)
	return body
}

// fieldOf reads a field of an object by jsonpath; one that isn't there is "".
func fieldOf(t testing.TB, object, path string) string {
	t.Helper()
	var value any
	require.NoError(t, json.Unmarshal(get(t, object), &value))
	p := jsonpath.New(path).AllowMissingKeys(true)
	require.NoError(t, p.Parse(path))
	var out bytes.Buffer
	require.NoError(t, p.Execute(&out, value))
	return out.String()
}
