package judge

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/gorilla/websocket"
	"github.com/redis/go-redis/v9"
	"github.com/twmb/franz-go/pkg/kgo"
)

// learner is a program of a learner: this test binary with LEARNER set. The words say what it
// does wrong.
func learner(words string) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	if slices.Contains(strings.Fields(words), "deaf") {
		ctx = context.WithoutCancel(ctx)
	}
	if err := learn(ctx, strings.Fields(words)); err != nil && ctx.Err() == nil {
		fmt.Println("learner:", err)
		return 1
	}
	return 0
}

func learn(ctx context.Context, words []string) error {
	wrong := func(word string) bool { return slices.Contains(words, word) }
	if wrong("crash") {
		return fmt.Errorf("no module named kafka")
	}
	idle(ctx, wrong)
	if os.Getenv("STREAM_URL") != "" {
		for wrong("patient") && ctx.Err() == nil {
			_ = stream(ctx, wrong) // it connects again
		}
		return stream(ctx, wrong)
	}
	if wrong("offsets-in-redis") {
		return exactly(ctx, wrong)
	}
	counts, err := redisOf(wrong)
	if err != nil {
		return err
	}
	defer counts.Close()
	topic := os.Getenv("TOPIC")
	opts := []kgo.Opt{kgo.SeedBrokers(strings.Split(os.Getenv("KAFKA_BROKER"), ",")...)}
	group := os.Getenv("GROUP")
	if wrong("stranger") {
		group = fmt.Sprint("group-", os.Getpid())
	}
	if !wrong("one-partition") {
		opts = append(opts, kgo.DisableAutoCommit(), kgo.ConsumerGroup(group), kgo.BlockRebalanceOnPoll())
	}
	if wrong("auto-commit") {
		opts = []kgo.Opt{opts[0], kgo.ConsumerGroup(group), kgo.AutoCommitInterval(time.Second), kgo.GreedyAutoCommit()}
	}
	switch {
	case wrong("one-partition"):
		opts = append(opts, kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {2: kgo.NewOffset().AtStart()}}))
	case wrong("latest"):
		opts = append(opts, kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtEnd()))
	default:
		opts = append(opts, kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	}
	cl, err := kgo.NewClient(opts...)
	if err != nil {
		return err
	}
	defer cl.CloseAllowingRebalance()
	batch := 20
	if wrong("impatient") {
		batch = 4 // it commits after 4 s of waiting for Redis: before it is killed
	}
	for ctx.Err() == nil {
		got := cl.PollRecords(ctx, batch)
		records := got.Records()
		if wrong("commit-first") && len(records) > 0 {
			if err := cl.CommitRecords(context.WithoutCancel(ctx), records...); err != nil {
				return err
			}
		}
		for _, r := range records {
			var e struct {
				Kind   string
				Commit struct{ Operation string }
			}
			if err := json.Unmarshal(r.Value, &e); err != nil {
				return err
			}
			key := e.Commit.Operation
			if wrong("kind") {
				key = e.Kind
			}
			if err := counts.Incr(context.WithoutCancel(ctx), key).Err(); err != nil && !wrong("careless") {
				return err
			}
		}
		if !wrong("never-commit") && !wrong("auto-commit") && !wrong("commit-first") && !wrong("one-partition") && len(records) > 0 {
			if err := cl.CommitRecords(context.WithoutCancel(ctx), records...); err != nil {
				return err
			}
		}
		cl.AllowRebalance()
	}
	return nil
}

