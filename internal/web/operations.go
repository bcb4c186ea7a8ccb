package web

import (
	"net/http"

	"github.com/weir-project/weir/internal/inspect"
	"github.com/weir-project/weir/internal/watch"
)

// route is one operation of the API.
type route struct {
	method, path string
	summary      string
	handle       func(w http.ResponseWriter, r *http.Request) error
	contract     contract
}

// contract is what an operation takes and answers. Body and answer are values of
// the very types that the handlers decode and encode.
type contract struct {
	query    []param
	body     any  // nil for none
	optional bool // the body may be left out
	answer   any  // nil where content is no JSON
	content  string
	event    any // of a stream: what an event's data is
}

// param is a parameter of the query.
type param struct {
	name, about string
	many        bool
}

var messageQuery = []param{
	{"from", "newest (default), oldest, offset or time", false}, {"n", "how many, 1 to 500", false}, {"partition", "only this one", true},
	{"offset", "with from=offset; negative: from the end", false}, {"time", "with from=time: RFC 3339 or Unix milliseconds", false},
	{"text", "in key, value or headers", false}, {"regexp", "in key, value or headers", false}, {"key", "the whole key", false},
	{"header", "NAME=VALUE or NAME", true}, {"path", ".a.b=VALUE in a JSON value", true}, {"isolation", "committed (default) or uncommitted", false},
}

var tailQuery = append([]param{{"rate", "messages per second to show at most, 1 to 100", false}}, messageQuery...)

// groupQuery names a group that the path cannot carry.
var groupQuery = []param{{"group", "the group, whatever the path says: for names like . and .., which clients resolve in a path", false}}

var cursorQuery = append([]param{{"cursor", "of an earlier answer", false}}, messageQuery...)

