package tally

import (
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
)

// TestGarbageAmongManyTypes has a batch of more types than one command of the script reads,
// and a stored count of one of the last that is not a number: nothing is changed.
func TestGarbageAmongManyTypes(t *testing.T) {
	eachServer(t, func(t *testing.T, url string) {
		s, c := openStore(t, url)
		counts := map[string]int64{}
		for i := range 350 {
			counts[fmt.Sprintf("kind-%03d", i)] = 1
		}
		for _, i := range []int{99, 100, 101, 199, 200, 349} {
			c.Del(ctx, theKey)
			c.HSet(ctx, theKey, "next", "5", "start", "0", "topic_id", "", fmt.Sprintf("k:kind-%03d", i), "many")
			before := hash(t, c, theKey)
			if r := apply1(t, s, Batch{Group: "g", Topic: "t", From: 5, Next: 400, Counts: counts}); !errors.Is(r.Err, ErrGarbage) {
				t.Errorf("garbage as the count of type %d: %+v", i, r)
			}
			if after := hash(t, c, theKey); !maps.Equal(before, after) {
				t.Errorf("garbage as the count of type %d: %d fields afterwards", i, len(after))
			}
		}
	})
}

// TestMalformedIsAlwaysCounted: malformed events have their own count, however many types came
// before them.
func TestMalformedIsAlwaysCounted(t *testing.T) {
	eachServer(t, func(t *testing.T, url string) {
		s, _ := openStore(t, url)
		begin(t, s, "g", "t", 0, "", 0)
		counts := map[string]int64{}
		for i := range MaxKinds {
			counts[fmt.Sprint("kind-", i)] = 1
		}
		apply1(t, s, Batch{Group: "g", Topic: "t", From: 0, Next: 1, Counts: counts})
		apply1(t, s, Batch{Group: "g", Topic: "t", From: 1, Next: 2, Counts: map[string]int64{"(malformed)": 3, "late": 2}})
		if got, err := s.Totals(ctx, "g", "t"); err != nil || got["(malformed)"] != 3 || got["(other)"] != 2 || got["late"] != 0 {
			t.Errorf("malformed %d, other %d, %v", got["(malformed)"], got["(other)"], err)
		}
	})
}

// TestAnswersThatAreNone: what a server answers that is not Redis.
func TestAnswersThatAreNone(t *testing.T) {
	b := Batch{Group: "g", Topic: "t", From: 5, Next: 9}
	if r := (reply{"fine", "9", "0", ""}).result(theKey, &b); !errors.Is(r.Err, ErrGarbage) {
		t.Errorf("an unknown status: %+v", r)
	}
	if r := (reply{"applied", "nine", "0", ""}).result(theKey, &b); !errors.Is(r.Err, ErrGarbage) {
		t.Errorf("an offset that is none: %+v", r)
	}
	srv := miniredis.RunT(t)
	client := redis.NewClient(&redis.Options{Addr: srv.Addr()})
	defer client.Close()
	s := &Store{client: client, addr: srv.Addr()}
	short := redis.NewScript(`return {'applied', '9', '0', ''}`)
	if _, err := s.run(ctx, short, []call{{keys: []string{"a", "b"}}, {keys: []string{"c"}}}); err == nil || !strings.Contains(err.Error(), "4 fields for 2 keys") {
		t.Errorf("an answer for one key of two: %v", err)
	}
}

// TestNegativeCountIsAnError: a sum with it would be too small.
func TestNegativeCountIsAnError(t *testing.T) {
	eachServer(t, func(t *testing.T, url string) {
		s, c := openStore(t, url)
		begin(t, s, "g", "t", 0, "", 0)
		c.HSet(ctx, theKey, "k:a", "-1")
		if _, err := s.All(ctx); !errors.Is(err, ErrGarbage) {
			t.Errorf("%v", err)
		}
	})
}

// TestTotalsOfOneTopic: a group has counts of two topics, and one whose name is a pattern.
func TestTotalsOfOneTopic(t *testing.T) {
	eachServer(t, func(t *testing.T, url string) {
		s, _ := openStore(t, url)
		for i, topic := range []string{"t", "u", "t1"} {
			begin(t, s, "g?", topic, 0, "", 0)
			apply1(t, s, Batch{Group: "g?", Topic: topic, From: 0, Next: 1, Counts: map[string]int64{"e": int64(i + 1)}})
		}
		if got, err := s.Totals(ctx, "g?", "u"); err != nil || got["e"] != 2 {
			t.Errorf("%v, %v", got, err)
		}
	})
}

// TestEveryEvictionPolicyIsRefused: under each of them but one, Redis may delete counts. This
// server knows no CONFIG, as managed ones forbid it, so the policy comes from INFO.
func TestEveryEvictionPolicyIsRefused(t *testing.T) {
	srv := miniredis.RunT(t)
	client := redis.NewClient(&redis.Options{Addr: srv.Addr()})
	defer client.Close()
	settings := func(info map[string]string) (*Store, error) {
		s := &Store{client: client, addr: srv.Addr()}
		return s, s.checkSettings(ctx, primary{client, info})
	}
	for _, policy := range []string{"allkeys-lru", "allkeys-lfu", "allkeys-random", "volatile-lru", "volatile-lfu", "volatile-random", "volatile-ttl"} {
		_, err := settings(map[string]string{"maxmemory_policy": policy})
		if pe, ok := errors.AsType[*PolicyError](err); !ok || pe.Policy != policy {
			t.Errorf("%s: %v", policy, err)
		}
	}
	if _, err := settings(map[string]string{"maxmemory_policy": "noeviction"}); err != nil {
		t.Errorf("noeviction: %v", err)
	}
	s, err := settings(map[string]string{})
	if err != nil || len(s.Findings()) == 0 || !strings.Contains(s.Findings()[0].Cause, "cannot read the maxmemory-policy") {
		t.Errorf("no policy: %v, %+v", err, s.Findings())
	}
}

// TestKindsOfServers: servers that must not be written to, or not like this.
func TestKindsOfServers(t *testing.T) {
	s := &Store{addr: "h:1"}
	for _, tt := range []struct {
		info map[string]string
		want string
	}{
		{map[string]string{"redis_mode": "sentinel"}, "is a Sentinel"},
		{map[string]string{"redis_mode": "standalone", "role": "slave"}, "read-only replica"},
		{map[string]string{"redis_mode": "cluster", "role": "master", "cluster_enabled": "1"}, "part of a Redis Cluster"},
	} {
		if err := s.checkKind(ofServer, tt.info); !errors.Is(err, errKind) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%v: %v", tt.info, err)
		}
	}
	if err := s.checkKind(ofServer, map[string]string{"redis_mode": "standalone", "role": "master", "cluster_enabled": "0"}); err != nil {
		t.Error(err)
	}
}
