package kafka_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/weir-project/weir/internal/kafka"
)

func TestTimestampError(t *testing.T) {
	now := time.Date(2026, 11, 27, 7, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		at   time.Time
		want string
	}{
		{now.Add(9 * time.Minute), "one of 2026-11-27T07:09:00Z, 9m0s ahead of this machine's clock"},
		{now.Add(-2 * time.Second), "one of 2026-11-27T06:59:58Z, 2s behind this machine's clock"},
	} {
		err := error(&kafka.TimestampError{Topic: "bluesky-events", Time: c.at, Now: now, Err: kerr.InvalidTimestamp})
		for _, want := range []string{c.want, "bluesky-events", "message.timestamp.after.max.ms", "set the clocks"} {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%q does not say %q", err, want)
			}
		}
		if !errors.Is(err, kerr.InvalidTimestamp) {
			t.Error("the broker's answer is not in it")
		}
	}
}
