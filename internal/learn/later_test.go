package learn_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-project/weir/internal/cluster/embedded"
	"github.com/weir-project/weir/internal/exercise"
	"github.com/weir-project/weir/internal/inspect"
	"github.com/weir-project/weir/internal/kafka"
	"github.com/weir-project/weir/internal/lab/record"
	"github.com/weir-project/weir/internal/learn"
	"github.com/weir-project/weir/internal/tally"
)

// house is an embedded cluster with a data directory, and the stations beside it. The tests work
// through Kafka, Redis and files alone.
type house struct {
	*testing.T
	kafka   embedded.Config
	brokers *embedded.Cluster
	cl      *kgo.Client // writes to the partitions that records name
	admin   *kadm.Client
	cfg     learn.Config
	*learn.Course
}

const payments = "payments"

func newHouse(t *testing.T) *house {
	t.Helper()
	data := t.TempDir()
	h := &house{T: t, kafka: embedded.Config{Dir: filepath.Join(data, "brokers")}}
	h.cfg = learn.Config{Own: "test", Path: filepath.Join(data, "learn.json"), Reports: filepath.Join(data, "labs"),
		Exercises: filepath.Join(data, "exercises")}
	h.start()
	t.Cleanup(h.stop)
	return h
}

// start opens the brokers and the stations, as weir does.
func (h *house) start() {
	h.Helper()
	var err error
	if h.brokers, err = embedded.Open(h.Context(), h.kafka); err != nil {
		h.Fatal(err)
	}
	h.kafka.Addrs = h.brokers.Addrs()
	h.cl = h.client(kgo.RecordPartitioner(kgo.ManualPartitioner()))
	h.admin = kadm.NewClient(h.cl)
	if h.cfg.Inspector, err = inspect.New(inspect.Config{Client: h.cl}); err != nil {
		h.Fatal(err)
	}
	h.cfg.BrokersStarted = time.Now()
	if h.Course, err = learn.New(h.cfg); err != nil {
		h.Fatal(err)
	}
}

func (h *house) stop() {
	h.Helper()
	h.cl.Close()
	if err := h.brokers.Close(); err != nil {
		h.Error(err)
	}
}

func (h *house) client(opts ...kgo.Opt) *kgo.Client {
	h.Helper()
	cl, err := kafka.Config{Brokers: h.kafka.Addrs}.NewClient(append(opts, kgo.MetadataMinAge(20*time.Millisecond))...)
	if err != nil {
		h.Fatal(err)
	}
	return cl
}

func (h *house) create(topic string, partitions int32) {
	h.Helper()
	if _, err := h.admin.CreateTopic(h.Context(), partitions, 3, nil, topic); err != nil {
		h.Fatal(err)
	}
}

func (h *house) write(topic string, partition int32, values ...string) {
	h.Helper()
	for _, v := range values {
		if err := h.cl.ProduceSync(h.Context(), &kgo.Record{Topic: topic, Partition: partition, Value: []byte(v)}).FirstErr(); err != nil {
			h.Fatal(err)
		}
	}
}

// redis adds a Redis to the stations.
func (h *house) redis() (*tally.Store, string) {
	h.Helper()
	url := "redis://" + miniredis.RunT(h.T).Addr() + "/1"
	store, err := tally.Open(h.Context(), url)
	if err != nil {
		h.Fatal(err)
	}
	h.Cleanup(func() { _ = store.Close() })
	h.cfg.Tallies = store
	if h.Course, err = learn.New(h.cfg); err != nil {
		h.Fatal(err)
	}
	return store, url
}

// stays checks that a station is not done, and that its reason has the words.
func (h *house) stays(station string, words ...string) {
	h.Helper()
	got, err := h.Check(h.Context(), station)
	if err != nil {
		h.Fatal(err)
	}
	if got.Done {
		h.Fatalf("station %s is done: %+v", station, got)
	}
	for _, w := range words {
		if !strings.Contains(got.Reason, w) {
			h.Fatalf("station %s: the reason %q does not say %q; seen: %q", station, got.Reason, w, got.Seen)
		}
	}
}

