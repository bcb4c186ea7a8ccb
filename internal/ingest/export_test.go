package ingest

// Forget makes the duplicate filter hold little beyond its window: at most limit
// identities, and of sources whose batches have at most batch events.
func (i *Ingester) Forget(limit, batch int) {
	i.memory = memory{limit: limit, tail: 1, spare: 8, batch: batch}
}
