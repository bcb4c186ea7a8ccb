package redisd

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// needClients skips unless the tests against other clients are switched on.
func needClients(t *testing.T) {
	t.Helper()
	if os.Getenv("WEIR_TEST_REDIS_CLI") == "" {
		t.Skip("needs redis-cli and Python with the package redis: WEIR_TEST_REDIS_CLI=1 go test -run Real ./internal/redisd")
	}
}

func TestRealRedisCLI(t *testing.T) {
	needClients(t)
	dir := t.TempDir()
	s, _ := open(t, Config{Dir: dir})
	fill(t, s)
	host, port, _ := strings.Cut(s.Addr(), ":")
	cli := func(stdin string, args ...string) string {
		t.Helper()
		cmd := exec.Command("redis-cli", append([]string{"-h", host, "-p", port}, args...)...)
		cmd.Stdin = strings.NewReader(stdin)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Errorf("redis-cli %v: %v\n%s", args, err, out)
		}
		return strings.TrimSpace(string(out))
	}
	for _, tc := range []struct {
		stdin string
		args  []string
		want  string // contained in the answer
	}{
		{args: []string{"PING"}, want: "PONG"},
		{args: []string{"-3", "-n", "3", "HGET", "hash", "a"}, want: "1"},
		{args: []string{"-n", "7", "GET", "counter"}, want: "70"},
		{args: []string{"-u", "redis://" + s.Addr() + "/3", "LRANGE", "list", "0", "-1"}, want: "y"},
		{args: []string{"CONFIG", "GET", "maxmemory-policy"}, want: "noeviction"},
		{args: []string{"INFO", "server"}, want: "redis_version:"},
		{args: []string{"DBSIZE"}, want: "1"},
		{args: []string{"-n", "3", "--scan"}, want: "hash"},
		{args: []string{"-n", "3", "TYPE", "zset"}, want: "zset"},
		{args: []string{"EVAL", "return redis.call('INCR', KEYS[1])", "1", "n"}, want: "1"},
		{args: []string{"SAVE"}, want: "OK"},
		{args: []string{"BGSAVE"}, want: "Background saving started"},
		{args: []string{"CLIENT", "LIST"}, want: "addr="},
		{args: []string{"COMMAND", "DOCS", "GET"}, want: ""},
		{args: []string{"NOSUCH"}, want: "unknown command"},
		{args: []string{"-n", "3", "--bigkeys"}, want: "Biggest"},
		{stdin: "SELECT 3\nHLEN hash\nMULTI\nINCR a\nINCR a\nEXEC\nQUIT\n", want: "2"},
		{stdin: "*3\r\n$3\r\nSET\r\n$1\r\np\r\n$1\r\n1\r\n", args: []string{"--pipe"}, want: "errors: 0, replies: 1"},
	} {
		if got := cli(tc.stdin, tc.args...); !strings.Contains(got, tc.want) {
			t.Errorf("redis-cli %v %q:\n%s\nlacks %q", tc.args, tc.stdin, got, tc.want)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, currentName)); err != nil {
		t.Error("SAVE wrote nothing")
	}
}

