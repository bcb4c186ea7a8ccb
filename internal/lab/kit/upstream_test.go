package kit

import (
	"context"
	"testing"
	"time"

	"github.com/weir-project/weir/internal/lab"
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
