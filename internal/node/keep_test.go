package node

import (
	"testing"
	"time"

	"github.com/weir-project/weir/internal/cluster"
)

func TestBytes(t *testing.T) {
	for s, want := range map[string]int64{"0": 0, "7": 7, "4GiB": 4 << 30, "500 MB": 500e6, "64MiB": 64 << 20, "3kB": 3000, "2KiB": 2048, "9B": 9, "1GB": 1e9} {
		var b Bytes
		if err := b.Set(s); err != nil || int64(b) != want {
			t.Errorf("%s is %d (%v), want %d", s, int64(b), err, want)
		}
		var again Bytes
		if err := again.Set(b.String()); b != 0 && (err != nil || again != b) {
			t.Errorf("%s is written as %q, which is %d (%v)", s, b, int64(again), err)
		}
	}
	for _, s := range []string{"", "x", "-1", "1.5GiB", "4TiB", "GiB", "9000000000GiB", "1e3"} {
		var b Bytes
		if err := b.Set(s); err == nil {
			t.Errorf("%q is taken for %d", s, int64(b))
		}
	}
}

func TestKeepCheck(t *testing.T) {
	for _, tc := range []struct {
		name                          string
		keep                          Keep
		engine, kafka, timeOf, sizeOf string
		ok                            bool
	}{
		{"nothing", Keep{}, cluster.Embedded, "", "", "", true},
		{"both", Keep{Time: 24 * time.Hour, Size: 1 << 30}, cluster.Embedded, "", "--retention", "--log-size", true},
		{"apache, time", Keep{Time: time.Hour}, cluster.Apache, "", "--retention", "", true},
		{"apache, size", Keep{Size: 1 << 30}, cluster.Apache, "", "", "--log-size", false},
		{"existing", Keep{Time: time.Hour}, cluster.Embedded, "--kafka", "--retention", "", false},
		{"short", Keep{Time: time.Minute}, cluster.Embedded, "", "--retention", "", false},
		{"none", Keep{}, cluster.Embedded, "", "--retention", "", false},
		{"small", Keep{Size: 1000}, cluster.Embedded, "", "", "--log-size", false},
	} {
		if err := tc.keep.Check(tc.engine, tc.kafka, tc.timeOf, tc.sizeOf); (err == nil) != tc.ok {
			t.Errorf("%s: %v", tc.name, err)
		}
	}
}
