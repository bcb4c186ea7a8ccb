package weir_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// term is a word or phrase that weir's texts do not use, and what they say instead. Most of
// the readers are not native speakers, and Kafka has its own word for most things.
type term struct {
	not, write string
	// sample is a text that the term has to find.
	sample string
}

var glossary = []term{
	{`\bstretch(es)?\b`, "offset range", "exact stretches of partitions"},
	{`\bgoodbye\b`, "leave the group, close cleanly", "a member says goodbye"},
	{`\btall(y|ies)\b`, "counts, the counts in Redis", "a tally for each partition"},
	{`\b(tells?|told|telling)\b`, "report, log, show, return", "the brokers tell it"},
	{`\b(is|are|was|were|be) said\b`, "report, log, show, return", "it is said first"},
	{`\b(dies?|died|dying)\b`, "fail, stop responding; a broker that is killed is killed", "a broker dies"},
	{`\b(is|are|be|keeps?|stays?|was) silent\b`, "stop responding, not answer", "a broker is silent"},
	{`\bkinds?\b`, "type, event type", "counts by kind"},
	{`\ban? own\b|\bown (brokers?|redis|server|ones?|cluster)\b`, "embedded Kafka, embedded Redis, your own cluster, its own", "the own brokers of weir"},
	{`\bauthority\b`, "certificate authority (CA)", "another authority signed it"},
	{`\bg(i|a)ves? way\b`, "fall back to", "ports that are taken give way"},
	{`\bmade up\b|\bby nobody\b|\bmade here\b`, "generated", "events made here, by nobody"},
	{`\bunder way\b`, "in progress", "what is under way is stored"},
	{`\bdoubled\b|\bdoubles\b`, "duplicated", "events that are doubled"},
	{`\b(stored|written|stores?|writes) twice\b`, "duplicated", "events are stored twice"},
	{`\btrimmed\b`, "retention deleted records", "the log was trimmed"},
	{`\bhand(s|ed)? over\b`, "revoke, assign, return", "partitions are handed over"},
	{`\bcomes? and goe?s?\b`, "join and leave", "members come and go"},
	{`\bthat there (is|are) not\b`, "does not exist", "an engine that there is not"},
	{`\bis no [a-z]+`, "is not a", `"x" is no number`},
	{`(^|[.:;(] )who [a-z]+s\b`, "a client that …", "Who asks gets an answer"},
	{`\bhearts? (beats?|that)\b|\bheart of\b`, "heartbeat", "nobody's heart beats"},
	{`\b(do not|does not|they) feel\b`, "stay independent", "how they do not feel each other"},
	{`\bstored positions?\b`, "committed offset; stored offset for the one in Redis", "the stored position"},
	{`\b(committed|group's|group) positions?\b`, "committed offset", "a group's position"},
	{`\bon purpose\b.*\bmust not hold\b`, "must fail", "to break it on purpose, so that the claim must not hold"},
}

// allowed are phrases in which a word of the glossary is right.
var allowed = regexp.MustCompile(`(?i)^stored twice$|^: told to stop$|certificate authorit(y|ies)|\bthere (is|was|are) no\b|weir:tally|header:kind|weir_tally|\bits own\b|\byour own\b|\btheir own\b|weir's own ingester|package tally|internal/tally|\bis no (longer|more)\b`)

var (
	inlineCode  = regexp.MustCompile("`[^`]*`")
	fences      = regexp.MustCompile("(?s)```.*?```")
	placeholder = regexp.MustCompile(`\$\{[^}]*\}`)
)

func compileGlossary(t *testing.T) []*regexp.Regexp {
	t.Helper()
	var out []*regexp.Regexp
	for _, x := range glossary {
		r := regexp.MustCompile("(?i)" + x.not)
		if !r.MatchString(allowed.ReplaceAllString(x.sample, "")) {
			t.Errorf("%s does not find %q: it would find nothing", x.not, x.sample)
		}
		out = append(out, r)
	}
	return out
}