// operations lists the operations with what they take and answer; openapi.json is made
// from this list.
func (s *Server) operations() []route {
	return []route{
		{"GET", "/api/v1/state", "The live state: cluster, streams, topics, groups", s.state,
			contract{answer: watch.State{}}},
		{"GET", "/api/v1/live", "The live state as Server-Sent Events: snapshot, patch (RFC 7396), log", s.live,
			contract{content: "text/event-stream", event: watch.State{}}},
		{"GET", "/api/v1/history", "An hour of named series, two seconds apart (?series=NAME, repeatable)", s.history,
			contract{query: []param{{"series", "the name of a series", true}}, answer: watch.HistoryAnswer{}}},
		{"GET", "/api/v1/log", "What happened, in plain words (?limit=N)", s.log,
			contract{query: []param{{"limit", "1 to 500", false}}, answer: logAnswer{}}},
		{"POST", "/api/v1/log", "Add a line to the log: what another command of weir does", s.note,
			contract{body: NoteRequest{}, answer: logAnswer{}}},
		{"GET", "/api/v1/topics", "All topics", s.topics,
			contract{answer: topicsAnswer{}}},
		{"GET", "/api/v1/topics/{topic}", "One topic: partitions, configuration, groups", s.topic,
			contract{query: []param{{"groups", "none leaves out the groups, which in a large cluster take longest", false}}, answer: topicAnswer{}}},
		{"GET", "/api/v1/topics/{topic}/messages", "Messages (?from=newest|oldest|offset|time&n=&partition=&offset=&time=&text=&key=&header=&path=&isolation=&cursor=)", s.messages,
			contract{query: cursorQuery, answer: messagesAnswer{}}},
		{"GET", "/api/v1/topics/{topic}/messages.jsonl", "The same messages as JSON lines to keep", s.download,
			contract{query: cursorQuery, content: "application/jsonl", event: inspect.WireMessage{}}},
		{"GET", "/api/v1/topics/{topic}/messages/{partition}/{offset}", "One message", s.message,
			contract{answer: messageAnswer{}}},
		{"GET", "/api/v1/topics/{topic}/messages/{partition}/{offset}/value", "One message's value, its bytes as they are", s.value,
			contract{content: "application/octet-stream"}},
		{"GET", "/api/v1/topics/{topic}/tail", "New messages as Server-Sent Events, sampled at high rates", s.tail,
			contract{query: tailQuery, content: "text/event-stream", event: tailBatch{}}},
		{"POST", "/api/v1/topics/{topic}/messages", "Write one record: key, value, headers, partition", s.produce,
			contract{body: produceRequest{}, answer: produceAnswer{}}},
		{"GET", "/api/v1/topics/{topic}/partition", "The partition that a key chooses (?key=)", s.partition,
			contract{query: []param{{"key", "the key", false}}, answer: partitionAnswer{}}},
		{"GET", "/api/v1/groups", "All consumer groups with their lag", s.groups,
			contract{answer: groupsAnswer{}}},
		{"GET", "/api/v1/groups/{group}", "One group: members, positions", s.group,
			contract{query: groupQuery, answer: groupAnswer{}}},
		{"POST", "/api/v1/groups/{group}/reset", "Plan a reset; carry it out when confirm is the group's name", s.reset,
			contract{query: groupQuery, body: ResetRequest{}, answer: ResetAnswer{}}},
		{"GET", "/api/v1/groups/{group}/replay", "The state of a group's last replay", s.replayState,
			contract{query: groupQuery, answer: ReplayState{}}},
		{"POST", "/api/v1/groups/{group}/replay", "Plan a replay; begin it when confirm is the group's name", s.replay,
			contract{query: groupQuery, body: ReplayRequest{}, answer: ReplayAnswer{}}},
		{"POST", "/api/v1/groups/{group}/members/add", "Start one more counter of this weir in a group", s.memberAdd,
			contract{query: groupQuery, answer: RebalanceAnswer{}}},
		{"POST", "/api/v1/groups/{group}/members/remove", "Stop one of this weir's counters in a group", s.memberRemove,
			contract{query: groupQuery, answer: RebalanceAnswer{}}},
		{"GET", "/api/v1/brokers", "All brokers", s.brokers,
			contract{answer: brokersAnswer{}}},
		{"GET", "/api/v1/brokers/changes", "Kills and restarts of brokers, and how long producers waited", s.brokerChanges,
			contract{answer: ChangesAnswer{}}},
		{"GET", "/api/v1/brokers/{broker}", "One broker's configuration", s.broker,
			contract{answer: brokerAnswer{}}},
		{"POST", "/api/v1/brokers/{broker}/kill", "Kill a broker that weir runs", s.kill,
			contract{body: KillRequest{}, optional: true, answer: ChangeAnswer{}}},
		{"POST", "/api/v1/brokers/{broker}/restart", "Restart a broker that weir runs", s.restart,
			contract{answer: ChangeAnswer{}}},
		{"GET", "/api/v1/verify", "The state of the last verification, and its report", s.verifyState,
			contract{answer: verifyAnswer{}}},
		{"POST", "/api/v1/verify", "Start a verification", s.verifyRun,
			contract{answer: verifyAnswer{}}},
		{"GET", "/api/v1/labs", "The labs with their settings, which one runs, and the kept reports", s.labs,
			contract{answer: labsAnswer{}}},
		{"GET", "/api/v1/labs/live", "The lab that runs, or ran last, as Server-Sent Events: its picture, then updates", s.labLive,
			contract{content: "text/event-stream", event: labCourse{}}},
		{"POST", "/api/v1/labs/{lab}/start", "Run a lab in a process of its own", s.labStart,
			contract{body: labStart{}, answer: labStarted{}}},
		{"POST", "/api/v1/labs/stop", "Stop the lab that runs: nothing of it is kept", s.labStop,
			contract{answer: labStarted{}}},
		{"POST", "/api/v1/labs/set", "Change a setting that the lab offers while it runs", s.labSet,
			contract{body: labSet{}, answer: labStarted{}}},
		{"GET", "/api/v1/labs/reports/{report}", "A kept report", s.labReport,
			contract{answer: reportAnswer{}}},
		{"GET", "/api/v1/labs/reports/{report}/plot.svg", "Its plot", s.labPlot,
			contract{content: "image/svg+xml"}},
		{"GET", "/api/v1/labs/compare", "Two reports of one lab side by side (?a=&b=)", s.labCompare,
			contract{query: []param{{"a", "the name of a report", false}, {"b", "the name of another", false}}, answer: compareAnswer{}}},
		{"GET", "/api/v1/openapi.json", "This list as an OpenAPI document", s.openAPI,
			contract{answer: map[string]any{}}},
	}
}
