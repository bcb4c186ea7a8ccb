package topicconf_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/weir-project/weir/internal/topicconf"
)

// TestTable: every setting has what the forms and the completion show, and every default is a
// value that Kafka accepts.
func TestTable(t *testing.T) {
	all := topicconf.All()
	if len(all) < 30 {
		t.Fatalf("%d settings", len(all))
	}
	common := 0
	for _, s := range all {
		if s.About == "" || s.Values == "" || strings.ContainsAny(s.About, "\n\t") {
			t.Errorf("%+v says too little", s)
		}
		if s.Common {
			common++
		}
		if why := topicconf.Bad(s.Name, &s.Default); why != "" {
			t.Errorf("the default: %s", why)
		}
	}
	if common < 5 || common > 15 {
		t.Errorf("%d settings are common", common)
	}
	if !slices.IsSortedFunc(all, func(a, b topicconf.TopicSetting) int { return strings.Compare(a.Name, b.Name) }) {
		t.Error("the settings are not in order")
	}
	s, ok := topicconf.Named("cleanup.policy")
	if !ok || !slices.Equal(s.Choices, []string{"compact", "delete"}) || !s.Several || s.Default != "delete" {
		t.Errorf("%+v", s)
	}
	if s, _ := topicconf.Named("retention.ms"); s.Values != "a whole number of milliseconds, at least -1" || len(s.Choices) != 0 || s.Default != "604800000" {
		t.Errorf("%+v", s)
	}
	if _, ok := topicconf.Named("retention.m"); ok {
		t.Error("retention.m is a setting")
	}
}

func TestBad(t *testing.T) {
	for _, good := range [][2]string{{"retention.ms", "-1"}, {"retention.ms", " 5 "}, {"cleanup.policy", "compact, delete"}, {"cleanup.policy", ""},
		{"preallocate", "TRUE"}, {"min.cleanable.dirty.ratio", "0.25"}, {"compression.type", "zstd"}} {
		if why := topicconf.Bad(good[0], &good[1]); why != "" {
			t.Errorf("%q: %s", good, why)
		}
	}
	for _, bad := range [][2]string{{"retention.ms", "-2"}, {"retention.ms", "1h"}, {"max.message.bytes", "3000000000"}, {"cleanup.policy", "compact,drop"},
		{"preallocate", "yes"}, {"min.cleanable.dirty.ratio", "NaN"}, {"compression.type", "brotli"}, {"retention.m", "1"}} {
		if why := topicconf.Bad(bad[0], &bad[1]); why == "" {
			t.Errorf("%q is accepted", bad)
		}
	}
	if why := topicconf.Bad("retention.ms", nil); why != "" {
		t.Errorf("the default: %s", why)
	}
}
