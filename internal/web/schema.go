package web

import (
	"reflect"
	"strings"
	"time"

	"github.com/weir-project/weir/internal/inspect"
	"github.com/weir-project/weir/internal/watch"
)

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

// contracts are by method and path what api lists.
var contracts = map[string]contract{
	"GET /api/v1/state":                                              {answer: watch.State{}},
	"GET /api/v1/live":                                               {content: "text/event-stream", event: watch.State{}},
	"GET /api/v1/history":                                            {query: []param{{"series", "the name of a series", true}}, answer: watch.HistoryAnswer{}},
	"GET /api/v1/log":                                                {query: []param{{"limit", "1 to 500", false}}, answer: logAnswer{}},
	"GET /api/v1/topics":                                             {answer: topicsAnswer{}},
	"GET /api/v1/topics/{topic}":                                     {query: []param{{"groups", "none leaves out the groups, which in a large cluster take longest", false}}, answer: topicAnswer{}},
	"GET /api/v1/topics/{topic}/messages":                            {query: cursorQuery, answer: messagesAnswer{}},
	"GET /api/v1/topics/{topic}/messages.jsonl":                      {query: cursorQuery, content: "application/jsonl", event: inspect.WireMessage{}},
	"GET /api/v1/topics/{topic}/messages/{partition}/{offset}":       {answer: messageAnswer{}},
	"GET /api/v1/topics/{topic}/messages/{partition}/{offset}/value": {content: "application/octet-stream"},
	"GET /api/v1/topics/{topic}/tail":                                {query: tailQuery, content: "text/event-stream", event: tailBatch{}},
	"POST /api/v1/topics/{topic}/messages":                           {body: produceRequest{}, answer: produceAnswer{}},
	"GET /api/v1/topics/{topic}/partition":                           {query: []param{{"key", "the key", false}}, answer: partitionAnswer{}},
	"GET /api/v1/groups":                                             {answer: groupsAnswer{}},
	"GET /api/v1/groups/{group}":                                     {query: groupQuery, answer: groupAnswer{}},
	"POST /api/v1/groups/{group}/reset":                              {query: groupQuery, body: ResetRequest{}, answer: ResetAnswer{}},
	"GET /api/v1/groups/{group}/replay":                              {query: groupQuery, answer: ReplayState{}},
	"POST /api/v1/groups/{group}/replay":                             {query: groupQuery, body: ReplayRequest{}, answer: ReplayAnswer{}},
	"POST /api/v1/groups/{group}/members/add":                        {query: groupQuery, answer: RebalanceAnswer{}},
	"POST /api/v1/groups/{group}/members/remove":                     {query: groupQuery, answer: RebalanceAnswer{}},
	"GET /api/v1/brokers":                                            {answer: brokersAnswer{}},
	"GET /api/v1/brokers/changes":                                    {answer: ChangesAnswer{}},
	"POST /api/v1/log":                                               {body: NoteRequest{}, answer: logAnswer{}},
	"GET /api/v1/brokers/{broker}":                                   {answer: brokerAnswer{}},
	"POST /api/v1/brokers/{broker}/kill":                             {body: KillRequest{}, optional: true, answer: ChangeAnswer{}},
	"POST /api/v1/brokers/{broker}/restart":                          {answer: ChangeAnswer{}},
	"GET /api/v1/verify":                                             {answer: verifyAnswer{}},
	"POST /api/v1/verify":                                            {answer: verifyAnswer{}},
	"GET /api/v1/labs":                                               {answer: labsAnswer{}},
	"GET /api/v1/labs/live":                                          {content: "text/event-stream", event: labCourse{}},
	"POST /api/v1/labs/{lab}/start":                                  {body: labStart{}, answer: labStarted{}},
	"POST /api/v1/labs/stop":                                         {answer: labStarted{}},
	"POST /api/v1/labs/set":                                          {body: labSet{}, answer: labStarted{}},
	"GET /api/v1/labs/reports/{report}":                              {answer: reportAnswer{}},
	"GET /api/v1/labs/reports/{report}/plot.svg":                     {content: "image/svg+xml"},
	"GET /api/v1/labs/compare":                                       {query: []param{{"a", "the name of a report", false}, {"b", "the name of another", false}}, answer: compareAnswer{}},
	"GET /api/v1/openapi.json":                                       {answer: map[string]any{}},
}

// object is a piece of a JSON schema.
type object = map[string]any

