// Package watch keeps a live picture of a cluster and of weir's streams in it:
// one document that is read from Kafka and Redis about twice a second, its
// differences for those who follow it, an hour of history in fixed memory, and a
// log in plain words of what changed. It owns polling, rates, lag in seconds and
// history. It knows no HTTP, changes nothing in the cluster, and takes what only
// the running process knows (queues, connections, killed brokers) from functions
// that it is given.
package watch

import (
	"time"

	"github.com/weir-project/weir/internal/inspect"
	"github.com/weir-project/weir/internal/latency"
)

// State is the live document. A published State is never changed again.
type State struct {
	// Time is when it was complete, in Unix milliseconds.
	Time    int64  `json:"time"`
	Version string `json:"version"` // of the program
	// Mode is live, simulated or external; Engine embedded, apache or external.
	Mode   string `json:"mode"`
	Engine string `json:"engine"`
	// ReadOnly says that this weir refuses every change.
	ReadOnly bool `json:"read_only"`
	// Note says what the engine only simulates, empty for nothing.
	Note    string             `json:"note"`
	Cluster Cluster            `json:"cluster"`
	Streams map[string]*Stream `json:"streams"`
	Topics  map[string]*Topic  `json:"topics"`
	Groups  map[string]*Group  `json:"groups"`
}

// Cluster is about the brokers.
type Cluster struct {
	ID         string `json:"id"`
	Controller int32  `json:"controller"`
	// Error says what the cluster did not return, and which broker does not answer;
	// the last known values are shown then.
	Error string `json:"error"`
	// TopicsTime and GroupsTime are when topics and groups were last read, in Unix
	// milliseconds: a large cluster, or one that answers slowly, is asked less often.
	TopicsTime int64              `json:"topics_time"`
	GroupsTime int64              `json:"groups_time"`
	Brokers    map[string]*Broker `json:"brokers"`
}

// Broker is one broker, by its id.
type Broker struct {
	Address    string `json:"address"`
	Alive      bool   `json:"alive"`
	Controller bool   `json:"controller"`
	Leaders    int    `json:"leaders"` // partitions that it leads
	// Bytes is the size of its log, -1 where it is unknown.
	Bytes  int64  `json:"bytes"`
	Reason string `json:"reason"` // why it is not alive
}

// Stream is one of weir's streams: from its source to its counts.
type Stream struct {
	Topic string `json:"topic"`
	Group string `json:"group"`
	Local        // zero where another process ingests

	// Rate is events/s into the topic, Total how many it has ever been given.
	Rate  float64 `json:"rate"`
	Total int64   `json:"total"`

	// CountRate is events/s that are counted, Counted the sum of Counts.
	CountRate float64          `json:"count_rate"`
	Counted   int64            `json:"counted"`
	Counts    map[string]int64 `json:"counts"`
	Lag       int64            `json:"lag"`
	// LagSeconds is how long ago the log ended where the group stands; nil: unknown.
	LagSeconds *float64 `json:"lag_seconds"`
	Redis      string   `json:"redis"` // ok, or why counts cannot be read
	Lanes      []Lane   `json:"lanes"`
}

// Local is what the process that ingests or counts a stream knows of it.
type Local struct {
	// State is connected, connecting or failed, and external in another process.
	State      string `json:"state"`
	Host       string `json:"host"`
	Origin     string `json:"origin"` // live, or simulated and the seed
	Since      int64  `json:"since"`  // of State, in Unix milliseconds
	LastEvent  int64  `json:"last_event"`
	LastError  string `json:"last_error"`
	Reconnects int64  `json:"reconnects"`
	// Trouble says what keeps events from being stored or counted at present, with
	// the way out; empty for nothing. TroubleSince is in Unix milliseconds, 0: unknown.
	Trouble      string `json:"trouble"`
	TroubleSince int64  `json:"trouble_since"`
	Queue        *Queue `json:"queue"`
	Duplicates   int64  `json:"duplicates"`
	// TooOld counts what upstream sent again unasked and that was too old to be compared with the topics.
	TooOld  int64 `json:"too_old"`
	Gaps    int64 `json:"gaps"`
	Rejects int64 `json:"rejects"`
	Skipped int64 `json:"skipped"`
	// Latency is from an event's arrival at the socket to its commit, EndToEnd from
	// there to Redis's answer that it is counted, Sink a call that counts: each of
	// the last seconds, nil where this process measured none.
	Latency  *Latency `json:"latency_ms"`
	EndToEnd *Latency `json:"end_to_end_ms"`
	Sink     *Latency `json:"sink_ms"`
	// Measured is what Latency, EndToEnd and Sink are taken from.
	Measured Measured `json:"-"`
	// Members are weir's own counters in this process.
	Members int `json:"members"`
}

