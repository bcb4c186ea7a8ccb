package kit

import (
	"fmt"
	"time"

	"github.com/weir-project/weir/internal/event"
	"github.com/weir-project/weir/internal/simulate"
)

// Payload is one record to write, made before anything is measured.
type Payload struct {
	Key, Value []byte
	Kind, ID   string // that it counts as, and that tells it from others; from the simulation, not parsed
}

// Payloads makes n events of the simulated Bluesky as its Jetstream would send them,
// those that a correct reader stores in the data topic.
func Payloads(seed int64, n int) ([]Payload, error) {
	world, err := simulate.NewWorld(seed).Bluesky(Collections...)
	if err != nil {
		return nil, fmt.Errorf("make events: %w", err)
	}
	start := time.Now().UnixMicro()
	out := make([]Payload, 0, n)
	for i := int64(0); len(out) < n; i++ {
		it := world.At(i)
		if it.Route != event.Data || it.Again {
			continue
		}
		out = append(out, Payload{Key: []byte(it.Key), Value: world.AppendFrame(nil, i, start+i, 0), Kind: it.Kind, ID: it.Identity})
	}
	return out, nil
}
