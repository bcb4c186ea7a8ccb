// Package kit is what labs share: a whole pipeline with brokers, Redis and upstream of its
// own, clients that write and read, faults, and what is read back. Labs that are not yet
// packages of their own stand here, too.
package kit

import "github.com/weir-project/weir/internal/lab"

// All returns the experiments with their default settings.
func All() []lab.Experiment {
	b, a, w, g := DefaultBackpressure(), DefaultBatching(), DefaultParallel(), DefaultGroups()
	p, r, f := DefaultPersistence(), DefaultReplay(), DefaultFailover()
	return []lab.Experiment{&b, &a, &w, &g, &p, &r, &f}
}

// Short returns the experiments of All in their short form.
func Short() []lab.Experiment {
	b, a, w, g := ShortBackpressure(), ShortBatching(), ShortParallel(), ShortGroups()
	p, r, f := ShortPersistence(), ShortReplay(), ShortFailover()
	return []lab.Experiment{&b, &a, &w, &g, &p, &r, &f}
}
