//go:build e2e

package e2e_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// loseQuorum destroys two of three voters' disks, and follows the commands that status gives, to the letter.
func loseQuorum(t *testing.T) {
	b := startLoad(t, "quorum-lost")
	b.flow()
	nodes, leads := len(pods(t)), leader(t)
	before := voting(t)
	require.Len(t, before, 3)
	for _, v := range before {
		if id, _, _ := strings.Cut(v, "@"); id != leads {
			k(t, "delete", "pvc", "data-"+cluster+"-controller-"+id, "--wait=false")
			k(t, "delete", "pod", cluster+"-controller-"+id+"-0", "--wait=false")
		}
	}
	healthy := func(field string) string {
		return k(t, "get", "kraftcluster", cluster, "-o", `jsonpath={.status.conditions[?(@.type=="QuorumHealthy")].`+field+`}`)
	}
	var call []string
	eventually(t, "the quorum is known to be lost, and who survives", 2*time.Minute, func() bool {
		message := healthy("message")
		call = regexp.MustCompile("in the same shell `(.*)`").FindStringSubmatch(message)
		return healthy("reason") == "QuorumLost" && strings.Contains(message, "survives: voter "+leads) && len(call) == 2
	})
	t.Logf("%s", healthy("message"))

	began := time.Now()
	next := func() string { return field(t, "{.status.nextCommand}") }
	shell(t, next())
	eventually(t, "Hibernated", 3*time.Minute, func() bool {
		return field(t, `{.status.conditions[?(@.type=="Ready")].reason}`) == "Hibernated" && strings.Contains(next(), "quorum recover")
	})
	out, err := run(t, "", "sh", "-c", withKubectl(t, next()))
	require.Error(t, err, "without consent it only looks")
	require.Contains(t, out, "position: "+leads+":")
	require.Contains(t, out, "nothing was changed")
	out = shell(t, next()+"; "+call[1])
	t.Logf("%s", out)
	require.Contains(t, out, "Node "+leads+" is the only voter now")
	patch(t, `{"spec":{"hibernated":false}}`)
	eventually(t, "three voters again", 3*time.Minute, func() bool { return ready(t, cluster) && len(voting(t)) == 3 })
	bench(t, "quorum_lost_recovered_s", time.Since(began).Seconds(), 120, "")
	backAgain(t, nodes)
	b.flow()
	b.finish("a lost quorum recovered")
	eventually(t, "the quorum is healthy", 30*time.Second, func() bool { return condition(t, cluster, "QuorumHealthy") == "True" })
}

// shell runs a command as status gives it.
func shell(t testing.TB, command string) string {
	t.Helper()
	out, err := run(t, "", "sh", "-c", withKubectl(t, command))
	require.NoError(t, err, "%s", command)
	return out
}

// withKubectl is a command in a shell whose kubectl is the tests'.
func withKubectl(t testing.TB, command string) string {
	t.Helper()
	return "PATH=" + filepath.Dir(env(t, "KUBECTL")) + ":" + os.Getenv("PATH") + "; " + command
}