// passes checks that a station is done, what was seen, and that the next start knows it.
func (h *house) passes(station string, words ...string) {
	h.Helper()
	got, err := h.Check(h.Context(), station)
	if err != nil {
		h.Fatal(err)
	}
	if !got.Done || got.Reason != "" {
		h.Fatalf("station %s is not done: %+v", station, got)
	}
	if h.Course, err = learn.New(h.cfg); err != nil {
		h.Fatal(err)
	}
	d, err := h.Get(h.Context(), station)
	if err != nil {
		h.Fatal(err)
	}
	if !d.Done || !d.Check.Done {
		h.Fatalf("station %s is not done after a start: %+v", station, d.Summary)
	}
	for _, w := range words {
		if !strings.Contains(strings.Join(d.Check.Seen, "; "), w) {
			h.Fatalf("station %s: %q does not say %q", station, d.Check.Seen, w)
		}
	}
}

// answers gives an answer, and checks what is said of it.
func (h *house) answers(station, answer string, right bool, words ...string) {
	h.Helper()
	got, err := h.Answer(h.Context(), station, answer)
	if err != nil {
		h.Fatal(err)
	}
	text, err := json.Marshal(got.Explanation)
	if err != nil {
		h.Fatal(err)
	}
	if got.Right != right {
		h.Fatalf("station %s: %s is judged right=%v, and the answer is %s", station, answer, got.Right, got.Answer)
	}
	for _, w := range words {
		if !strings.Contains(string(text), w) {
			h.Fatalf("station %s: the explanation %s does not say %q", station, text, w)
		}
	}
}

// commit commits offsets for a group, as any program can.
func (h *house) commit(group, topic string, offsets ...int64) {
	h.Helper()
	all := kadm.Offsets{}
	for p, o := range offsets {
		all.AddOffset(topic, int32(p), o, -1)
	}
	if err := h.admin.CommitAllOffsets(h.Context(), group, all); err != nil {
		h.Fatal(err)
	}
}

func TestPersistence(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.create(payments, 2)
	h.stays("persistence", "no record yet", "no group of yours")
	h.write(payments, 0, "a", "b", "c")
	h.write(payments, 1, "d", "e")
	h.answers("persistence", "3", false, "without the reset")
	h.answers("persistence", "0", true)

	h.commit("archive", payments, 1, 1)
	h.stays("persistence", "group archive has committed offsets")
	// Of two groups that are as far, the learner means the one that moved last.
	h.commit("readers", payments, 3, 2)
	h.stays("persistence", "not seen its brokers stop", "group readers has committed offsets", "not seen them go back")
	h.stop()
	h.start()
	h.stays("persistence", "group readers", "not seen them go back")

	h.commit("readers", payments, 0, 1)
	h.stays("persistence", "went back in topic payments, but not to the start of every partition")
	h.commit("readers", payments, 3, 2)
	h.commit("readers", payments, 0, 0)
	h.stays("persistence", "group readers is at 0 of the 5 offsets")
	h.commit("readers", payments, 3, 1)
	h.stays("persistence", "group readers is at 4 of the 5 offsets")
	h.commit("readers", payments, 3, 2)
	h.passes("persistence", "brokers were stopped and started", "offset", "group readers went back to the start of topic payments")
}

// A log that is another one after the start is no persistence.
func TestPersistenceOfAnotherLog(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.create(payments, 1)
	h.write(payments, 0, "a")
	h.stays("persistence", "not seen its brokers stop")
	h.stop()
	h.start()
	if _, err := h.admin.DeleteTopic(t.Context(), payments); err != nil {
		t.Fatal(err)
	}
	h.create(payments, 1)
	h.write(payments, 0, "b")
	h.stays("persistence", "does not hold the record that it held before")
}

