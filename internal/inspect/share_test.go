package inspect

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
)

// TestShareGroupsNameNoMember: what marks the partitions of a share group while they are
// loaded is not shown as a member, also where nothing else of them can be found out.
func TestShareGroupsNameNoMember(t *testing.T) {
	var d GroupDetail
	d.shareOffsets(kadm.DescribedShareGroupOffsets{Offsets: kadm.ShareOffsets{
		"": {0: {StartOffset: -1, Lag: -1, Err: kerr.UnknownTopicID}},
	}})
	if len(d.Partitions) != 1 || d.Partitions[0].Member != "" || d.Partitions[0].Error == "" {
		t.Errorf("partitions %+v", d.Partitions)
	}
}

// TestLagOfNamedMember: a member's ID is any text, and says nothing about the type of
// its group: the lag of a consumer group is counted by its offsets.
func TestLagOfNamedMember(t *testing.T) {
	p := GroupPartition{Topic: "t", Member: "\x00share", Committed: 3}
	at := func(n int64) kadm.ListedOffsets { return kadm.ListedOffsets{"t": {0: {Topic: "t", Offset: n}}} }
	p.bounds(bounds{low: at(0), high: at(10)})
	if p.Lag != 7 {
		t.Errorf("lag %d, want 7", p.Lag)
	}
}
