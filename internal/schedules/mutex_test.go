//go:build !synctests

package schedules

// durable says whether the Kafka client waits for its mutexes in a way that lets simulated time go on.
// By default it does not, and a commit that waits for a rebalance would stop the time for good. Its
// build tag synctests replaces them.
const durable = false
