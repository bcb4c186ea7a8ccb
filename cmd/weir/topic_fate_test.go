package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-project/weir/internal/cli"
)

// TestTopicsThatChange does to the topics of a running weir what other tools can do to them:
// they grow, are emptied, and are deleted and created again, on the embedded brokers. Ingesters,
// counters and a page that follows the topic go on or say what happened.
func TestTopicsThatChange(t *testing.T) {
	t.Parallel()
	ports := freePorts(t, 4)
	env := testEnv(t, "WEIR_RATE=200", "WEIR_LISTEN=127.0.0.1:0", "WEIR_PORTS="+portList(ports))
	r := &unusualRig{t: t, env: env, port: ports[3], up: spawn(t, env, "up")}
	r.up.out.waitFor(t, "Ctrl-C stops", startPatience)
	r.pages = link.FindString(r.up.out.String())
	r.redis = redis.NewClient(&redis.Options{Addr: "127.0.0.1:" + strconv.Itoa(r.port), DB: 1, MaxRetries: -1})
	t.Cleanup(func() { _ = r.redis.Close() })
	cl, err := kgo.NewClient(kgo.SeedBrokers("127.0.0.1:" + strconv.Itoa(ports[0])))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	r.kafka, r.admin = cl, kadm.NewClient(cl)
	waitMore(t, env, 100)

	page, other := r.tail(unusualTopic), r.tail("wikipedia-edits")
	r.partitionsAdded()
	page.until("a message of a new partition", func(m tailedMessage) bool { return m.Partition == 7 })
	ends := r.emptied(unusualTopic)
	page.until("a message behind the deleted ones", func(m tailedMessage) bool { return m.Partition == 0 && m.Offset > ends[0] })
	r.trimmed()
	r.recreated()
	if why := other.failure(); !strings.Contains(why, "created again") && !strings.Contains(why, "no such topic") {
		t.Errorf("the page that follows a topic which is created again says %q", why)
	}
	if _, body := r.readyz(); t.Failed() {
		t.Logf("/readyz: %s\nup:\n%s", body, r.up.out)
	}
	r.up.signal(t, syscall.SIGTERM)
	if code := r.up.exit(t); code != cli.ExitOK {
		t.Errorf("exit code %d:\n%s", code, r.up.out)
	}
}

// emptied: all records of a topic are deleted. What was counted stays counted, and the rest is
// counted as it comes.
func (r *unusualRig) emptied(topic string) (ends map[int32]int64) {
	r.t.Helper()
	before := sum(counted(r.t, r.env)["bluesky"])
	ends = map[int32]int64{}
	listed, err := r.admin.ListEndOffsets(r.t.Context(), topic)
	if err = errors.Join(err, listed.Error()); err != nil {
		r.t.Fatal(err)
	}
	listed.Each(func(o kadm.ListedOffset) { ends[o.Partition] = o.Offset })
	within(r.t, "the records are counted", func() bool {
		for p, end := range ends {
			if next, _ := strconv.ParseInt(r.tally(unusualGroup, topic, int(p))["next"], 10, 64); next < end {
				return false
			}
		}
		return true
	})
	rs, err := r.admin.DeleteRecords(r.t.Context(), listed.Offsets())
	if err = errors.Join(err, rs.Error()); err != nil {
		r.t.Fatal(err)
	}
	starts, err := r.admin.ListStartOffsets(r.t.Context(), topic)
	if err != nil {
		r.t.Fatal(err)
	}
	starts.Each(func(o kadm.ListedOffset) {
		if o.Offset < ends[o.Partition]-1 { // the embedded brokers keep the last record
			r.t.Errorf("partition %d begins at %d, want about %d", o.Partition, o.Offset, ends[o.Partition])
		}
	})
	r.goesOn("bluesky")
	if now := sum(counted(r.t, r.env)["bluesky"]); now <= before {
		r.t.Errorf("%d events are counted, after %d", now, before)
	}
	verified(r.t, r.env)
	return ends
}

type tailedMessage struct {
	Partition int32
	Offset    int64
}

// tailing is a page that follows a topic.
type tailing struct {
	t        *testing.T
	messages chan tailedMessage
	failed   chan string
}

func (r *unusualRig) tail(topic string) *tailing {
	r.t.Helper()
	resp, err := http.Get(r.pages + "/api/v1/topics/" + topic + "/tail")
	if err != nil || resp.StatusCode != http.StatusOK {
		r.t.Fatalf("follow %s: %v %v", topic, resp, err)
	}
	f := &tailing{t: r.t, messages: make(chan tailedMessage, 1<<16), failed: make(chan string, 1)}
	read := make(chan struct{})
	go func() {
		defer close(read)
		event := ""
		lines := bufio.NewScanner(resp.Body)
		lines.Buffer(nil, 16<<20)
		for lines.Scan() {
			name, data, _ := strings.Cut(lines.Text(), ": ")
			switch {
			case name == "event":
				event = data
			case name == "data" && event == "error":
				f.failed <- data
			case name == "data" && event == "message":
				var batch struct{ Messages []tailedMessage }
				_ = json.Unmarshal([]byte(data), &batch)
				for _, m := range batch.Messages {
					f.messages <- m
				}
			}
		}
	}()
	r.t.Cleanup(func() {
		_ = resp.Body.Close()
		<-read
	})
	return f
}

// until reads on to a message.
func (f *tailing) until(what string, ok func(tailedMessage) bool) {
	f.t.Helper()
	late := time.After(startPatience)
	for {
		select {
		case m := <-f.messages:
			if ok(m) {
				return
			}
		case why := <-f.failed:
			f.t.Fatalf("the page stops before %s: %s", what, why)
		case <-late:
			f.t.Fatalf("the page does not show %s", what)
		}
	}
}

// failure waits until following has ended, and returns why.
func (f *tailing) failure() string {
	f.t.Helper()
	select {
	case why := <-f.failed:
		return why
	case <-time.After(startPatience):
		f.t.Fatal("the page goes on")
		return ""
	}
}
