package web

import (
	"maps"
	"net/http"
	"reflect"
	"regexp"
	"strings"
	"time"
)

var pathParameter = regexp.MustCompile(`\{([a-z]+)\}`)

// object is a piece of a JSON schema.
type object = map[string]any

// openAPI describes the operations. It is made from the very list that they are
// served from, and of the very types that they decode and encode.
func (s *Server) openAPI(*http.Request) (object, error) {
	types := schemas{}
	types.verifyReport(s.cfg.VerifySource)
	failed := object{"description": "cause and way out", "content": object{"application/json": object{"schema": types.of(reflect.TypeFor[errorAnswer]())}}}
	paths := map[string]object{}
	for _, r := range s.routes {
		op := object{"summary": r.summary, "parameters": parameters(r),
			"responses": object{"200": object{"description": "as the summary says", "content": types.content(r.endpoint)}, "default": failed}}
		if r.body != nil {
			op["requestBody"] = object{"required": !r.optional, "content": object{"application/json": object{"schema": types.of(r.body)}}}
		}
		if paths[r.path] == nil {
			paths[r.path] = object{}
		}
		paths[r.path][strings.ToLower(r.method)] = op
	}
	return object{
		"openapi":    "3.1.0",
		"info":       object{"title": "weir", "version": "1", "description": "What weir's own pages are made of; the commands print the same structures with -o json."},
		"paths":      paths,
		"components": object{"schemas": types},
	}, nil
}

func parameters(r route) []object {
	out := []object{}
	for _, m := range pathParameter.FindAllStringSubmatch(r.path, -1) {
		out = append(out, object{"name": m[1], "in": "path", "required": true, "schema": object{"type": "string"}})
	}
	for _, p := range r.query {
		schema := object{"type": "string"}
		if p.many {
			schema = object{"type": "array", "items": schema}
		}
		out = append(out, object{"name": p.name, "in": "query", "description": p.about, "schema": schema})
	}
	return out
}

// schemas collects the named types of a document.
type schemas map[string]object

// content describes the response of an operation; of a stream, an event's data.
func (s schemas) content(e endpoint) object {
	switch {
	case e.content == "":
		return object{"application/json": object{"schema": s.of(e.answer)}}
	case e.answer != nil:
		return object{e.content: object{"itemSchema": s.of(e.answer)}}
	}
	return object{e.content: object{"schema": object{"type": "string", "format": "binary"}}}
}

// verifyReport describes the report of internal/verify, which encodes itself, in the
// document: some members of its own, and by its name what was found of each source.
func (s schemas) verifyReport(source reflect.Type) {
	report := object{"type": []string{"object", "null"}, "required": []string{"ok", "scanned", "seconds"}, "properties": object{
		"ok": object{"type": "boolean"}, "scanned": object{"type": "integer"}, "seconds": object{"type": "number"},
		"notes": object{"type": "array", "items": object{"type": "string"}}}}
	if source != nil {
		report["additionalProperties"] = s.of(source)
	}
	s["VerifyReport"] = report
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
		return object{"$ref": "#/components/schemas/VerifyReport"}
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
		out := maps.Clone(of)
		out["type"] = []string{t, "null"}
		return out
	}
	return object{"anyOf": []object{of, {"type": "null"}}}
}

// named describes a struct once and refers to it. Members that may be left out are
// those whose tag says so. There are no other members.
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
	if strings.HasSuffix(t.PkgPath(), "/docs") {
		name = "Docs" + name
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
			maps.Copy(properties, p)
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
