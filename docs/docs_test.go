package docs

import (
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/weir-project/weir/internal/markdown"
)

var update = flag.Bool("update", false, "rewrite the list of documents")

// TestEveryPageIsListed: the start page names each document, in reading order.
func TestEveryPageIsListed(t *testing.T) {
	var b strings.Builder
	part := ""
	for _, p := range Pages() {
		if p.Title == "" {
			t.Errorf("%s.md does not begin with a title", p.Path)
		}
		if p.Path == Start {
			continue
		}
		if p.Part != part {
			part = p.Part
			fmt.Fprintf(&b, "\n## %s\n\n", part)
		}
		fmt.Fprintf(&b, "- [%s](%s.md)\n", p.Title, p.Path)
	}
	const begin = "<!-- pages: go test ./docs -update -->\n"
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	head, _, ok := strings.Cut(string(text), begin)
	if !ok {
		t.Fatalf("README.md lacks the line %q", begin)
	}
	want := head + begin + b.String()
	if *update {
		if err := os.WriteFile("README.md", []byte(want), 0o600); err != nil {
			t.Fatal(err)
		}
	} else if string(text) != want {
		t.Error("docs/README.md does not list the documents that exist; go test ./docs -update rewrites it")
	}
}

// TestPagesAreServed: every document is found by its path, and its links lead to pages of the web UI.
func TestPagesAreServed(t *testing.T) {
	files := 0
	err := fs.WalkDir(Files, ".", func(name string, d fs.DirEntry, err error) error {
		page, ok := strings.CutSuffix(name, ".md")
		if err != nil || d.IsDir() || !ok {
			return err
		}
		files++
		got, err := Read(page)
		if err != nil || len(got.Body) == 0 {
			t.Errorf("%s: %v, %d nodes", name, err, len(got.Body))
		}
		if !slices.ContainsFunc(Pages(), func(p Page) bool { return p.Path == page }) {
			t.Errorf("%s is not in the list", name)
		}
		eachLink(got.Body, func(href string) {
			if strings.Contains(href, ".md") && !strings.HasPrefix(href, "https://") {
				t.Errorf("%s links to %s, which is not a path of the web UI", name, href)
			}
		})
		return nil
	})
	if err != nil || files < 8 || files != len(Pages()) {
		t.Errorf("%d files, %d pages, %v", files, len(Pages()), err)
	}
	for _, name := range []string{"../README", "labs", "labs/no-such", "docs.go", "reference/../labs/replay"} {
		if d, err := Read(name); !errors.Is(err, ErrNoPage) {
			t.Errorf("Read(%q) = %q, %v", name, d.Title, err)
		}
	}
	if d, err := Read("/labs/replay.md"); err != nil || d.Title != "Lab: replay" || d.Part != "Labs" {
		t.Errorf("with .md: %+v %v", d.Page, err)
	}
	if d, err := Read(""); err != nil || d.Path != Start || strings.Contains(markdown.Text(d.Body), "<!--") {
		t.Errorf("the start page: %+v %v", d.Page, err)
	}
}

func eachLink(list []markdown.Node, do func(string)) {
	for _, n := range list {
		if n.Href != "" {
			do(n.Href)
		}
		eachLink(n.Children, do)
	}
}

func TestAddresses(t *testing.T) {
	for _, c := range [][3]string{
		{"../labs/replay.md#what-to-watch", "how-to", "/docs/labs/replay#what-to-watch"},
		{"glossary.md", "reference", "/docs/reference/glossary"},
		{"labs/replay.md", ".", "/docs/labs/replay"},
		{"../README.md", "labs", "/docs"},
		{"../README.md", ".", repository + "README.md"},
		{"../../ops/alerts.yml", "how-to", repository + "ops/alerts.yml"},
		{"../screenshots/overview-light.png", "how-to", "/docs/screenshots/overview-light.png"},
		{"#here", "how-to", "#here"},
		{"/learn/5", "how-to", "/learn/5"},
		{"https://kafka.apache.org/", "how-to", "https://kafka.apache.org/"},
	} {
		if got := address(c[0], c[1]); got != c[2] {
			t.Errorf("address(%q, %q) = %q, want %q", c[0], c[1], got, c[2])
		}
	}
}