// The script does what the consumers that weir replaces do (one connection and
// one INCR for each event, KEYS and GET at the end), and more.
const python = `
import asyncio, sys, redis, redis.asyncio
host, port = sys.argv[1], int(sys.argv[2])
for _ in range(50):
    r = redis.Redis(host=host, port=port, db=0)
    r.incr("create")
    r.close()
r = redis.Redis(host=host, port=port, db=0, decode_responses=True)
assert r.ping()
assert {k: r.get(k) for k in r.keys("*")} == {"create": "50"}
for protocol in (2, 3):
    r = redis.Redis(host=host, port=port, db=5, protocol=protocol, decode_responses=True)
    r.flushdb()
    assert r.ping()
    assert r.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}, r.config_get("maxmemory-policy")
    info = r.info()
    assert info["role"] == "master" and info["maxmemory_policy"] == "noeviction"
    r.hset("h", mapping={"a": 1, "b": 2})
    assert r.hgetall("h") == {"a": "1", "b": "2"}
    with r.pipeline(transaction=True) as p:
        p.incr("n"); p.hincrby("h", "a", 4); p.expire("n", 100)
        assert p.execute() == [1, 5, True]
    assert 95 <= r.ttl("n") <= 100
    assert r.register_script("return redis.call('HGET', KEYS[1], ARGV[1])")(keys=["h"], args=["a"]) == "5"
    assert sorted(r.scan_iter("*")) == ["h", "n"]
    r.zadd("z", {"x": 1.5})
    assert r.zscore("z", "x") == 1.5
    r.zadd("z", {"y": float("inf")})
    as_pairs = lambda found: [tuple(pair) for pair in found]
    assert as_pairs(r.zrange("z", 0, -1, withscores=True)) == [("x", 1.5), ("y", float("inf"))]
    assert r.zrange("z", 0, -1) == ["x", "y"]
    with r.pipeline(transaction=True) as p:
        p.get("none"); p.zrevrange("z", 0, 0, withscores=True); p.zpopmax("z", 2); p.hgetall("h")
        done = p.execute()
    assert done[0] is None and as_pairs(done[1]) == [("y", float("inf"))], done
    assert as_pairs(done[2]) == [("y", float("inf")), ("x", 1.5)] and done[3] == {"a": "5", "b": "2"}, done
    assert r.zrange("z", 0, -1, withscores=True) == [] and r.blpop("none", timeout=0.1) is None
    with r.pipeline(transaction=False) as p:
        for i in range(200): p.incr("many")
        assert p.execute() == list(range(1, 201))
    # A counter by hand: what was read must still be so when it is written.
    tries = 0
    with r.pipeline() as p:
        while True:
            try:
                p.watch("watched")
                seen = int(p.get("watched") or 0)
                if not tries: redis.Redis(host=host, port=port, db=5).set("watched", 10)
                p.multi(); p.set("watched", seen + 1); p.execute()
                break
            except redis.WatchError:
                tries += 1
    assert tries == 1 and r.get("watched") == "11"
    # An error in a transaction leaves the rest of it done, as in Redis.
    with r.pipeline() as p:
        p.set("s", "text"); p.incr("s"); p.incr("n")
        done = p.execute(raise_on_error=False)
        assert done[0] and isinstance(done[1], redis.ResponseError) and done[2] == 2, done
    try:
        r.evalsha("0" * 40, 0); raise SystemExit("a script that nobody loaded runs")
    except redis.exceptions.NoScriptError:
        pass
    with r.pubsub() as heard:
        heard.subscribe("news"); heard.psubscribe("new*")
        assert [heard.get_message(timeout=5)["type"] for _ in range(2)] == ["subscribe", "psubscribe"]
        assert r.publish("news", "a") == 2
        assert sorted((m["type"], m["channel"], m["data"]) for m in (heard.get_message(timeout=5) for _ in range(2))) == [
            ("message", "news", "a"), ("pmessage", "news", "a")]
    r.xadd("x", {"kind": "create"}, maxlen=100); r.xgroup_create("x", "g", id="0")
    read = r.xreadgroup("g", "me", {"x": ">"}, count=10)
    entries = read["x"][0] if isinstance(read, dict) else read[0][1] # redis-py's, by protocol
    assert [fields for _, fields in entries] == [{"kind": "create"}], read
    assert r.xpending("x", "g")["pending"] == 1
    assert r.xack("x", "g", entries[0][0]) == 1 and r.xpending("x", "g")["pending"] == 0
    r.hset("big", mapping={"k:%d" % i: i for i in range(1000)})
    assert dict(r.hscan_iter("big", match="k:9*")) == {"k:%d" % i: str(i) for i in range(1000) if str(i)[0] == "9"}
    assert r.sadd("set", "a", "b") == 2 and r.smembers("set") == {"a", "b"} and r.sismember("set", "a")
    assert r.getdel("s") == "text" and r.get("s") is None
    assert redis.Redis(host=host, port=port, db=5, protocol=protocol).hget("h", "b") == b"2"
    r.rpush("l", "1", "2"); assert r.blpop("l", timeout=1) == ["l", "1"] or r.lrange("l", 0, -1) == ["2"]
    assert r.client_id() > 0
    assert "addr" in r.client_list()[0]
    try:
        r.execute_command("PFADD", "x", "1"); raise SystemExit("PFADD is served")
    except redis.ResponseError as e:
        assert "not served" in str(e)
    assert r.ping()

async def together():
    r = redis.asyncio.Redis(host=host, port=port, db=6)
    await asyncio.gather(*(r.incr("n") for _ in range(50)))
    assert await r.get("n") == b"50"
    await r.aclose()
asyncio.run(together())
print("fine", redis.__version__)
`

func TestRealPythonClient(t *testing.T) {
	needClients(t)
	interpreter := os.Getenv("WEIR_TEST_PYTHON")
	if interpreter == "" {
		interpreter = "python3"
	}
	s, _ := open(t, Config{Dir: t.TempDir()})
	host, port, _ := strings.Cut(s.Addr(), ":")
	out, err := exec.Command(interpreter, "-c", python, host, port).CombinedOutput()
	if err != nil || !strings.Contains("\n"+string(out), "\nfine ") { // redis-py 5 prints what is pushed, too
		t.Errorf("%v\n%s", err, out)
	}
}

// Job queues: RQ, Celery and BullMQ, and redis-benchmark. The directory is a copy of
// testdata/queues with what its package.json and requirements.txt (in venv) name.
func TestRealQueues(t *testing.T) {
	dir := os.Getenv("WEIR_TEST_QUEUES")
	if dir == "" {
		t.Skip("needs RQ, Celery and BullMQ: .ci/run redis, or WEIR_TEST_QUEUES=DIR go test -run RealQueues ./internal/redisd")
	}
	for name, command := range map[string][]string{
		"python":    {filepath.Join(dir, "venv/bin/python"), filepath.Join(dir, "jobs.py"), "HOST", "PORT"},
		"bullmq":    {"node", filepath.Join(dir, "jobs.js"), "HOST", "PORT"},
		"benchmark": {"redis-benchmark", "-q", "-n", "1000", "-h", "HOST", "-p", "PORT"},
	} {
		t.Run(name, func(t *testing.T) {
			s, _ := open(t, Config{Dir: t.TempDir()})
			host, port, _ := strings.Cut(s.Addr(), ":")
			command := strings.Fields(strings.NewReplacer("HOST", host, "PORT", port).Replace(strings.Join(command, " ")))
			limit, cancel := context.WithTimeout(ctx, 3*time.Minute)
			defer cancel()
			out, err := exec.CommandContext(limit, command[0], command[1:]...).CombinedOutput()
			if err != nil || name != "benchmark" && !strings.HasSuffix("\n"+string(out), "\nfine\n") {
				t.Errorf("%v\n%s", err, out)
			}
			if name == "benchmark" && !strings.Contains(string(out), "MSET (10 keys): ") {
				t.Errorf("the last benchmark is missing:\n%s", out)
			}
		})
	}
}
