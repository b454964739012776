//go:build linux

package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// driver calls the driver as the kubelet does.
func driver(t *testing.T, folder, node string, args ...string) driverReply {
	t.Helper()
	var out bytes.Buffer
	require.NoError(t, runMovableDriver(folder, node, args, &out))
	var reply driverReply
	require.NoError(t, json.Unmarshal(out.Bytes(), &reply), out.String())
	return reply
}

func TestMovableVolumeHasOneHolder(t *testing.T) {
	folder := t.TempDir()
	const options = `{"volume":"pvc-1","kubernetes.io/fsType":"","kubernetes.io/pvOrVolumeName":"pvc-1"}`
	require.Equal(t, "Failure", driver(t, folder, "", "attach", options, "node-1").Status, "it has no folder yet")
	require.NoError(t, os.Mkdir(filepath.Join(folder, "pvc-1"), 0o750))

	first := driver(t, folder, "", "attach", options, "node-1")
	require.Equal(t, driverReply{Status: "Success", Device: filepath.Join(folder, "pvc-1")}, first)
	require.Equal(t, first, driver(t, folder, "", "attach", options, "node-1"), "attaching again is no error")
	second := driver(t, folder, "", "attach", options, "node-2")
	require.Equal(t, "Failure", second.Status)
	require.Contains(t, second.Message, "held by node-1")

	require.True(t, driver(t, folder, "", "isattached", options, "node-1").Attached)
	require.False(t, driver(t, folder, "", "isattached", options, "node-2").Attached)
	require.Equal(t, "Success", driver(t, folder, "node-1", "waitforattach", "dev", options).Status)
	require.Equal(t, "Failure", driver(t, folder, "node-2", "waitforattach", "dev", options).Status)
	require.Equal(t, "Failure", driver(t, folder, "node-2", "mountdevice", t.TempDir(), "dev", options).Status)

	require.Equal(t, "Success", driver(t, folder, "", "detach", "pvc-1", "node-2").Status, "it never held it")
	require.True(t, driver(t, folder, "", "isattached", options, "node-1").Attached)
	require.Equal(t, "Success", driver(t, folder, "", "detach", "pvc-1", "node-1").Status)
	require.Equal(t, "Success", driver(t, folder, "", "attach", options, "node-2").Status)
}

func TestOfManyThatAttachAtOnceOneWins(t *testing.T) {
	d := &movable{folder: t.TempDir()}
	require.NoError(t, os.Mkdir(d.device("pvc-1"), 0o750))
	var wg sync.WaitGroup
	errs := make([]error, 16)
	for i := range errs {
		wg.Go(func() { errs[i] = d.attach("pvc-1", nodeName(i+1)) })
	}
	wg.Wait()
	won := 0
	for _, err := range errs {
		if err == nil {
			won++
			continue
		}
		require.ErrorIs(t, err, errAttached)
	}
	require.Equal(t, 1, won)
}

func TestDriverRefusesNamesThatLeaveItsFolder(t *testing.T) {
	for _, options := range []string{`{"volume":"../x"}`, `{"volume":".x"}`, `{}`, `[`, ``} {
		require.Equal(t, "Failure", driver(t, t.TempDir(), "", "attach", options, "node-1").Status, options)
	}
	require.Equal(t, "Failure", driver(t, t.TempDir(), "", "detach", "a/b", "node-1").Status)
	require.Equal(t, "Not supported", driver(t, t.TempDir(), "", "expandvolume").Status)
	require.False(t, driver(t, t.TempDir(), "", "init").Capabilities["selinuxRelabel"])
}

func TestWhichClaimsGrow(t *testing.T) {
	claim := func(phase corev1.PersistentVolumeClaimPhase, by, asked, has string) *corev1.PersistentVolumeClaim {
		pvc := &corev1.PersistentVolumeClaim{}
		pvc.Annotations = map[string]string{"volume.kubernetes.io/storage-provisioner": by}
		pvc.Status.Phase = phase
		pvc.Spec.Resources.Requests = withStorage(nil, resource.MustParse(asked))
		pvc.Status.Capacity = withStorage(nil, resource.MustParse(has))
		return pvc
	}
	require.True(t, wantsMore(claim(corev1.ClaimBound, provisionerName, "2Gi", "1Gi")))
	require.False(t, wantsMore(claim(corev1.ClaimBound, provisionerName, "1Gi", "1Gi")))
	require.False(t, wantsMore(claim(corev1.ClaimPending, provisionerName, "2Gi", "1Gi")))
	require.False(t, wantsMore(claim(corev1.ClaimBound, "another", "2Gi", "1Gi")))
}
