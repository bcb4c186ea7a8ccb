package interop

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net/http"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// How much the scripts write before weir does.
const (
	blueskyByScript   = 400
	wikipediaByScript = 60
)

// runScripts lets four programs of the shape that such pipelines begin with work
// beside weir's ingesters and counters, on the same topics: first the scripts
// write, then weir does, and both count everything.
func (c clients) runScripts() {
	t := c.t
	address := "127.0.0.1:" + strconv.Itoa(freePort(t))
	simulator := start(t, "weir simulate", nil, c.bin, "simulate", "--listen", address, "--rate", "500", "--data", t.TempDir())
	defer simulator.stop(t, syscall.SIGTERM)
	waitFor(t, "the simulated streams", func() bool { return dials(address) })
	blueskyURL, wikipediaURL := "ws://"+address+"/subscribe", "http://"+address+"/v2/stream/recentchange"
	began := time.Now()

	env := []string{"KAFKA_BROKER=" + c.brokers, "REDIS_URL=" + strings.TrimSuffix(c.redis, "/1") + "/0",
		"BLUESKY_URL=" + blueskyURL, "WIKIPEDIA_URL=" + wikipediaURL}
	script := func(name string, more ...string) *process {
		return start(t, name, append(more, env...), c.python, "-W", "ignore", filepath.Join("clients", name+".py"))
	}
	counters := []*process{
		start(t, "weir consume bluesky", nil, c.bin, "consume", "bluesky", "--data", c.data),
		start(t, "weir consume wikipedia", nil, c.bin, "consume", "wikipedia", "--data", c.data),
	}
	blueskyConsumer, wikipediaConsumer := script("bluesky_consumer"), script("wikipedia_consumer")
	byScripts := func() map[string]map[string]int64 {
		return map[string]map[string]int64{"bluesky": c.redisCounts("0", "bluesky:counts", ""), "wikipedia": c.redisCounts("0", "wikipedia:counts", "")}
	}

	for _, p := range []*process{
		script("bluesky_producer", "LIMIT="+strconv.Itoa(blueskyByScript)),
		script("wikipedia_producer", "LIMIT="+strconv.Itoa(wikipediaByScript)),
	} {
		p.wait(t)
	}
	written := map[string]int64{"bluesky": blueskyByScript, "wikipedia": wikipediaByScript}
	c.countedBy("the scripts", byScripts, written)
	c.countedBy("weir", c.streams, written)

	producers := []*process{
		start(t, "weir produce bluesky", nil, c.bin, "produce", "bluesky", "--data", c.data, "--bluesky-url", blueskyURL),
		start(t, "weir produce wikipedia", nil, c.bin, "produce", "wikipedia", "--data", c.data, "--wikipedia-url", wikipediaURL),
	}
	waitFor(t, "weir to ingest", func() bool {
		counts := c.streams()
		return sum(counts["bluesky"]) >= 2*blueskyByScript && sum(counts["wikipedia"]) >= 2*wikipediaByScript
	})
	for _, p := range producers {
		p.stop(t, syscall.SIGINT)
	}

	// What is in the topics: the counts of everybody, and two stretches of the streams.
	stored := map[string]map[string]int64{"bluesky": {}, "wikipedia": {}}
	blueskyEvents := c.readPython("confluent", "bluesky-events")
	for _, r := range blueskyEvents {
		_, operation, err := identity([]byte(*r.value))
		if err != nil {
			t.Fatal(err)
		}
		stored["bluesky"][operation]++
	}
	wikipediaEvents := c.readPython("kafka-python", "wikipedia-edits")
	for _, r := range wikipediaEvents {
		var change struct{ Type string }
		if err := json.Unmarshal([]byte(*r.value), &change); err != nil {
			t.Fatal(err)
		}
		stored["wikipedia"][change.Type]++
	}
	written = map[string]int64{"bluesky": int64(len(blueskyEvents)), "wikipedia": int64(len(wikipediaEvents))}
	c.countedBy("the scripts", byScripts, written)
	c.countedBy("weir", c.streams, written)
	inRedis := map[string]int64{}
	for p := range 6 {
		for kind, n := range c.redisCounts("1", "weir:tally:weir-bluesky-counter:bluesky-events:"+strconv.Itoa(p), "k:") {
			inRedis[kind] += n
		}
	}
	if !maps.Equal(inRedis, stored["bluesky"]) {
		t.Errorf("redis-cli reads the counts %v, stored are %v", inRedis, stored["bluesky"])
	}
	byGroup := c.redisPython()
	for who, counts := range map[string]map[string]map[string]int64{
		"the scripts": byScripts(), "weir": c.streams(),
		"redis-py": {"bluesky": byGroup["weir-bluesky-counter"], "wikipedia": byGroup["weir-wikipedia-counter"]},
	} {
		for stream := range stored {
			if !maps.Equal(counts[stream], stored[stream]) {
				t.Errorf("%s count %v of %s, stored are %v", who, counts[stream], stream, stored[stream])
			}
		}
	}
	c.foreign(map[string]int64{"bluesky": blueskyByScript, "wikipedia": wikipediaByScript})
	stretches(t, "bluesky", blueskyEvents, replayFrames(t, blueskyURL, began, lastOf(blueskyEvents)), blueskyByScript)
	stretches(t, "wikipedia", wikipediaEvents, replayChanges(t, wikipediaURL, began, lastOf(wikipediaEvents)), wikipediaByScript)

	for _, p := range append(counters, blueskyConsumer, wikipediaConsumer) {
		p.stop(t, syscall.SIGTERM)
	}
	t.Logf("stored and counted by everybody: %v", stored)
}