func TestSearch(t *testing.T) {
	first := func(q string) Hit {
		t.Helper()
		hits := Search(q)
		if len(hits) == 0 {
			t.Fatalf("%q finds nothing", q)
		}
		return hits[0]
	}
	if h := first("high watermark"); h.Path != "reference/glossary" || h.Heading != "High watermark" || h.ID != "high-watermark" {
		t.Errorf("high watermark: %+v", h)
	}
	if h := first("NOT_ENOUGH_REPLICAS failover"); h.Path != "labs/failover" || !strings.Contains(h.Excerpt, "NOT_ENOUGH_REPLICAS") {
		t.Errorf("words of text and title: %+v", h)
	}
	for q, want := range map[string]string{
		"what is lag": "reference/glossary#lag", "What is an offset?": "reference/glossary#offset", "offsets": "reference/glossary#offset",
		"what is a consumer group": "reference/glossary#consumer-group", "rebalance": "reference/glossary#rebalance",
		"how many partitions": "how-to/topics-and-messages#how-many-partitions", "exit codes": "reference/exit-codes#",
		"consumer in python": "how-to/your-own-programs#a-consumer-in-python", "port already in use": "how-to/start-and-stop#a-port-is-already-in-use",
		"start over": "how-to/start-and-stop#start-over", "stop weir": "how-to/start-and-stop#stop-weir", "tls": "how-to/existing-cluster#",
	} {
		if h := first(q); h.Path+"#"+h.ID != want {
			t.Errorf("%q finds %s#%s first, want %s", q, h.Path, h.ID, want)
		}
	}
	for _, q := range []string{"", "   ", "?", "partition nosuchwordanywhere"} {
		if hits := Search(q); len(hits) != 0 {
			t.Errorf("%q finds %+v", q, hits)
		}
	}
	if n := len(Search("the")); n == 0 || n > maxHits {
		t.Errorf("%d hits", n)
	}
	// A letter whose lower case has another length, and words at the end: an excerpt stays within the text.
	s := section{text: strings.Repeat("İ ", 300) + "needle", Hit: Hit{Title: "x"}}
	s.lower = strings.ToLower(s.text)
	if got := s.excerpt([]string{"needle"}); len(got) > excerptLength+10 {
		t.Errorf("an excerpt of %d bytes", len(got))
	}
}

// TestTerms: each entry of the glossary is short and has its station, and no name is explained twice.
func TestTerms(t *testing.T) {
	sentence := regexp.MustCompile(`[.!?](\s|$)`)
	names := map[string]string{}
	last := ""
	for _, x := range Terms() {
		if n := len(sentence.FindAllString(strings.ReplaceAll(x.Text, "such as", ""), -1)); x.Text == "" || n > 3 || len(x.Text) > 260 {
			t.Errorf("%s: %d sentences, %d bytes", x.Term, n, len(x.Text))
		}
		if x.Station < 1 || x.Station > 13 {
			t.Errorf("%s has station %d; the entry ends with *Also: other names. Station N.*", x.Term, x.Station)
		}
		if strings.ToLower(x.Term) < last {
			t.Errorf("%s is out of order", x.Term)
		}
		last = strings.ToLower(x.Term)
		for _, name := range append([]string{x.Term}, x.Also...) {
			key := strings.ToLower(name)
			if before, ok := names[key]; ok {
				t.Errorf("%q is explained by %s and by %s", name, before, x.Term)
			}
			names[key] = x.Term
		}
	}
	for name, of := range map[string]string{"lag": "Lag", "isr": "In-sync replicas (ISR)", "members": "Member", "messages": "Record"} {
		if names[name] != of {
			t.Errorf("%s is explained by %q, want %q", name, names[name], of)
		}
	}
	d, err := Read(glossary)
	if err != nil {
		t.Fatal(err)
	}
	stations := 0
	eachLink(d.Body, func(href string) {
		if strings.HasPrefix(href, "/learn/") {
			stations++
		}
	})
	if stations != len(Terms()) || stations < 60 {
		t.Errorf("%d links to stations in %d entries", stations, len(Terms()))
	}
}
