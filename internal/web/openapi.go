package web

import (
	"net/http"
	"regexp"
	"strings"
)

var pathParameter = regexp.MustCompile(`\{([a-z]+)\}`)

// openAPI describes the operations. It is made from the very list that they are
// served from, so it names no operation that is not there, and none is missing.
func (s *Server) openAPI(w http.ResponseWriter, _ *http.Request) error {
	paths := map[string]map[string]any{}
	for _, r := range s.routes {
		parameters := []any{}
		for _, m := range pathParameter.FindAllStringSubmatch(r.path, -1) {
			parameters = append(parameters, map[string]any{"name": m[1], "in": "path", "required": true, "schema": map[string]string{"type": "string"}})
		}
		content := "application/json"
		if strings.HasSuffix(r.path, "/live") || strings.HasSuffix(r.path, "/tail") {
			content = "text/event-stream"
		}
		op := map[string]any{
			"summary": r.summary, "parameters": parameters,
			"responses": map[string]any{
				"200":     map[string]any{"description": "as the summary says", "content": map[string]any{content: map[string]any{}}},
				"default": map[string]any{"description": "cause and way out", "content": map[string]any{"application/json": map[string]any{"schema": map[string]any{"$ref": "#/components/schemas/Error"}}}},
			},
		}
		if paths[r.path] == nil {
			paths[r.path] = map[string]any{}
		}
		paths[r.path][strings.ToLower(r.method)] = op
	}
	writeJSON(w, http.StatusOK, map[string]any{
		"openapi": "3.1.0",
		"info":    map[string]any{"title": "weir", "version": "1", "description": "What weir's own pages are made of."},
		"paths":   paths,
		"components": map[string]any{"schemas": map[string]any{
			"Error": map[string]any{"type": "object", "required": []string{"error"}, "properties": map[string]any{"error": map[string]any{"type": "string"}}},
		}},
	})
	return nil
}