// Queue is the bounded queue between the socket and Kafka.
type Queue struct {
	Events    int   `json:"events"`
	MaxEvents int   `json:"max_events"`
	Bytes     int64 `json:"bytes"`
	MaxBytes  int64 `json:"max_bytes"`
	BlockedMS int64 `json:"blocked_ms"` // how long it was full, ever
}

// Measured is what this process has measured of a stream since it started; nil
// where another process does that part.
type Measured struct{ Commit, EndToEnd, Sink *latency.Histogram }

// Latency is about the events of the last seconds, in milliseconds.
type Latency struct {
	P50 float64 `json:"p50"`
	P99 float64 `json:"p99"`
}

// Lane is one partition of a stream's topic.
type Lane struct {
	Partition int32   `json:"partition"`
	Leader    int32   `json:"leader"`
	Start     int64   `json:"start"`
	End       int64   `json:"end"`
	Rate      float64 `json:"rate"` // offsets/s
}

// Topic is one topic, by its name.
type Topic struct {
	Partitions      int `json:"partitions"`
	Replicas        int `json:"replicas"`
	UnderReplicated int `json:"under_replicated"`
	// Messages is the number of offsets retained: markers of transactions count.
	Messages int64   `json:"messages"`
	Bytes    int64   `json:"bytes"`  // -1 where it is unknown
	Rate     float64 `json:"rate"`   // offsets/s
	Oldest   int64   `json:"oldest"` // timestamp of the oldest first record of its partitions, in Unix milliseconds, 0 for none
	// Limit is what keeps it from reaching further back than Oldest.
	Limit    inspect.Limit `json:"limit"`
	Last     int64         `json:"last"` // when the end last moved, in Unix milliseconds, 0 for not since the watch began
	Groups   []string      `json:"groups"`
	Lag      int64         `json:"lag"` // the largest of its groups, finished replays aside
	Internal bool          `json:"internal"`
	Error    string        `json:"error"`
}

// Group is one consumer group, by its name.
type Group struct {
	Type       string   `json:"type"`
	State      string   `json:"state"`
	Protocol   string   `json:"protocol"`
	Members    int      `json:"members"`
	Topics     []string `json:"topics"`
	Lag        int64    `json:"lag"` // -1: unknown
	LagSeconds *float64 `json:"lag_seconds"`
	// Rate is offsets/s consumed, Trend offsets/s by which the lag grows.
	Rate  float64 `json:"rate"`
	Trend float64 `json:"trend"`
	// ETASeconds is when it will have caught up at this pace; nil: never, or nothing to catch up with.
	ETASeconds  *float64                     `json:"eta_seconds"`
	Positions   map[string]map[string]int64  `json:"positions"`   // by topic and partition
	Assignments map[string]map[string]string `json:"assignments"` // member by topic and partition
	// Rebalances is how often its members or their partitions were seen to change.
	Rebalances int64  `json:"rebalances"`
	Error      string `json:"error"`
}

// Kinds of log entries. Those that are drawn as marks on charts are all but Info.
const (
	LogRebalance = "rebalance"
	LogLeader    = "leader"
	LogBroker    = "broker"
	LogReconnect = "reconnect"
	LogGap       = "gap"
	LogTopic     = "topic"
	LogError     = "error"
	LogLab       = "lab"
	LogInfo      = "info"
)

// Entry is one line of the log.
type Entry struct {
	ID     int64  `json:"id"`   // dense, from 1
	Time   int64  `json:"time"` // Unix milliseconds
	Kind   string `json:"kind"`
	Text   string `json:"text"`
	Stream string `json:"stream,omitempty"`
	Topic  string `json:"topic,omitempty"`
	Group  string `json:"group,omitempty"`
	Broker string `json:"broker,omitempty"`
}

// Millis is a time in Unix milliseconds; 0 for the zero time.
func Millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}
