// Command once counts the events of a topic by type in Redis, each exactly once. The counts
// and the offset that they include change in one script, so a crash cannot separate them.
package main

import (
	"context"
	"encoding/json"
	"log"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/twmb/franz-go/pkg/kgo"
)

// apply counts the events of one partition from offset ARGV[2] to before ARGV[3], if the
// stored offset is ARGV[2]. It returns the stored offset.
var apply = redis.NewScript(`
	local stored = redis.call('HGET', KEYS[1], ARGV[1]) or '0'
	if stored ~= ARGV[2] then return stored end
	for i = 4, #ARGV, 2 do redis.call('INCRBY', ARGV[i], ARGV[i + 1]) end
	redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
	return ARGV[3]`)

type counter struct {
	redis    *redis.Client
	consumer *kgo.Client
	topic    string
	mu       sync.Mutex
	next     map[int32]int64 // by partition: the offset that is counted next
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	options, err := redis.ParseURL(os.Getenv("REDIS_URL"))
	if err != nil {
		log.Fatal(err)
	}
	c := &counter{redis: redis.NewClient(options), topic: os.Getenv("TOPIC"), next: map[int32]int64{}}
	defer c.redis.Close()
	c.consumer, err = kgo.NewClient(
		kgo.SeedBrokers(strings.Split(os.Getenv("KAFKA_BROKER"), ",")...),
		kgo.ConsumerGroup(os.Getenv("GROUP")),
		kgo.ConsumeTopics(c.topic),
		kgo.AdjustFetchOffsetsFn(c.begin),
		kgo.DisableAutoCommit(),
		kgo.BlockRebalanceOnPoll(),
	)
	if err != nil {
		log.Fatal(err)
	}
	defer c.consumer.CloseAllowingRebalance()

	for {
		fetches := c.consumer.PollRecords(ctx, 500)
		if ctx.Err() != nil {
			return
		}
		if err := fetches.Err(); err != nil {
			log.Fatal(err)
		}
		fetches.EachPartition(func(p kgo.FetchTopicPartition) {
			if len(p.Records) > 0 {
				c.count(ctx, p.Partition, p.Records)
			}
		})
		// For the lag that tools show. The offsets that matter are in Redis.
		if err := c.consumer.CommitUncommittedOffsets(context.Background()); err != nil {
			log.Print(err)
		}
		c.consumer.AllowRebalance()
	}
}

// begin makes each assigned partition start at the offset in Redis, not at Kafka's.
func (c *counter) begin(ctx context.Context, all map[string]map[int32]kgo.Offset) (map[string]map[int32]kgo.Offset, error) {
	for topic, partitions := range all {
		for p := range partitions {
			next, err := c.redis.HGet(ctx, "offsets", topic+"/"+strconv.Itoa(int(p))).Int64()
			if err != nil && err != redis.Nil {
				return nil, err
			}
			c.mu.Lock()
			c.next[p] = next
			c.mu.Unlock()
			partitions[p] = kgo.NewOffset().At(next)
		}
	}
	return all, nil
}

// count applies the records of one partition. It repeats the script until Redis answers: if
// the first call was applied and its answer was lost, the second one changes nothing.
func (c *counter) count(ctx context.Context, partition int32, records []*kgo.Record) {
	c.mu.Lock()
	from := c.next[partition]
	c.mu.Unlock()
	next := records[len(records)-1].Offset + 1
	counts := map[string]int{}
	for _, record := range records {
		var event struct {
			Commit struct{ Operation string }
		}
		if err := json.Unmarshal(record.Value, &event); err != nil {
			log.Fatal(err)
		}
		counts[event.Commit.Operation]++
	}
	args := []any{c.topic + "/" + strconv.Itoa(int(partition)), from, next}
	for operation, n := range counts {
		args = append(args, operation, n)
	}
	for ctx.Err() == nil {
		stored, err := apply.Run(context.Background(), c.redis, []string{"offsets"}, args...).Int64()
		if err != nil {
			log.Print(err)
			time.Sleep(100 * time.Millisecond)
			continue
		}
		if stored != next { // Redis lost its latest writes, or another member counted: go on from there
			c.consumer.SetOffsets(map[string]map[int32]kgo.EpochOffset{c.topic: {partition: {Epoch: -1, Offset: stored}}})
		}
		c.mu.Lock()
		c.next[partition] = stored
		c.mu.Unlock()
		return
	}
}
