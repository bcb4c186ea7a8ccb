//go:build !unix

package ingest_test

import "time"

// cpu is 0 where the system has no getrusage: the benchmark then shows wall time only.
func cpu() time.Duration { return 0 }
