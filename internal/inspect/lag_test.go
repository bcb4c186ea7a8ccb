package inspect

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
)

// TestLagOfDeletedRecords: what retention deleted is not consumed any more, and a group beyond
// the end of the log is behind nothing.
func TestLagOfDeletedRecords(t *testing.T) {
	listed := func(offset int64) kadm.ListedOffsets {
		return kadm.ListedOffsets{"t": {0: {Topic: "t", Offset: offset}}}
	}
	for _, tt := range []struct{ committed, low, end, lag int64 }{
		{10, 0, 30, 20}, {10, 25, 30, 5}, {10, 30, 30, 0}, {30, 0, 30, 0}, {99, 0, 30, 0}, {0, 0, 0, 0},
	} {
		p := GroupPartition{Topic: "t", Committed: tt.committed, LagTime: Unknown}
		p.bounds(bounds{low: listed(tt.low), high: listed(tt.end)})
		if p.Lag != tt.lag || p.Low != tt.low || p.End != tt.end || p.Error != "" {
			t.Errorf("committed %d of %d to %d: %+v", tt.committed, tt.low, tt.end, p)
		}
	}
	p := GroupPartition{Topic: "t", Partition: 7}
	if p.bounds(bounds{low: listed(0), high: listed(9)}); p.Lag != Unknown || p.Error == "" {
		t.Errorf("a partition without offsets: %+v", p)
	}
}

// TestRememberedLag: how many messages lie between two offsets is remembered for exactly these.
func TestRememberedLag(t *testing.T) {
	var s seen
	at := func(committed, low, end int64) *GroupPartition {
		return &GroupPartition{Topic: "t", Committed: committed, Low: low, End: end, Lag: max(0, end-committed)}
	}
	s.add(at(10, 0, 12), 1) // the other offset is a marker
	if p := at(10, 0, 12); !s.fill(p) || p.Lag != 1 {
		t.Errorf("the same offsets: %+v", p)
	}
	for what, p := range map[string]*GroupPartition{"the log has grown": at(10, 0, 13), "the group has moved": at(11, 0, 12), "records were deleted": at(10, 11, 12)} {
		if want := p.Lag; s.fill(p) || p.Lag != want {
			t.Errorf("%s: %+v", what, p)
		}
	}
	other := at(10, 0, 12)
	if other.Partition = 1; s.fill(other) {
		t.Error("another partition has the same lag")
	}
}
