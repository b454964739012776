//go:build e2e

package e2e_test

import (
	"bufio"
	"encoding/json"
	"os"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// auditEvent is a line of the API server's audit log.
type auditEvent struct {
	Verb           string
	Stage          string
	User           struct{ Username string }
	ObjectRef      *struct{ Resource, Subresource, APIGroup string }
	ResponseStatus *struct{ Code int }
}

// rights compares what the operator asked for, by the audit log, with what it is granted: nothing it asked may have been
// refused, and what it never used in this whole story is shown.
func rights(t *testing.T) {
	f, err := os.Open(localkube(t, "audit"))
	require.NoError(t, err)
	defer f.Close()
	used := map[string]bool{}
	var refused []string
	sc := bufio.NewScanner(f)
	sc.Buffer(nil, 4<<20)
	for sc.Scan() {
		var e auditEvent
		if json.Unmarshal(sc.Bytes(), &e) != nil || e.User.Username != "system:serviceaccount:"+operatorNamespace+":kraft-operator" || e.ObjectRef == nil || e.Stage != "ResponseComplete" {
			continue
		}
		r := e.ObjectRef.Resource
		if e.ObjectRef.Subresource != "" {
			r += "/" + e.ObjectRef.Subresource
		}
		what := e.Verb + " " + e.ObjectRef.APIGroup + "/" + r
		used[what] = true
		if e.ResponseStatus != nil && e.ResponseStatus.Code == 403 && !slices.Contains(refused, what) {
			refused = append(refused, what)
		}
	}
	require.NoError(t, sc.Err())
	require.NotEmpty(t, used, "the audit log names the operator")
	require.Empty(t, refused, "the operator asked for what it may not do")
	for what := range used {
		for _, forbidden := range []string{"secrets", "nodes", "persistentvolumes", "storageclasses"} {
			require.NotContains(t, what, "/"+forbidden, "the operator has no business with %s", forbidden)
		}
	}
	t.Logf("%d kinds of requests, none refused", len(used))
}
