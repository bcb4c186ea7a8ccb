package web

import (
	"net/http"
	"reflect"
	"regexp"
	"strings"
)

var pathParameter = regexp.MustCompile(`\{([a-z]+)\}`)

// openAPI describes the operations. It is made from the very list that they are
// served from, and of the very types that they answer with.
func (s *Server) openAPI(w http.ResponseWriter, _ *http.Request) error {
	types := schemas{}
	failed := object{"description": "cause and way out", "content": object{"application/json": object{"schema": types.of(reflect.TypeFor[errorAnswer]())}}}
	paths := map[string]object{}
	for _, r := range s.routes {
		c := r.contract
		op := object{"summary": r.summary, "parameters": parameters(r.path, c.query),
			"responses": object{"200": object{"description": "as the summary says", "content": content(types, c)}, "default": failed}}
		if c.body != nil {
			op["requestBody"] = object{"required": !c.optional, "content": object{"application/json": object{"schema": types.of(reflect.TypeOf(c.body))}}}
		}
		if paths[r.path] == nil {
			paths[r.path] = object{}
		}
		paths[r.path][strings.ToLower(r.method)] = op
	}
	writeJSON(w, http.StatusOK, object{
		"openapi":    "3.1.0",
		"info":       object{"title": "weir", "version": "1", "description": "What weir's own pages are made of; the commands print the same structures with -o json."},
		"paths":      paths,
		"components": object{"schemas": types},
	})
	return nil
}

func parameters(path string, query []param) []object {
	out := []object{}
	for _, m := range pathParameter.FindAllStringSubmatch(path, -1) {
		out = append(out, object{"name": m[1], "in": "path", "required": true, "schema": object{"type": "string"}})
	}
	for _, p := range query {
		schema := object{"type": "string"}
		if p.many {
			schema = object{"type": "array", "items": schema}
		}
		out = append(out, object{"name": p.name, "in": "query", "description": p.about, "schema": schema})
	}
	return out
}

// content describes what an operation answers with; of a stream, an event's data.
func content(types schemas, c contract) object {
	switch {
	case c.content == "":
		return object{"application/json": object{"schema": types.of(reflect.TypeOf(c.answer))}}
	case c.event != nil:
		return object{c.content: object{"itemSchema": types.of(reflect.TypeOf(c.event))}}
	}
	return object{c.content: object{"schema": object{"type": "string", "format": "binary"}}}
}
