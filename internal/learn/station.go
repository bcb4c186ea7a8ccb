package learn

import (
	"context"
	"embed"
	"fmt"
	"io/fs"
	"math"
	"math/big"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/weir-project/weir/internal/markdown"
)

//go:embed stations
var texts embed.FS

// station is one station of the path. Its text is stations/NN-name.md.
type station struct {
	number  int
	name    string
	minutes int
	// unavailable says why the station cannot be done on this cluster; nil for a station that always can.
	unavailable func(context.Context, *look) string
	// question asks about the cluster as it is now.
	question func(context.Context, *look) (question, error)
	// picture is drawn from the cluster as it is now.
	picture func(context.Context, *look) (Picture, error)
	// check says whether the task is done, and if not, what weir saw and what is missing.
	check func(context.Context, *look) (Check, error)
	// observe gets a sample of the cluster about once a second while the station is not done, and
	// at each check. It keeps as evidence what the cluster does not keep. Nil where the check needs none.
	observe func(context.Context, *look, sample) error

	// names are pairs of a name in braces and what stands for it in the texts and commands; nil for none
	// besides those that all stations have.
	names func(*look) []string

	text text
}

// stations is the table of all stations, in their order.
var stations = withTexts([]station{
	eventsStation, topicStation, producingStation, keysStation, offsetsStation, groupsStation, independentStation,
	persistenceStation, replicationStation, backpressureStation, batchingStation, semanticsStation, programStation,
})

// question is a question about the cluster as it is now.
type question struct {
	// text is added to the question's text in the station's file, in Markdown; it may be empty.
	text    string
	kind    string
	choices []string
	answer  string // the right one
	// within is the share by which a number may differ from the right one; 0 for none.
	within float64
	// why explains the right answer, in Markdown; wrong is what the learner answered instead, empty
	// where the answer is right.
	why func(wrong string) string
}

// mistakes are what an explanation adds for some wrong answers.
type mistakes map[string]string

// because explains the right answer with a text, what is added for some wrong answers, and what ends it.
func because(text string, added mistakes, end ...string) func(wrong string) string {
	return func(wrong string) string { return text + added[wrong] + strings.Join(end, "") }
}

// thousands is a whole number as weir's tables write it, such as 20,197.
var thousands = regexp.MustCompile(`^\d{1,3}(,\d{3})+$`)

// meant is the answer that a learner means: a choice may be given by its letter, and a number with commas.
func (q *question) meant(answer string) string {
	if q.kind != Choice {
		if thousands.MatchString(answer) {
			return strings.ReplaceAll(answer, ",", "")
		}
		return answer
	}
	if len(answer) == 1 && !slices.Contains(q.choices, answer) {
		if i := int(answer[0]) - 'a'; i >= 0 && i < len(q.choices) {
			return q.choices[i]
		}
	}
	return answer
}

// judge says whether an answer is right.
func (q *question) judge(answer string) (bool, error) {
	if q.kind == Choice {
		if !slices.Contains(q.choices, answer) {
			return false, fmt.Errorf("%w: %.60q is not one of the choices: %s", ErrAnswer, answer, strings.Join(q.choices, "; "))
		}
		return answer == q.answer, nil
	}
	const most = 40 // characters
	given, ok := new(big.Int).SetString(answer, 10)
	if !ok || len(answer) > most {
		return false, fmt.Errorf("%w: %.60q is not a whole number, such as 12", ErrAnswer, answer)
	}
	if right, err := strconv.ParseFloat(q.answer, 64); err == nil && q.within > 0 {
		n, _ := new(big.Float).SetInt(given).Float64()
		return math.Abs(n-right) <= q.within*math.Abs(right), nil
	}
	return given.String() == q.answer, nil
}

// Names are the names of all stations, in their order.
func Names() []string {
	names := make([]string, 0, len(stations))
	for i := range stations {
		names = append(names, stations[i].name)
	}
	return names
}

// find returns the station with a number or a name.
func find(name string) (*station, error) {
	for i := range stations {
		if st := &stations[i]; st.name == name || strconv.Itoa(st.number) == name {
			return st, nil
		}
	}
	return nil, fmt.Errorf("%.60q: %w", name, ErrNoStation)
}

// text is a station's file, taken apart.
type text struct {
	title, able                      string
	read, question, task, production []markdown.Node
	weir, others                     []Command
}

// sections are the headings of a station's file, in their order.
var sections = []string{"You will be able to", "Read", "Question", "Do", "The same with other tools", "In production"}

// tools are the programs that a block of commands can name as its language.
var tools = map[string]string{"weir": "weir", "kafka": "Apache Kafka", "kcat": "kcat", "redis": "redis-cli"}

// withTexts reads the texts of stations. A text that is not in the form is a mistake in this
// program, which every test finds.
func withTexts(list []station) []station {
	for i := range list {
		st := &list[i]
		raw, err := fs.ReadFile(texts, fmt.Sprintf("stations/%02d-%s.md", st.number, st.name))
		if err == nil {
			st.text, err = parseText(raw)
		}
		if err != nil {
			panic(fmt.Sprintf("station %d: %v", st.number, err))
		}
	}
	return list
}

func parseText(raw []byte) (t text, err error) {
	title, rest, ok := strings.Cut(strings.TrimPrefix(string(raw), "# "), "\n")
	if t.title = title; !ok {
		return t, fmt.Errorf("no title")
	}
	parts := map[string][]markdown.Node{}
	for i, section := range strings.Split("\n"+rest, "\n## ")[1:] {
		name, body, _ := strings.Cut(section, "\n")
		if i >= len(sections) || name != sections[i] {
			return t, fmt.Errorf("heading %q: the headings are %q", name, sections)
		}
		parts[name] = markdown.Parse([]byte(body))
	}
	if len(parts) != len(sections) {
		return t, fmt.Errorf("%d headings, and %d are needed: %q", len(parts), len(sections), sections)
	}
	t.able = strings.TrimSpace(markdown.Text(parts[sections[0]]))
	t.read, t.question, t.production = parts[sections[1]], parts[sections[2]], parts[sections[5]]
	if t.task, t.weir, err = cutCommands(parts[sections[3]]); err != nil {
		return t, err
	}
	_, t.others, err = cutCommands(parts[sections[4]])
	return t, err
}

// cutCommands takes the blocks of commands out of a text.
func cutCommands(nodes []markdown.Node) (prose []markdown.Node, commands []Command, err error) {
	for _, n := range nodes {
		if n.Tag != "pre" {
			prose = append(prose, n)
			continue
		}
		tool, ok := tools[n.Lang]
		if !ok {
			return nil, nil, fmt.Errorf("a block of commands names the tool %q", n.Lang)
		}
		for line := range strings.Lines(n.Text) {
			if line = strings.TrimSpace(line); line != "" {
				commands = append(commands, Command{tool, line})
			}
		}
	}
	return prose, commands, nil
}
