package web

import (
	"reflect"

	"github.com/weir-project/weir/internal/inspect"
	"github.com/weir-project/weir/internal/watch"
)

var messageQuery = []param{
	{"from", "newest (default), oldest, offset or time", false}, {"n", "how many, 1 to 500", false}, {"partition", "only this one", true},
	{"offset", "with from=offset; negative: from the end", false}, {"time", "with from=time: RFC 3339 or Unix milliseconds", false},
	{"text", "in key, value or headers", false}, {"regexp", "in key, value or headers", false}, {"key", "the whole key", false},
	{"header", "NAME=VALUE or NAME", true}, {"path", ".a.b=VALUE in a JSON value", true}, {"isolation", "committed (default) or uncommitted", false},
}

var (
	tailQuery   = append([]param{{"rate", "messages per second to show at most, 1 to 100", false}}, messageQuery...)
	cursorQuery = append([]param{{"cursor", "of an earlier answer", false}}, messageQuery...)
	// groupQuery names a group that the path cannot carry.
	groupQuery = []param{{"group", "the group, whatever the path says: for names like . and .., which clients resolve in a path", false}}
)

// operations lists the operations with what they take and answer; openapi.json is made
// from this list.
func (s *Server) operations() []route {
	routes := []route{
		{"GET", "/state", "The live state: cluster, streams, topics, groups",
			endpoint{handle: s.state, answer: reflect.TypeFor[watch.State]()}, nil},
		{"GET", "/live", "The live state as Server-Sent Events: snapshot, patch (RFC 7396), log", streams[watch.State](s.live), nil},
		{"GET", "/history", "An hour of named series, two seconds apart (?series=NAME, repeatable)", answers(s.history),
			[]param{{"series", "the name of a series", true}}},
		{"GET", "/log", "What happened, in plain words (?limit=N)", answers(s.log), []param{{"limit", "1 to 500", false}}},
		{"POST", "/log", "Add a line to the log: what another command of weir does", takes(false, s.note), nil},
		{"GET", "/topics", "All topics", answers(s.topics), nil},
		{"GET", "/topics/{topic}", "One topic: partitions, configuration, groups", answers(s.topic),
			[]param{{"groups", "none leaves out the groups, which in a large cluster take longest", false}}},
		{"GET", "/topics/{topic}/activity", "One topic: messages by hour, size by partition, producers, open transactions", answers(s.activity), nil},
		{"GET", "/topics/{topic}/messages", "Messages (?from=newest|oldest|offset|time&n=&partition=&offset=&time=&text=&key=&header=&path=&isolation=&cursor=)",
			answers(s.messages), cursorQuery},
		{"GET", "/topics/{topic}/messages.jsonl", "The same messages as JSON lines to keep",
			endpoint{handle: s.download, content: "application/jsonl", answer: reflect.TypeFor[inspect.WireMessage]()}, cursorQuery},
		{"GET", "/topics/{topic}/messages/{partition}/{offset}", "One message", answers(s.message), nil},
		{"GET", "/topics/{topic}/messages/{partition}/{offset}/value", "One message's value, its bytes as they are",
			endpoint{handle: s.value, content: "application/octet-stream"}, nil},
		{"GET", "/topics/{topic}/tail", "New messages as Server-Sent Events, sampled at high rates", streams[tailBatch](s.tail), tailQuery},
		{"POST", "/topics/{topic}/messages", "Write a record (key, value, headers, partition), a message once more (again), or many of a template (count, rate)",
			takes(false, s.produce), nil},
		{"GET", "/topics/{topic}/partition", "The partition that a key chooses (?key=)", answers(s.partition), []param{{"key", "the key", false}}},
		{"POST", "/topics", "Create a topic", takes(false, s.createTopic), nil},
		{"POST", "/topics/{topic}/alter", "Set settings, or return them to their defaults", takes(false, s.alterTopic), nil},
		{"POST", "/topics/{topic}/partitions", "Plan more partitions; add them when confirmed", takes(false, s.addPartitions), nil},
		{"POST", "/topics/{topic}/truncate", "Plan to delete the oldest messages; do it when confirmed", takes(false, s.truncate), nil},
		{"POST", "/topics/{topic}/delete", "Plan to delete a topic; do it when confirm is its name", takes(false, s.deleteTopic), nil},
		{"GET", "/topic-settings", "The settings that topics often have, in words", answers(s.topicSettings),
			[]param{{"all", "true for all settings", false}}},
		{"GET", "/groups", "All consumer groups with their lag", answers(s.groups), nil},
		{"GET", "/groups/{group}", "One group: members, committed offsets", answers(s.group), groupQuery},
		{"POST", "/groups/{group}/reset", "Plan a reset; carry it out when confirm is the group's name", takes(false, s.reset), groupQuery},
		{"POST", "/groups/{group}/import", "Plan an import of offsets; carry it out when confirm is the group's name", takes(false, s.importOffsets), groupQuery},
		{"POST", "/groups/{group}/delete", "Plan the deletion of a group; delete it when confirm is its name", takes(false, s.deleteGroup), groupQuery},
		{"POST", "/groups/{group}/delete-offsets", "Plan the deletion of a topic's committed offsets; delete them when confirm is the group's name",
			takes(false, s.deleteOffsets), groupQuery},
		{"GET", "/groups/{group}/replay", "The state of a group's last replay", answers(s.replayState), groupQuery},
		{"POST", "/groups/{group}/replay", "Plan a replay; begin it when confirm is the group's name", takes(false, s.replay), groupQuery},
		{"POST", "/groups/{group}/members/add", "Start one more counter of this weir in a group", answers(s.memberAdd), groupQuery},
		{"POST", "/groups/{group}/members/remove", "Stop one of this weir's counters in a group", answers(s.memberRemove), groupQuery},
		{"GET", "/brokers", "All brokers", answers(s.brokers), nil},
		{"GET", "/brokers/changes", "Kills and restarts of brokers, and how long producers waited", answers(s.brokerChanges), nil},
		{"GET", "/brokers/{broker}", "One broker's configuration", answers(s.broker), nil},
		{"POST", "/brokers/{broker}/kill", "Kill a broker that weir runs", takes(true, s.kill), nil},
		{"POST", "/brokers/{broker}/restart", "Restart a broker that weir runs", answers(s.restart), nil},
		{"GET", "/verify", "The state of the last verification, and its report", answers(s.verifyState), nil},
		{"POST", "/verify", "Start a verification", answers(s.verifyRun), nil},
		{"GET", "/labs", "The labs with their settings, which one runs, and the kept reports", answers(s.labs), nil},
		{"GET", "/labs/live", "The lab that runs, or ran last, as Server-Sent Events: its picture, then updates", streams[labCourse](s.labLive), nil},
		{"POST", "/labs/{lab}/start", "Run a lab in a process of its own", takes(false, s.labStart), nil},
		{"POST", "/labs/stop", "Stop the lab that runs: nothing of it is kept", answers(s.labStop), nil},
		{"POST", "/labs/set", "Change a setting that the lab offers while it runs", takes(false, s.labSet), nil},
		{"GET", "/labs/reports/{report}", "A kept report", answers(s.labReport), nil},
		{"GET", "/labs/reports/{report}/plot.svg", "Its plot", endpoint{handle: s.labPlot, content: "image/svg+xml"}, nil},
		{"GET", "/labs/compare", "Two reports of one lab side by side (?a=&b=)", answers(s.labCompare),
			[]param{{"a", "the name of a report", false}, {"b", "the name of another", false}}},
		{"GET", "/learn", "The stations to learn with, and the learner's progress", answers(s.learnList), nil},
		{"GET", "/learn/{station}", "One station, by its number or name: text, question, task, picture, check", answers(s.learnStation), nil},
		{"POST", "/learn/{station}/answer", "Answer the question of a station", looking(takes(false, s.learnAnswer)), nil},
		{"POST", "/learn/{station}/check", "Look whether the task of a station is done", looking(answers(s.learnCheck)), nil},
		{"POST", "/learn/reset", "Start a station over, or all of them", takes(false, s.learnReset), nil},
		{"GET", "/docs", "The documents in reading order", answers(s.docsPages), nil},
		{"GET", "/docs/page", "One document as nodes (?path=)", answers(s.docsPage), []param{{"path", "of the list; empty for the start page", false}}},
		{"GET", "/docs/search", "The sections of documents that contain every word (?q=)", answers(s.docsSearch), []param{{"q", "words", false}}},
		{"GET", "/terms", "The terms of the glossary", answers(s.terms), nil},
		{"GET", "/exercises", "The exercises, each with its last verdict", answers(s.exercises), nil},
		{"GET", "/exercises/{name}", "An exercise: its instructions and its last report", answers(s.exercise), nil},
		{"GET", "/exercises/{name}/starter.zip", "A starter program (?lang=python|go)", endpoint{handle: s.starter, content: "application/zip"},
			[]param{{"lang", "python (default) or go", false}}},
		{"GET", "/openapi.json", "This list as an OpenAPI document", answers(s.openAPI), nil},
	}
	for i := range routes {
		routes[i].path = "/api/v1" + routes[i].path
	}
	return routes
}
