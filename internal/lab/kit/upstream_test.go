package kit

import (
	"context"
	"testing"
	"time"

	"github.com/weir-project/weir/internal/bluesky"
	"github.com/weir-project/weir/internal/ingest"
	"github.com/weir-project/weir/internal/lab"
	"github.com/weir-project/weir/internal/lab/overflow"
)

// TestALiveStreamThatIsSilent says why nothing comes.
func TestALiveStreamThatIsSilent(t *testing.T) {
	u := &Upstream{URLs: []string{"ws://127.0.0.1:1/subscribe"}, Collections: Collections}
	ctx, stop := context.WithTimeout(t.Context(), time.Second)
	defer stop()
	if _, err := u.Record(ctx, &lab.Bench{Config: lab.Config{Progress: func(string) {}}}, 10, time.Second); err == nil {
		t.Error("there are records of nobody")
	}
}

// TestEverySourceOfALabCanRepeat: an ingester asks its source how many events the server may send again,
// and a source around another one must pass that on.
func TestEverySourceOfALabCanRepeat(t *testing.T) {
	src, err := (&Upstream{}).Source(bluesky.Config{})
	if err != nil {
		t.Fatal(err)
	}
	noted := newNoted(src, time.Second)
	defer noted.end()
	for _, s := range []ingest.Source{noted, &tapped{src, nil}, overflow.NewSource(noted, overflow.Config{})} {
		r, ok := s.(ingest.Repeater)
		if !ok || r.Repeats() != src.Repeats() || src.Repeats() == 0 {
			t.Errorf("%T does not say that %d events can come again", s, src.Repeats())
		}
	}
}