// TestGlossary holds the language of everything that a person reads: texts of the program,
// comments that documentation is made of, documents, the web UI.
func TestGlossary(t *testing.T) {
	rules := compileGlossary(t)
	texts := 0
	check := func(where, text string) {
		texts++
		text = allowed.ReplaceAllString(text, "…")
		for i, r := range rules {
			if m := r.FindString(text); m != "" {
				t.Errorf("%s: %q: write %s: %.160q", where, m, glossary[i].write, strings.TrimSpace(text))
			}
		}
	}
	for _, root := range []string{"cmd", "internal", "docs"} {
		err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				if d != nil && d.Name() == "testdata" {
					return filepath.SkipDir
				}
				return err
			}
			switch filepath.Ext(path) {
			case ".go":
				if !strings.HasSuffix(path, "_test.go") && path != filepath.Join("internal", "simulate", "text.go") { // posts in many languages
					goTexts(t, path, check)
				}
			case ".md":
				markdownTexts(t, path, check)
			case ".js", ".html":
				pageTexts(t, path, check)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"README.md", "DESIGN.md", "CHANGELOG.md", "RELIABILITY.md", "SECURITY.md"} {
		markdownTexts(t, name, check)
	}
	if texts < 2000 {
		t.Fatalf("only %d texts were found: the check would prove nothing", texts)
	}
}

// goTexts passes on the strings of a file that have words in them, and the comments of its
// package and of what it exports.
func goTexts(t *testing.T, path string, check func(where, text string)) {
	t.Helper()
	set := token.NewFileSet()
	f, err := parser.ParseFile(set, path, nil, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	where := func(p token.Pos) string { return set.Position(p).String() }
	comment := func(c *ast.CommentGroup) {
		if c != nil {
			text := strings.ReplaceAll(c.Text(), "\n", " ")
			if first, rest, _ := strings.Cut(text, " "); first != "Package" && token.IsExported(first) {
				text = rest // the name of what it documents
			}
			check(where(c.Pos()), inlineCode.ReplaceAllString(text, "…"))
		}
	}
	tags := map[*ast.BasicLit]bool{}
	comment(f.Doc)
	ast.Inspect(f, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.Field:
			if n.Tag != nil {
				tags[n.Tag] = true
			}
			if len(n.Names) > 0 && n.Names[0].IsExported() {
				comment(n.Doc)
			}
		case *ast.GenDecl:
			if exports(n) {
				comment(n.Doc)
			}
		case *ast.TypeSpec:
			if n.Name.IsExported() {
				comment(n.Doc)
			}
		case *ast.ValueSpec:
			if n.Names[0].IsExported() {
				comment(n.Doc)
			}
		case *ast.FuncDecl:
			if n.Name.IsExported() {
				comment(n.Doc)
			}
		case *ast.BasicLit:
			if n.Kind != token.STRING || tags[n] {
				return true
			}
			if s, err := strconv.Unquote(n.Value); err == nil && strings.Contains(strings.TrimSpace(s), " ") {
				check(where(n.Pos()), inlineCode.ReplaceAllString(strings.ReplaceAll(s, "\n", " "), "…"))
			}
		}
		return true
	})
}

// exports reports whether a declaration has an exported name.
func exports(d *ast.GenDecl) bool {
	for _, s := range d.Specs {
		switch s := s.(type) {
		case *ast.TypeSpec:
			if s.Name.IsExported() {
				return true
			}
		case *ast.ValueSpec:
			if s.Names[0].IsExported() {
				return true
			}
		}
	}
	return false
}

// markdownTexts passes on the lines of a document, without code.
func markdownTexts(t *testing.T, path string, check func(where, text string)) {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	text := fences.ReplaceAllStringFunc(string(raw), func(s string) string { return strings.Repeat("\n", strings.Count(s, "\n")) })
	for i, line := range strings.Split(text, "\n") {
		if !strings.HasPrefix(line, "    ") || strings.Contains(line, "#") {
			check(path+":"+strconv.Itoa(i+1), inlineCode.ReplaceAllString(line, "…"))
		}
	}
}

// pageTexts passes on the texts of a script, or all of a page.
func pageTexts(t *testing.T, path string, check func(where, text string)) {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for i, line := range strings.Split(string(raw), "\n") {
		where := path + ":" + strconv.Itoa(i+1)
		if filepath.Ext(path) == ".html" {
			check(where, line)
			continue
		}
		if strings.HasPrefix(strings.TrimSpace(line), "//") {
			continue
		}
		for _, s := range literals(line) {
			if strings.Contains(s, " ") {
				check(where, placeholder.ReplaceAllString(s, "…"))
			}
		}
	}
}

// literals returns the string literals of a line of JavaScript.
func literals(line string) (out []string) {
	for i := 0; i < len(line); i++ {
		quote := line[i]
		if quote == '/' && strings.HasPrefix(line[i:], "//") {
			return out
		}
		if quote != '\'' && quote != '"' && quote != '`' {
			continue
		}
		for start := i + 1; i+1 < len(line); {
			i++
			if line[i] == '\\' {
				i++
			} else if line[i] == quote {
				out = append(out, line[start:i])
				break
			}
		}
	}
	return out
}
