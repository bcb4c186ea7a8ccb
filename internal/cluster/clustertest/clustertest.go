// Package clustertest starts clusters for the tests of other packages.
package clustertest

import (
	"testing"

	"github.com/weir-project/weir/internal/cluster"
)

// Start opens a cluster in memory on free ports of 127.0.0.1, within a few
// milliseconds, and closes it with the test.
func Start(tb testing.TB) *cluster.Cluster {
	tb.Helper()
	return Open(tb, cluster.Config{})
}

// Open opens a cluster and closes it with the test; a failure of either fails it.
func Open(tb testing.TB, cfg cluster.Config) *cluster.Cluster {
	tb.Helper()
	c, err := cluster.Open(tb.Context(), cfg)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := c.Close(); err != nil {
			tb.Error(err)
		}
	})
	return c
}