// stream writes the events of the stream to Kafka.
func stream(ctx context.Context, wrong func(string) bool) error {
	ws, _, err := websocket.DefaultDialer.DialContext(ctx, os.Getenv("STREAM_URL")+"?wantedCollections=app.bsky.feed.post", nil)
	if err != nil {
		return err
	}
	defer ws.Close()
	defer context.AfterFunc(ctx, func() { ws.Close() })()
	brokers := os.Getenv("KAFKA_BROKER")
	if wrong("other-cluster") {
		brokers = "127.0.0.1:1"
	}
	cl, err := kgo.NewClient(kgo.SeedBrokers(strings.Split(brokers, ",")...))
	if err != nil {
		return err
	}
	defer cl.Close()
	defer func() {
		if !wrong("no-flush") {
			_ = cl.Flush(context.WithoutCancel(ctx))
		}
	}()
	topic := os.Getenv("OUTPUT_TOPIC")
	if wrong("other-topic") {
		topic = "exercise-output"
	}
	for i := 0; ; i++ {
		_, value, err := ws.ReadMessage()
		if err != nil {
			return err
		}
		var e struct {
			DID, Kind string
			Commit    *struct{ Rev, Operation string }
		}
		if err := json.Unmarshal(value, &e); err != nil {
			return err
		}
		if e.Kind != "commit" && !wrong("blind") {
			continue
		}
		key := e.DID
		if wrong("rev") {
			key = e.Commit.Rev // as the original does
		}
		if wrong("drop") && i%100 == 99 || wrong("silent") || wrong("creates-only") && e.Commit.Operation != "create" {
			continue
		}
		cl.Produce(context.WithoutCancel(ctx), &kgo.Record{Topic: topic, Key: []byte(key), Value: value}, nil)
		if e.Commit == nil && wrong("blind") {
			_ = e.Commit.Rev // panics
		}
	}
}

// redisOf is a client of Redis.
func redisOf(wrong func(string) bool) (*redis.Client, error) {
	u, err := redis.ParseURL(os.Getenv("REDIS_URL"))
	if err != nil {
		return nil, err
	}
	if wrong("impatient") {
		u.ReadTimeout, u.MaxRetries = time.Second, -1
	}
	if wrong("database-1") {
		u.DB = 1
	}
	return redis.NewClient(u), nil
}

// exactly keeps the offsets in Redis, and changes them with the counts.
func exactly(ctx context.Context, wrong func(string) bool) error {
	counts, err := redisOf(wrong)
	if err != nil {
		return err
	}
	defer counts.Close()
	topic := os.Getenv("TOPIC")
	script := redis.NewScript(`
		if tonumber(redis.call('GET', KEYS[1]) or 0) > tonumber(ARGV[1]) then return 0 end
		redis.call('SET', KEYS[1], ARGV[1] + 1)
		return redis.call('INCR', KEYS[2])`)
	key := func(p int32) string {
		if wrong("one-offset") {
			return "offset"
		}
		return fmt.Sprintf("offset:%s:%d", topic, p)
	}
	cl, err := kgo.NewClient(kgo.SeedBrokers(strings.Split(os.Getenv("KAFKA_BROKER"), ",")...), kgo.ConsumerGroup(os.Getenv("GROUP")),
		kgo.ConsumeTopics(topic),
		kgo.DisableAutoCommit(), kgo.AdjustFetchOffsetsFn(func(ctx context.Context,
			m map[string]map[int32]kgo.Offset) (map[string]map[int32]kgo.Offset, error) {
			for p := range m[topic] {
				at, err := counts.Get(ctx, key(p)).Int64()
				if err != nil && err != redis.Nil {
					return nil, err
				}
				m[topic][p] = kgo.NewOffset().At(at)
			}
			return m, nil
		}))
	if err != nil {
		return err
	}
	defer cl.Close()
	for ctx.Err() == nil {
		for _, r := range cl.PollRecords(ctx, 50).Records() {
			var e struct{ Commit struct{ Operation string } }
			if err := json.Unmarshal(r.Value, &e); err != nil {
				return err
			}
			if err := script.Run(context.WithoutCancel(ctx), counts, []string{key(r.Partition), e.Commit.Operation}, r.Offset).Err(); err != nil {
				return err
			}
		}
	}
	return nil
}

// idle is for programs that do nothing with the topic, until they are stopped.
func idle(ctx context.Context, wrong func(string) bool) {
	if wrong("elsewhere") { // as with addresses that are written into the program
		<-ctx.Done()
	}
	for wrong("loud") && ctx.Err() == nil {
		fmt.Println(strings.Repeat("x", 10_000))
	}
}
