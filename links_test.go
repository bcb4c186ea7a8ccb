package weir_test

import (
	"io/fs"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/weir-project/weir/internal/markdown"
)

// document is a Markdown file with its anchors and links.
type document struct {
	anchors []string
	links   []string
}

// webPages are paths of the web UI that documents may link to, each with the files that its
// names come from. They do not exist on GitHub, so documents for GitHub avoid them.
var webPages = []struct{ path, files string }{
	{"/docs/", "docs/%.md"}, {"/labs/", "docs/labs/%.md"}, {"/learn/", "internal/learn/stations/*%*.md"}, {"/exercises/", "internal/exercise/texts/%.md"},
}

// TestLinks: every link of every document leads to a file, a heading or a page that exists.
func TestLinks(t *testing.T) {
	all := documents(t)
	if len(all) < 15 || len(all["README.md"].links) < 2 || len(all["docs/reference/commands.md"].anchors) < 40 {
		t.Fatalf("%d documents, %d links of the README: the check would prove nothing", len(all), len(all["README.md"].links))
	}
	checked := 0
	for name, d := range all {
		for _, link := range d.links {
			checked++
			if problem := broken(all, name, link); problem != "" {
				t.Errorf("%s links to %s: %s", name, link, problem)
			}
		}
	}
	t.Logf("%d links in %d documents", checked, len(all))
	for _, c := range []struct{ link, want string }{
		{"docs/labs/no-such.md", "no such file"}, {"docs/labs/replay.md#nothing", "no such heading"}, {"#nothing", "no such heading"},
		{"docs/labs/replay.md#what-to-watch", ""}, {"https://kafka.apache.org/documentation/", ""}, {"http:// broken", "cannot be read"},
		{"/docs/labs/replay", ""}, {"/docs/labs/none", "no such page"}, {"/etc/passwd", "no such page"}, {"../outside.md", "outside the repository"},
	} {
		if got := broken(all, "README.md", c.link); !strings.Contains(got, c.want) || (got == "") != (c.want == "") {
			t.Errorf("%s is judged %q, want %q", c.link, got, c.want)
		}
	}
}

// documents reads all Markdown files of the repository.
func documents(t *testing.T) map[string]document {
	t.Helper()
	all := map[string]document{}
	err := filepath.WalkDir(".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == "node_modules" || d.Name() == "testdata" || d.Name() == ".git"):
			return filepath.SkipDir
		case d.IsDir() || filepath.Ext(name) != ".md":
			return nil
		}
		src, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		var doc document
		collect(markdown.Parse(src), &doc)
		all[filepath.ToSlash(name)] = doc
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func collect(list []markdown.Node, d *document) {
	for _, n := range list {
		if n.ID != "" {
			d.anchors = append(d.anchors, n.ID)
		}
		for _, link := range []string{n.Href, n.Src} {
			if link != "" {
				d.links = append(d.links, link)
			}
		}
		collect(n.Children, d)
	}
}

// scheme finds the beginning of an absolute address.
var scheme = regexp.MustCompile(`^[a-z]+:`)

// broken says what is wrong with a link of a document; empty for nothing. It contacts no server.
func broken(all map[string]document, from, link string) string {
	u, err := url.Parse(link)
	switch {
	case err != nil || scheme.MatchString(link) && (u.Scheme == "http" || u.Scheme == "https") && u.Host == "":
		return "it cannot be read as an address"
	case u.Scheme != "":
		return ""
	case strings.HasPrefix(link, "/"):
		return brokenPage(u.Path)
	}
	to := from
	if u.Path != "" {
		to = path.Join(path.Dir(from), u.Path)
	}
	if strings.HasPrefix(to, "../") {
		return "it is outside the repository"
	}
	if _, err := os.Stat(filepath.FromSlash(to)); err != nil {
		return "no such file"
	}
	if d, ok := all[to]; u.Fragment != "" && (!ok || !slices.Contains(d.anchors, u.Fragment)) {
		return "no such heading"
	}
	return ""
}

// brokenPage says what is wrong with a path of the web UI.
func brokenPage(p string) string {
	if slices.Contains([]string{"/", "/docs", "/labs", "/learn", "/exercises", "/topics", "/groups", "/brokers", "/produce", "/verify"}, p) || strings.HasPrefix(p, "/topics/") {
		return ""
	}
	for _, w := range webPages {
		name, ok := strings.CutPrefix(p, w.path)
		if !ok || name == "" {
			continue
		}
		if len(name) == 1 {
			name = "0" + name // the number of a station
		}
		if found, err := filepath.Glob(filepath.FromSlash(strings.ReplaceAll(w.files, "%", name))); err == nil && len(found) > 0 {
			return ""
		}
	}
	return "no such page of the web UI"
}
