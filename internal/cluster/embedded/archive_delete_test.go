package embedded

import (
	"sync"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/weir-project/weir/internal/crash"
)

// A client deletes records, or the topic, while a pass has read them and not archived them yet.
// They do not come back, and the next pass archives what is left.
func TestDeletedWhileItIsArchived(t *testing.T) {
	for _, tc := range []struct {
		name   string
		remove func(t *testing.T, addrs []string) // all that is below offset 100
		again  bool                               // the topic is a new one
	}{
		{"records", func(t *testing.T, addrs []string) {
			answer, err := kadm.NewClient(client(t, addrs)).DeleteRecords(testCtx(t), kadm.Offsets{"t": {0: {Topic: "t", At: 100}}})
			if low, _ := answer.Lookup("t", 0); err != nil || low.Err != nil || low.LowWatermark != 100 {
				t.Errorf("deleted to %+v (%v), want 100", low, err)
			}
		}, false},
		{"the topic", func(t *testing.T, addrs []string) {
			if _, err := kadm.NewClient(client(t, addrs)).DeleteTopics(testCtx(t), "t"); err != nil {
				t.Error(err)
			}
			createTopic(t, addrs, "t", 1, nil)
		}, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := tuned(t, small(t.TempDir()))
			createTopic(t, c.Addrs(), "t", 1, nil)
			truth := written(t, c.Addrs(), 200, 1, hourAgo())
			var once sync.Once
			fired := false
			before := crash.SetHook(func(point string) {
				if point == "archive: merged" {
					once.Do(func() {
						tc.remove(t, c.Addrs())
						fired = true
					})
				}
			})
			defer func() { crash.SetHook(before) }()
			enforce(t, c)
			if !fired {
				t.Fatal("the pass archived nothing")
			}
			want := int64(100)
			if tc.again {
				if !c.archive.empty() {
					t.Error("records of the deleted topic are archived")
				}
				want, truth = 0, written(t, c.Addrs(), 200, 2, hourAgo())
			}
			if start, _ := window(t, c, "t", 0); start != want {
				t.Errorf("the log begins at %d, want %d", start, want)
			}
			for truth[0].offset < want {
				truth = truth[1:]
			}
			holds(t, c.Addrs(), truth, 1)
			enforce(t, c)
			archivedTo(t, c)
			holds(t, c.Addrs(), truth, 2)
		})
	}
}

// A pass begins when a client's request to delete records has been noted, and reads them before the
// brokers delete them. They do not come back.
func TestAPassBeginsWhileRecordsAreDeleted(t *testing.T) {
	const cut = 100
	c := tuned(t, small(t.TempDir()))
	createTopic(t, c.Addrs(), "t", 1, nil)
	truth := written(t, c.Addrs(), 200, 1, hourAgo())
	noted, read, answered := make(chan struct{}), make(chan struct{}), make(chan struct{})
	err := c.module(func(k *kfake.Cluster) error {
		k.ControlKey(int16(kmsg.DeleteRecords), func(kmsg.Request) (kmsg.Response, error, bool) {
			close(noted)
			k.SleepControl(func() { <-read })
			return nil, nil, false
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(answered)
		answer, err := kadm.NewClient(client(t, c.Addrs())).DeleteRecords(testCtx(t), kadm.Offsets{"t": {0: {Topic: "t", At: cut}}})
		if low, _ := answer.Lookup("t", 0); err != nil || low.Err != nil || low.LowWatermark != cut {
			t.Errorf("deleted to %+v (%v), want %d", low, err, cut)
		}
	}()
	<-noted
	var once sync.Once
	before := crash.SetHook(func(point string) {
		if point == "archive: merged" {
			once.Do(func() {
				close(read)
				<-answered
			})
		}
	})
	defer func() { crash.SetHook(before) }()
	enforce(t, c)
	<-answered
	for truth[0].offset < cut {
		truth = truth[1:]
	}
	for range 2 {
		if start, _ := window(t, c, "t", 0); start != cut {
			t.Errorf("the log begins at %d, want %d", start, cut)
		}
		holds(t, c.Addrs(), truth, 1)
		enforce(t, c)
	}
}
