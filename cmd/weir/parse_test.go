package main

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"github.com/weir-project/weir/internal/inspect"
	"github.com/weir-project/weir/internal/node"
)

func TestQueryFlags(t *testing.T) {
	now := time.Now()
	for _, c := range []struct {
		f       messageFlags
		counted bool
		from    inspect.Target
		max     int64
	}{
		{messageFlags{newest: 10}, false, inspect.Newest(10), 0},
		{messageFlags{newest: 3, follow: true}, true, inspect.Newest(3), 0},
		{messageFlags{newest: 10, offset: "5"}, false, inspect.AtOffset(5), 0},
		{messageFlags{newest: 4, offset: "-5"}, true, inspect.AtOffset(-5), 4},
		{messageFlags{newest: 10, offset: "oldest"}, false, inspect.Oldest(), 0},
		{messageFlags{newest: 10, offset: "end", follow: true}, false, inspect.End(), 0},
	} {
		q, err := c.f.query("t", c.counted, now)
		if err != nil || q.MaxMessages != c.max || q.Follow != c.f.follow {
			t.Errorf("%+v: %+v, %v", c.f, q, err)
		}
		if !reflect.DeepEqual(q.From, c.from) {
			t.Errorf("%+v begins at %+v, want %+v", c.f, q.From, c.from)
		}
	}
}

// TestFind: what was killed leaves its runtime file behind, which must not be
// believed; given addresses win over everything.
func TestFind(t *testing.T) {
	dir := t.TempDir()
	find := func(env []string, given map[string]string) *node.Target {
		t.Helper()
		a := newApp(append(env, "HOME="+dir, "XDG_DATA_HOME="+dir), nil, newOutput(), newOutput())
		a.given = given
		a.kafka, a.redis = []string{"10.0.0.1:9092"}, "redis://10.0.0.2/1"
		got, err := a.find()
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	if got := find(nil, nil); got.Kafka[0] != "127.0.0.1:19092" || got.Redis != "redis://127.0.0.1:6379/1" || got.Running != nil {
		t.Errorf("nothing runs: %+v", got)
	}
	live := filepath.Join(dir, "weir", node.Live)
	runtime := func(pid int, socket string) {
		write(t, filepath.Join(live, "weir.json"), fmt.Sprintf(`{"pid":%d,"command":"up","mode":"live","kafka":["127.0.0.1:5"],"redis":"redis://127.0.0.1:6/1","control":%q}`, pid, socket))
	}
	runtime(1, filepath.Join(live, "control.sock"))
	if got := find(nil, nil); got.Running != nil {
		t.Errorf("a dead weir is believed: %+v", got)
	}
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	runtime(os.Getpid(), l.Addr().String())
	if got := find(nil, nil); got.Running == nil || got.Kafka[0] != "127.0.0.1:5" || got.Redis != "redis://127.0.0.1:6/1" || got.Mode != node.Live {
		t.Errorf("a running weir: %+v", got)
	}
	if got := find(nil, map[string]string{"kafka": "--kafka"}); got.Kafka[0] != "10.0.0.1:9092" || got.Redis != "redis://127.0.0.1:6/1" || got.Mode != "" {
		t.Errorf("--kafka: %+v", got)
	}
	if got := find(nil, map[string]string{"redis": "WEIR_REDIS"}); got.Kafka[0] != "127.0.0.1:5" || got.Redis != "redis://10.0.0.2/1" || got.RedisFrom != "WEIR_REDIS" {
		t.Errorf("WEIR_REDIS: %+v", got)
	}
}
