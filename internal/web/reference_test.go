package web

import (
	"flag"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/weir-project/weir/docs/doctest"
)

var update = flag.Bool("update", false, "rewrite the reference of the API")

const apiHead = `# HTTP API

The web UI and the commands of weir use this API. It is served below ` + "`/api/v1`" + ` of the web UI, and on
the control socket in the data directory. ` + "`-o json`" + ` of a command prints the same structures.

- ` + "`/api/v1/openapi.json`" + ` of a running weir describes every operation with its types.
- An error is ` + "`{\"error\": \"cause: what to do\"}`" + `. Some errors also have a ` + "`code`" + ` that a program can
  compare: ` + "`no_topic`, `no_group`, `group_active`, `topic_exists`, `protected`, `read_only`" + `.
- Changes that cannot be undone are planned first: without ` + "`confirm`" + ` the answer is the plan, and
  with ` + "`confirm`" + ` set to the name weir carries it out.
- With a token, send ` + "`Authorization: Bearer TOKEN`" + `. With ` + "`--read-only`" + ` weir accepts GET,
  and POST for answers and checks of the stations.

<!-- generated: go test ./internal/web -run TestReference -update -->

`

// TestReference: the reference lists every operation, with what it takes.
func TestReference(t *testing.T) {
	s := &Server{}
	s.routes = s.operations()
	doc, err := s.openAPI(nil)
	if err != nil {
		t.Fatal(err)
	}
	schemas, _ := doc["components"].(object)["schemas"].(schemas)
	var b strings.Builder
	b.WriteString(apiHead + doctest.Row("operation", "what it does", "query", "body") + doctest.Row("---", "---", "---", "---"))
	for _, r := range s.routes {
		var query []string
		for _, p := range r.query {
			query = append(query, fmt.Sprintf("`%s`: %s", p.name, p.about))
		}
		body := ""
		if r.body != nil {
			fields, _ := schemas.of(r.body)["$ref"].(string)
			of, _ := schemas[strings.TrimPrefix(fields, "#/components/schemas/")]["properties"].(object)
			var names []string
			for name := range of {
				names = append(names, doctest.Code(name))
			}
			slices.Sort(names)
			body = strings.Join(names, ", ")
			if body == "" && !r.optional {
				t.Errorf("%s %s takes a body without members", r.method, r.path)
			}
		}
		about, _, _ := strings.Cut(r.summary, " (?")
		b.WriteString(doctest.Row(doctest.Code(r.method+" "+strings.TrimPrefix(r.path, "/api/v1")), about, strings.Join(query, "; "), body))
	}
	doctest.Page(t, "../../docs", "reference/api.md", b.String(), *update)
}
