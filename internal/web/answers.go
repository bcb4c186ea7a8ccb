package web

import (
	"github.com/weir-project/weir/internal/inspect"
	"github.com/weir-project/weir/internal/watch"
)

// how says by which command and which Kafka requests the same is done.
type how struct {
	Command  string   `json:"command"`
	Requests []string `json:"requests"`
}

func by(command string, requests ...string) how { return how{command, requests} }

// Difference is one way in which the embedded engine behaves otherwise than Apache
// Kafka. Words between backquotes are Kafka's own.
type Difference struct {
	ID        string `json:"id"`
	Behaviour string `json:"behaviour"`
	Apache    string `json:"apache"`
	Embedded  string `json:"embedded"`
	Learner   string `json:"learner"` // what follows for who learns here
}

// The answers of the operations. What the commands print with -o json is what is
// embedded here, or a list in it.
type (
	topicsAnswer struct {
		inspect.TopicList
		how
	}
	topicAnswer struct {
		inspect.TopicDetail
		how
	}
	groupsAnswer struct {
		inspect.GroupList
		how
	}
	groupAnswer struct {
		inspect.GroupDetail
		// Own are the counters of this process in the group; null where there can be none.
		Own *OwnMembers `json:"own"`
		how
	}
	brokersAnswer struct {
		inspect.BrokerList
		// Changes are what was done to brokers of this weir, the newest first.
		Changes []BrokerChange `json:"changes"`
		// Differences are where this engine behaves otherwise than Apache Kafka.
		Differences []Difference `json:"differences"`
		how
	}
	brokerAnswer struct {
		Broker int32             `json:"broker"`
		Config []inspect.Setting `json:"config"`
		how
	}
	// ChangesAnswer is what was done to brokers, the newest first.
	ChangesAnswer struct {
		Changes []BrokerChange `json:"changes"`
	}
	// ChangeAnswer is how long killing or restarting a broker took.
	ChangeAnswer struct {
		TookMS int64 `json:"took_ms"`
		how
	}
	// ResetAnswer is what a reset changes, or has changed where it was confirmed.
	ResetAnswer struct {
		Plan    inspect.ResetPlan `json:"plan"`
		Applied bool              `json:"applied"`
		how
	}
	// RebalanceAnswer is what a change of members has stopped.
	RebalanceAnswer struct {
		Rebalance
		Text string `json:"text"`
		how
	}
	// ReplayAnswer is what a replay counts again, or has begun to where it was confirmed.
	ReplayAnswer struct {
		Plan    inspect.ReplayPlan `json:"plan"`
		Started bool               `json:"started"`
		how
	}
	// ReplayState is how the last replay of a group stands.
	ReplayState struct {
		Running bool   `json:"running"`
		Into    string `json:"into"`
		Topic   string `json:"topic"`
		// Left and Total are offsets to count again.
		Left  int64        `json:"left"`
		Total int64        `json:"total"`
		Kinds []replayKind `json:"kinds"`
		// Result is the comparison over the same offset range; null before the end.
		Result  *inspect.Comparison `json:"result"`
		Error   string              `json:"error"`
		Started int64               `json:"started"` // Unix milliseconds, 0 for never
		Ended   int64               `json:"ended"`
		how
	}
	// replayKind holds the counts of an event type as they are now: live, and again.
	replayKind struct {
		Kind    string `json:"kind"`
		Counted int64  `json:"counted"`
		Again   int64  `json:"again"`
	}
	messagesAnswer struct {
		Messages []inspect.WireMessage `json:"messages"`
		Scanned  int64                 `json:"scanned"`
		Matched  int64                 `json:"matched"`
		// Cursor leads on to the next page; empty where there is none.
		Cursor string `json:"cursor"`
		Done   bool   `json:"done"`
		// Unread says of partitions that were left out why: their leaders do not answer.
		Unread []string `json:"unread,omitempty"`
		how
	}
	messageAnswer struct {
		inspect.WireMessage
		how
	}
	produceAnswer struct {
		Partition int32 `json:"partition"`
		Offset    int64 `json:"offset"`
		how
	}
	partitionAnswer struct {
		Hash      uint32 `json:"hash"` // murmur2 of the key
		Partition int32  `json:"partition"`
	}
	logAnswer struct {
		Entries []watch.Entry `json:"entries"`
	}
	// verifyAnswer is how a proof stands.
	verifyAnswer struct {
		Running  bool           `json:"running"`
		Progress any            `json:"progress"`
		Report   verifyReported `json:"report"`
		Error    string         `json:"error"`
		Started  int64          `json:"started"` // Unix milliseconds, 0 for never
		Ended    int64          `json:"ended"`
		how
	}
	// verifyReported is the report of internal/verify, which writes itself.
	verifyReported any
	errorAnswer    struct {
		Error string `json:"error"` // cause and way out
		// Code is by what a program knows some errors: no_topic, no_group, group_active, no_operation.
		Code string `json:"code,omitempty"`
	}
)

// describeRequests are the requests that describe a group of a type.
func describeRequests(groupType string) []string {
	switch groupType {
	case inspect.TypeConsumer:
		return []string{"ListGroups", "ConsumerGroupDescribe", "OffsetFetch", "ListOffsets", "Fetch"}
	case inspect.TypeShare:
		return []string{"ListGroups", "ShareGroupDescribe", "DescribeShareGroupOffsets", "ListOffsets"}
	}
	return []string{"ListGroups", "DescribeGroups", "OffsetFetch", "ListOffsets", "Fetch"}
}
