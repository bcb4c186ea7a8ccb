package topicconf_test

import (
	"strings"
	"testing"

	"github.com/weir-project/weir/internal/topicconf"
)

// Bounds have two ends for some numbers, and their default may lie outside of them.
func TestBoundsAndReplicas(t *testing.T) {
	for name, values := range map[string]struct{ good, bad []string }{
		"compression.gzip.level":                {[]string{"-1", "1", "9"}, []string{"0", "-2", "10"}},
		"compression.lz4.level":                 {[]string{"1", "17"}, []string{"0", "18"}},
		"compression.zstd.level":                {[]string{"-131072", "0", "22"}, []string{"-131073", "23"}},
		"leader.replication.throttled.replicas": {[]string{"", "*", "0:1", "0:1,10:2"}, []string{"0", "0:", "a:b", "*,0:1", "0:1,"}},
	} {
		for _, v := range values.good {
			if why := topicconf.Bad(name, &v); why != "" {
				t.Errorf("%s=%s: %s", name, v, why)
			}
		}
		for _, v := range values.bad {
			if why := topicconf.Bad(name, &v); why == "" {
				t.Errorf("%s=%s is accepted", name, v)
			}
		}
	}
	if s, _ := topicconf.Named("compression.lz4.level"); s.Values != "a whole number from 1 to 17" {
		t.Errorf("%q", s.Values)
	}
}

func TestContradiction(t *testing.T) {
	for _, c := range []struct{ min, max, want string }{
		{"", "", ""}, {"5", "", ""}, {"5", "5", ""}, {"", "1", ""},
		{"6", "5", "conflict topic config setting min.compaction.lag.ms (6) > max.compaction.lag.ms (5)"},
	} {
		values := map[string]string{}
		if c.min != "" {
			values["min.compaction.lag.ms"] = c.min
		}
		if c.max != "" {
			values["max.compaction.lag.ms"] = c.max
		}
		if got := topicconf.Contradiction(values); got != c.want {
			t.Errorf("%v: %q, want %q", values, got, c.want)
		}
	}
	if got := topicconf.Contradiction(map[string]string{"remote.storage.enable": "true"}); !strings.Contains(got, "Tiered Storage") {
		t.Errorf("remote storage: %q", got)
	}
}