// Counts in Redis that are not those of the log keep the station open.
func TestPersistenceOfCounts(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	store, _ := h.redis()
	h.cfg.Own, h.cfg.BrokersStarted = "", time.Time{} // beside an existing cluster, which weir cannot stop
	var err error
	if h.Course, err = learn.New(h.cfg); err != nil {
		t.Fatal(err)
	}
	h.stays("persistence", "in a topic of yours") // its topics are not the learner's, but those from now on
	h.create(payments, 1)
	h.write(payments, 0, "a", "b", "c")
	d, err := h.admin.ListTopics(t.Context(), payments)
	if err != nil {
		t.Fatal(err)
	}
	id := tally.TopicUUID(d[payments].ID)
	count := func(from, next, n int64) {
		t.Helper()
		got, err := store.Apply(t.Context(), []tally.Batch{{Group: "mine", Topic: payments, TopicID: id, From: from, Next: next,
			Counts: map[string]int64{"create": n}}})
		if err != nil || got[0].Err != nil {
			t.Fatal(err, got)
		}
	}
	if _, err := store.Begin(t.Context(), "mine", payments, 0, id, 0); err != nil {
		t.Fatal(err)
	}
	count(0, 3, 4)
	h.commit("mine", payments, 3)
	h.stays("persistence", "not seen them go back")
	h.commit("mine", payments, 0)
	h.stays("persistence", "is at 0 of the 3")
	h.commit("mine", payments, 3)
	h.stays("persistence", "in Redis are 4 events, and the log holds 3")
	if err := store.Reset(t.Context(), "mine", payments, 0, id, 0); err != nil {
		t.Fatal(err)
	}
	count(0, 3, 3)
	h.passes("persistence", "its counts in Redis are those of the log: 3 events")
}

func (h *house) partition0(topic string) kadm.PartitionDetail {
	h.Helper()
	d, err := h.admin.ListTopics(h.Context(), topic)
	if err != nil {
		h.Fatal(err)
	}
	return d[topic].Partitions[0]
}

func (h *house) kill(id int32) {
	h.Helper()
	if err := h.brokers.Kill(h.Context(), id); err != nil {
		h.Fatal(err)
	}
}

func (h *house) revive(id int32) {
	h.Helper()
	if err := h.brokers.Restart(h.Context(), id); err != nil {
		h.Fatal(err)
	}
}

func TestReplication(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.create(payments, 1)
	h.write(payments, 0, "a", "b")
	h.stays("replication", "leads partition 0 of topic payments", "all its replicas are in sync")
	h.answers("replication", "3", false, "does not change")
	h.answers("replication", "2", true)

	p := h.partition0(payments)
	follower := (p.Leader+1)%3 + 0
	for _, id := range p.Replicas {
		if id != p.Leader {
			follower = id
		}
	}
	h.kill(follower)
	h.stays("replication", "it was a follower there")
	h.revive(follower)

	leader := h.partition0(payments).Leader
	h.stays("replication", "kill that broker")
	h.kill(leader)
	h.stays("replication", "is not in sync, and nothing was written")
	h.write(payments, 0, "c")
	h.stays("replication", "is not in sync again: restart it")
	h.revive(leader)
	h.passes("replication", "moved from broker", "left the in-sync replicas", "new records were written", "is the same as before")
}

// Nothing that was written while the broker was away: nobody saw that the topic went on.
func TestReplicationWithoutRecords(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.create(payments, 1)
	h.stays("replication", "kill that broker")
	leader := h.partition0(payments).Leader
	h.kill(leader)
	h.stays("replication", "nothing was written")
	h.revive(leader)
	h.stays("replication", "nothing was written to partition 0 of topic payments")
	h.write(payments, 0, "a")
	h.passes("replication")
}

// report keeps a lab's report, as the frame of labs does.
func (h *house) report(name string, r record.Report) {
	h.Helper()
	h.file(filepath.Join(h.cfg.Reports, name, record.ReportName), r)
}

func (h *house) file(path string, v any) {
	h.Helper()
	data, err := json.Marshal(v)
	if err == nil {
		err = os.MkdirAll(filepath.Dir(path), 0o700)
	}
	if err == nil {
		err = os.WriteFile(path, data, 0o600)
	}
	if err != nil {
		h.Fatal(err)
	}
}

