package lab

import (
	"context"
	"path/filepath"

	"github.com/weir-project/weir/internal/cluster"
)

// stopStrays ends the processes of Apache Kafka that a killed experiment left in its
// directory.
func stopStrays(ctx context.Context, work string) error {
	for _, below := range []string{"", "*", "*/*"} { // a stack has a directory of its own, a weir one for each mode
		dirs, err := filepath.Glob(filepath.Join(work, below))
		if err != nil {
			return err
		}
		for _, dir := range dirs {
			if err := cluster.StopOrphans(ctx, dir, nil); err != nil {
				return err
			}
		}
	}
	return nil
}