// countWords lets quixstreams count words exactly once, in transactions and with its
// states in a changelog topic: it is killed, loses its disk, and counts on.
func (c clients) countWords() {
	t := c.t
	for _, topic := range []string{"words", "word-counts"} {
		c.records("", "confluent", "create", topic, "--partitions", "3")
	}
	script := func() *process {
		return start(t, "word_counts", []string{"KAFKA_BROKER=" + c.brokers, "STATE_DIR=" + t.TempDir()},
			c.python, "-W", "ignore", filepath.Join("clients", "word_counts.py"))
	}
	const rounds, words = 40, 5
	write := func() {
		var batch []kafkaRecord
		for range rounds {
			for i := range words {
				word := "word " + strconv.Itoa(i)
				batch = append(batch, kafkaRecord{partition: i % 3, key: &word, value: &word})
			}
		}
		c.write("kafka-python", "words", batch)
	}
	// The counts of each word as they were written, and read by somebody else: 1, 2, 3, ...
	read := func() map[string][]int {
		all := map[string][]int{}
		for _, r := range c.readPython("kafka-python", "word-counts") {
			var n struct {
				Word  string
				Count int
			}
			if err := json.Unmarshal([]byte(*r.value), &n); err != nil {
				t.Fatal(err)
			}
			all[n.Word] = append(all[n.Word], n.Count)
		}
		return all
	}
	counted := func(n int) func() bool {
		return func() bool {
			sum := 0
			for _, counts := range read() {
				sum += len(counts)
			}
			return sum >= n
		}
	}
	write()
	app := script()
	waitFor(t, "quixstreams to count", counted(1))
	app.stop(t, syscall.SIGKILL)
	write()
	app = script()
	waitFor(t, "quixstreams to count on", counted(2*rounds*words))
	app.stop(t, syscall.SIGTERM)
	got := read()
	for i := range words {
		word := "word " + strconv.Itoa(i)
		for j, n := range got[word] {
			if n != j+1 {
				t.Fatalf("%s: count %d follows %v", word, n, got[word][:j])
			}
		}
		if len(got[word]) != 2*rounds {
			t.Errorf("%s was counted %d times, and written %d times", word, len(got[word]), 2*rounds)
		}
	}
	described := c.tool("", "TopicCommand", "--describe", "--topic", "changelog__word-counter--words--default")
	if !strings.Contains(described, "cleanup.policy=compact") || strings.Count(described, "Leader: ") != 3 {
		t.Errorf("kafka-topics describes the changelog\n%s", described)
	}
}

// wait waits for a program's good end.
func (p *process) wait(t *testing.T) {
	t.Helper()
	select {
	case err := <-p.done:
		if err != nil {
			t.Fatalf("%s: %v\n%s", strings.Join(p.cmd.Args, " "), err, p.out.tail(3000))
		}
	case <-time.After(patience):
		t.Fatalf("%s does not end", strings.Join(p.cmd.Args, " "))
	}
}

// countedBy waits until somebody has counted as much as was written.
func (c clients) countedBy(who string, counts func() map[string]map[string]int64, written map[string]int64) {
	c.t.Helper()
	waitFor(c.t, who+" to count what was written", func() bool {
		now := counts()
		return sum(now["bluesky"]) >= written["bluesky"] && sum(now["wikipedia"]) >= written["wikipedia"]
	})
}

// streams is what weir counts.
func (c clients) streams() map[string]map[string]int64 {
	c.t.Helper()
	counts, err := c.byStream()
	if err != nil {
		c.t.Fatal(err)
	}
	return counts
}

// redisCounts reads the numbers of a hash with redis-cli, of the fields that begin
// with a prefix.
func (c clients) redisCounts(database, key, prefix string) map[string]int64 {
	c.t.Helper()
	lines := strings.Split(strings.TrimSpace(c.runs("", "redis-cli", "-u", strings.TrimSuffix(c.redis, "/1")+"/"+database, "HGETALL", key)), "\n") // an empty line for nothing yet
	counts := map[string]int64{}
	for i := 0; i+1 < len(lines); i += 2 {
		kind, ok := strings.CutPrefix(lines[i], prefix)
		if !ok {
			continue
		}
		n, err := strconv.ParseInt(lines[i+1], 10, 64)
		if err != nil {
			c.t.Fatalf("redis-cli printed %q", lines)
		}
		counts[kind] = n
	}
	return counts
}