func TestBackpressure(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	drop := func(after float64, verdict record.Verdict, started time.Time) record.Report {
		return record.Report{Lab: "backpressure", Started: started, Verdict: verdict, Reason: "as it was",
			Measures: []record.Measure{{Case: "drop-newest", Name: "first drop after", Value: after, Unit: "s"}},
			Checks: []record.Check{{Case: "drop-newest", Claim: "every loss is counted with a policy that was set",
				Got: "600 dropped by drop-newest, 0 by others", Verdict: verdict}}}
	}
	h.report("backpressure-20260101T000000Z", drop(1.7, record.Holds, time.Now()))
	h.stays("backpressure", "answer the question first")
	h.answers("backpressure", "2500", false, "1.67 s")
	h.answers("backpressure", "2", false, "in milliseconds")
	h.answers("backpressure", "1600", true)
	h.stays("backpressure", "is older than your prediction")

	h.report("backpressure-20260102T000000Z", record.Report{Lab: "backpressure", Started: time.Now(),
		Measures: []record.Measure{{Case: "block", Name: "dropped"}}})
	h.stays("backpressure", "no event was dropped")
	h.report("backpressure-20260103T000000Z", drop(2.1, record.Holds, time.Now()))
	h.stays("backpressure", "you predicted 1600 ms", "after 2100 ms", "24 % off")
	h.report("backpressure-20260104T000000Z", drop(1.7, record.DoesNotHold, time.Now()))
	h.stays("backpressure", "are not all counted")
	h.report("backpressure-20260105T000000Z", drop(1.75, record.Holds, time.Now()))
	h.passes("backpressure", "you predicted 1600 ms", "after 1750 ms", "600 dropped by drop-newest")
}

func TestBatching(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.create(payments, 4)
	h.answers("batching", "60", false, "never has records of two partitions")
	h.answers("batching", "16", true)
	h.stays("batching", "no report of a lab yet")
	r := func(rate int, of string, perRequest float64) record.Report {
		return record.Report{Lab: "batching", Started: time.Now(), Settings: map[string]any{"rate": rate},
			Measures: []record.Measure{{Case: of, Name: "events per request", Value: perRequest, Unit: "events"}}}
	}
	// Station 10 leaves reports that differ. They are not this station's task.
	for name, policies := range map[string]string{"backpressure-20260101T000000Z": "block", "backpressure-20260102T000000Z": "drop-newest"} {
		h.report(name, record.Report{Lab: "backpressure", Started: time.Now(), Settings: map[string]any{"policies": policies},
			Measures: []record.Measure{{Case: "base", Name: "stored", Value: float64(len(policies)), Unit: "events"}}})
	}
	h.stays("batching", "no report of a lab yet")
	h.report("batching-20260101T000000Z", r(200, "base", 2))
	h.stays("batching", "there is one report of the lab batching")
	h.report("batching-20260102T000000Z", r(200, "base", 3))
	h.stays("batching", "have the same settings")
	h.report("batching-20260103T000000Z", r(500, "linger=0s", 1))
	h.stays("batching", "have no case in common")
	h.report("batching-20260104T000000Z", r(2000, "base", 14))
	h.passes("batching", "differ in rate", "base, events per request: 3 events → 14 events")
}

func TestProgram(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.create(payments, 3)
	h.answers("program", "1", false, "frequent mistake")
	h.answers("program", "3", true)
	h.stays("program", "no program was checked yet")
	keep := func(r exercise.Report) {
		r.Exercise, r.Started = "count", time.Now()
		if err := exercise.Keep(h.cfg.Exercises, &r); err != nil {
			t.Fatal(err)
		}
	}
	keep(exercise.Report{Verdict: exercise.Wrong, Headline: "partition 2 was not counted"})
	h.stays("program", "exercise count has the verdict wrong", "partition 2 was not counted")
	keep(exercise.Report{Verdict: exercise.Inconclusive, Headline: "the machine was too slow"})
	h.stays("program", "has the verdict inconclusive")
	keep(exercise.Report{Verdict: exercise.Passed, Headline: "all 3,000 events are counted"})
	h.passes("program", "passed the exercise count", "all 3,000 events")
}
