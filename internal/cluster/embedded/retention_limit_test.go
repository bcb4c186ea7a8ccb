package embedded

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Neither age nor any size deletes what an open transaction may still commit, nor what follows it.
func TestRetentionSparesAnOpenTransaction(t *testing.T) {
	const before = 50
	for name, tc := range map[string]struct {
		cfg      config
		settings map[string]*string
	}{
		"age":     {config{}, map[string]*string{"retention.ms": ptr("60000")}},
		"bytes":   {config{}, map[string]*string{"retention.bytes": ptr("20000")}},
		"log":     {config{Config: Config{LogSize: 20_000}}, nil},
		"batches": {config{maxBatches: 20}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := tc.cfg
			cfg.Dir, cfg.HotBatches, cfg.segmentBytes = t.TempDir(), 1<<20, 8<<10 // nothing is archived
			c := tuned(t, cfg)
			createTopic(t, c.Addrs(), "t", 1, tc.settings)
			r := rand.New(rand.NewPCG(5, 6))
			old := func(cl *kgo.Client, n int) {
				t.Helper()
				for range n {
					rec := &kgo.Record{Topic: "t", Value: noise(r, 1<<10), Timestamp: hourAgo()}
					if err := cl.ProduceSync(testCtx(t), rec).FirstErr(); err != nil {
						t.Fatal(err)
					}
				}
			}
			plain := client(t, c.Addrs(), manual(), kgo.DisableIdempotentWrite(), kgo.MaxProduceRequestsInflightPerBroker(1))
			tx := client(t, c.Addrs(), manual(), kgo.TransactionalID("tx"))
			old(plain, before)
			if err := tx.BeginTransaction(); err != nil {
				t.Fatal(err)
			}
			old(tx, 1)
			old(plain, before)
			enforce(t, c)
			if s, _ := window(t, c, "t", 0); s == 0 || s > before {
				t.Errorf("the log begins at %d, and the transaction at %d", s, before)
			}
			if err := tx.EndTransaction(testCtx(t), kgo.TryCommit); err != nil {
				t.Fatal(err)
			}
			enforce(t, c)
			if s, _ := window(t, c, "t", 0); s <= before {
				t.Errorf("the log begins at %d after the end of the transaction at %d", s, before)
			}
		})
	}
}

// Where the whole log is too large the oldest files go, whatever topic they belong to.
func TestTheOldestFilesGoFirst(t *testing.T) {
	c := tuned(t, config{Config: Config{Dir: t.TempDir(), LogSize: 300_000}, segmentBytes: 16 << 10})
	cl := client(t, c.Addrs(), manual())
	r := rand.New(rand.NewPCG(7, 8))
	for _, topic := range []string{"a-new", "old", "z-new"} { // in no order of their names
		createTopic(t, c.Addrs(), topic, 1, nil)
		for range 60 {
			if err := cl.ProduceSync(testCtx(t), &kgo.Record{Topic: topic, Value: noise(r, 2<<10)}).FirstErr(); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, s := range logOf(t, c.dir.path)[1].segments {
		path := filepath.Join(c.dir.path, segmentPath("old", 0, s.base))
		if err := os.Chtimes(path, time.Time{}, hourAgo()); err != nil {
			t.Fatal(err)
		}
	}
	enforce(t, c)
	for topic, old := range map[string]bool{"a-new": false, "old": true, "z-new": false} {
		if s, _ := window(t, c, topic, 0); s > 0 != old {
			t.Errorf("%s begins at %d", topic, s)
		}
	}
}
