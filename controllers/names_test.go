package controllers

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestNoTwoNodesShareAClaim, whatever their clusters are called: also where one name begins or ends like another's nodes.
func TestNoTwoNodesShareAClaim(t *testing.T) {
	of := map[string]string{}
	for _, cluster := range []string{"a", "a-controller", "a-broker", "a-controller-0", "a-broker-1000", "controller", "broker", "data-a", "a-0", "a-controller-0-broker"} {
		for _, controller := range []bool{true, false} {
			for _, id := range []int32{0, 1, 10, 1000} {
				claim, node := claimName(nodeName(cluster, controller, id)), fmt.Sprint(cluster, controller, id)
				require.NotContains(t, of, claim, "%s and %s", node, of[claim])
				of[claim] = node
			}
		}
	}
}