// schemas collects the named types of a document.
type schemas map[string]object

// verifySchema describes what internal/verify writes: its report encodes itself,
// and this package shares no code with the proof.
func (s schemas) verifyReport() object {
	whole, text := object{"type": "integer"}, object{"type": "string"}
	texts := object{"type": "array", "items": text}
	source := object{"ok": object{"type": "boolean"}, "notes": texts,
		"dead_letter_reasons": object{"type": "object", "additionalProperties": whole},
		"problems": object{"type": "array", "items": closed(object{"what": text, "topic": text, "partition": whole, "offset": whole, "text": text},
			"what", "partition", "offset", "text")}}
	required := []string{"ok"}
	for _, n := range []string{"events", "foreign", "lost", "doubled", "miscounted", "gaps", "dead_letters", "disordered", "faults", "trimmed", "unverifiable", "uncounted"} {
		source[n] = whole
		required = append(required, n)
	}
	s["VerifySource"] = closed(source, required...)
	s["VerifyReport"] = object{"type": []string{"object", "null"}, "required": []string{"ok", "scanned", "seconds"},
		"properties":           object{"ok": object{"type": "boolean"}, "scanned": whole, "seconds": object{"type": "number"}, "notes": texts},
		"additionalProperties": object{"$ref": "#/components/schemas/VerifySource"}}
	return object{"$ref": "#/components/schemas/VerifyReport"}
}

// closed is an object of these members and no others.
func closed(properties object, required ...string) object {
	return object{"type": "object", "properties": properties, "required": required, "additionalProperties": false}
}

// of returns the schema of what encoding/json makes of a type.
func (s schemas) of(t reflect.Type) object {
	switch t {
	case reflect.TypeFor[time.Time]():
		return object{"type": "string", "format": "date-time"}
	case reflect.TypeFor[verifyReported]():
		return s.verifyReport()
	}
	switch t.Kind() {
	case reflect.Bool:
		return object{"type": "boolean"}
	case reflect.String:
		return object{"type": "string"}
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return object{"type": "integer"}
	case reflect.Float32, reflect.Float64:
		return object{"type": "number"}
	case reflect.Pointer:
		return orNull(s.of(t.Elem()))
	case reflect.Slice, reflect.Array:
		return object{"type": "array", "items": s.of(t.Elem())}
	case reflect.Map:
		return object{"type": "object", "additionalProperties": s.of(t.Elem())}
	case reflect.Struct:
		return s.named(t)
	}
	return object{} // anything
}

func orNull(of object) object {
	if t, ok := of["type"].(string); ok {
		out := object{}
		for k, v := range of {
			out[k] = v
		}
		out["type"] = []string{t, "null"}
		return out
	}
	return object{"anyOf": []object{of, {"type": "null"}}}
}

// named describes a struct once and refers to it. Members that may be left out are
// those that their tag lets be; any others there are none.
func (s schemas) named(t reflect.Type) object {
	name := t.Name()
	if name == "" {
		properties, required := s.members(t)
		return closed(properties, required...)
	}
	name = strings.ToUpper(name[:1]) + name[1:]
	if pkg := t.PkgPath(); strings.HasSuffix(pkg, "/watch") && !strings.HasPrefix(name, "Live") {
		name = "Live" + name // watch and inspect both have a Topic, a Group and a Broker
	}
	if strings.HasSuffix(t.PkgPath(), "/record") {
		name = "Lab" + name // record and inspect both have a Difference
	}
	if s[name] == nil {
		s[name] = object{} // while it is made: a type can hold itself
		properties, required := s.members(t)
		s[name] = closed(properties, required...)
	}
	return object{"$ref": "#/components/schemas/" + name}
}

func (s schemas) members(t reflect.Type) (properties object, required []string) {
	properties, required = object{}, []string{}
	for f := range t.Fields() {
		tag := f.Tag.Get("json")
		name, options, _ := strings.Cut(tag, ",")
		if f.Anonymous && name == "" && f.Type.Kind() == reflect.Struct {
			p, r := s.members(f.Type)
			for k, v := range p {
				properties[k] = v
			}
			required = append(required, r...)
			continue
		}
		if !f.IsExported() || tag == "-" {
			continue
		}
		if name == "" {
			name = f.Name
		}
		properties[name] = s.of(f.Type)
		if !strings.Contains(options, "omitempty") && !strings.Contains(options, "omitzero") {
			required = append(required, name)
		}
	}
	return properties, required
}