// redisPython is what weir counts in each group, as redis-py reads it.
func (c clients) redisPython() (counts map[string]map[string]int64) {
	c.t.Helper()
	out := c.runs("", "env", "REDIS_URL="+c.redis, c.python, filepath.Join("clients", "weir_counts.py"))
	if err := json.Unmarshal([]byte(out), &counts); err != nil {
		c.t.Fatalf("weir_counts.py printed %q: %v", out, err)
	}
	return counts
}

// foreign runs weir's own proof, which has to tell how much others wrote.
func (c clients) foreign(want map[string]int64) {
	c.t.Helper()
	out, err := c.run("verify", "-o", "json")
	if err != nil {
		c.t.Fatalf("%v\n%s", err, out)
	}
	type source struct {
		OK      bool  `json:"ok"`
		Foreign int64 `json:"foreign"`
	}
	var report struct {
		OK        bool   `json:"ok"`
		Bluesky   source `json:"bluesky"`
		Wikipedia source `json:"wikipedia"`
	}
	if err := json.Unmarshal(out, &report); err != nil || !report.OK {
		c.t.Fatalf("weir verify: %v\n%s", err, out)
	}
	if got := map[string]int64{"bluesky": report.Bluesky.Foreign, "wikipedia": report.Wikipedia.Foreign}; !maps.Equal(got, want) {
		c.t.Errorf("verify tells of %v events of others, %v were written", got, want)
	}
}

// lastOf is the newest value: the one that weir numbered last.
func lastOf(records []kafkaRecord) string {
	var last string
	most := int64(-1)
	for _, r := range records {
		if n := seqOf(r); n > most {
			most, last = n, *r.value
		}
	}
	return last
}

// seqOf is weir's number of an event, -1 for one that somebody else wrote.
func seqOf(r kafkaRecord) int64 {
	for _, h := range r.headers {
		if h.name == "seq" {
			n, _ := strconv.ParseInt(*h.value, 10, 64)
			return n
		}
	}
	return -1
}

// stretches checks that what the script wrote and what weir wrote each is an
// unbroken stretch of the stream, byte for byte and each event once.
func stretches(t *testing.T, stream string, stored []kafkaRecord, truth []string, byScript int) {
	t.Helper()
	index := map[string]int{}
	for i, v := range truth {
		index[v] = i
	}
	script, weirs := []int{}, []int{}
	for _, r := range stored {
		i, ok := index[*r.value]
		if !ok {
			t.Fatalf("%s: nobody sent %.300q", stream, *r.value)
		}
		if seqOf(r) < 0 {
			script = append(script, i)
		} else {
			weirs = append(weirs, i)
		}
	}
	if len(script) != byScript {
		t.Errorf("%s: %d records by the script, and not %d", stream, len(script), byScript)
	}
	for who, got := range map[string][]int{"the script": script, "weir": weirs} {
		slices.Sort(got)
		for i := range got[1:] {
			if got[i+1] != got[i]+1 {
				t.Errorf("%s: %s stored event %d after event %d of the stream", stream, who, got[i+1], got[i])
			}
		}
	}
}

// replayFrames returns the commits of a Jetstream since a moment, up to the last.
func replayFrames(t *testing.T, url string, since time.Time, last string) (all []string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	conn, _, err := websocket.Dial(ctx, url+"?wantedCollections=app.bsky.feed.post&cursor="+strconv.FormatInt(since.Add(-time.Hour).UnixMicro(), 10), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.CloseNow()
	conn.SetReadLimit(8 << 20)
	for {
		_, raw, err := conn.Read(ctx)
		if err != nil {
			t.Fatalf("replay, after %d events: %v", len(all), err)
		}
		if id, _, err := identity(raw); err != nil {
			t.Fatal(err)
		} else if id != "" {
			all = append(all, string(raw))
		}
		if string(raw) == last {
			return all
		}
	}
}

// replayChanges returns the changes of an EventStreams since a moment, up to the
// last, without canaries.
func replayChanges(t *testing.T, url string, since time.Time, last string) (all []string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"?since="+strconv.FormatInt(since.Add(-time.Hour).UnixMilli(), 10), nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("User-Agent", "weir-interop/1.0 (weir@example.org)")
	req.Header.Set("Accept", "text/event-stream")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	seen := map[string]bool{}
	for in := bufio.NewReader(resp.Body); ; {
		line, err := in.ReadString('\n')
		if err != nil {
			t.Fatalf("replay, after %d events: %v", len(all), errors.Join(err, ctx.Err(), io.ErrUnexpectedEOF))
		}
		value, ok := strings.CutPrefix(strings.TrimRight(line, "\r\n"), "data: ")
		if !ok {
			continue
		}
		if !strings.Contains(value, `"domain":"canary"`) && !seen[value] {
			seen[value] = true
			all = append(all, value)
		}
		if value == last {
			return all
		}
	}
}
