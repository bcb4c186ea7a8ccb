package kafka

import (
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
)

// That it is found on a real broker is TestApacheUnusual's to show.
func TestUnended(t *testing.T) {
	now := time.UnixMilli(1_800_000_090_400)
	d := kadm.DescribedTransaction{Coordinator: 2, TxnID: "weir-ingest-bluesky", State: "PrepareAbort", StartTimestamp: 1_800_000_000_000, Topics: kadm.TopicsSet{}}
	d.Topics.Add("bluesky-events", 3)
	const want = "broker 2 does not end the last transaction of weir-ingest-bluesky: it is in state PrepareAbort, begun 1m30s ago, and its markers are missing at bluesky-events [3]; " +
		"see what that broker prints, mend it (a message.timestamp.before.max.ms of a topic that refuses the markers, too?), " +
		"and start that broker again (weir brokers kill 2 and restart 2, where weir runs them): it goes on by itself"
	if got := unended(d, now).Error(); got != want {
		t.Errorf("said is %q\nwant    %q", got, want)
	}
}
