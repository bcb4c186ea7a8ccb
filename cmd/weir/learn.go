package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/weir-project/weir/internal/cli"
	"github.com/weir-project/weir/internal/learn"
	"github.com/weir-project/weir/internal/markdown"
	"github.com/weir-project/weir/internal/node"
	"github.com/weir-project/weir/internal/visible"
	"github.com/weir-project/weir/internal/web"
)

func newLearn(a *app) *cobra.Command {
	list := func(ctx context.Context, _ []string) error { return a.learnList(ctx) }
	const uses = useCluster | useRedis
	cmd := a.command("learn", uses|useOutput, nil, list)
	cmd.AddCommand(
		a.command("learn list", uses|useOutput, nil, list),
		a.command("learn show", uses|useOutput, nil, a.onStations(a.learnShow)),
		a.command("learn answer", uses|useOutput, func(cmd *cobra.Command) { cmd.Args = cobra.MinimumNArgs(2) }, a.onStations(a.learnAnswer)),
		a.command("learn check", uses|useOutput, nil, a.onStations(a.learnCheck)),
		newLearnCounter(a),
		a.command("learn reset", uses|useYes|useOutput, nil, a.onStations(a.learnReset)),
	)
	return cmd
}

// onStations makes a command's run of one that asks for stations: the running weir, which observes
// what happens over time, or this process.
func (a *app) onStations(run func(context.Context, *actions, []string) error) func(context.Context, []string) error {
	return func(ctx context.Context, args []string) error {
		c, err := a.groupActions(ctx)
		if err != nil {
			return err
		}
		defer c.close()
		return run(ctx, c, args)
	}
}

func stationPath(name, operation string) string {
	path := "/learn/" + url.PathEscape(name)
	if operation != "" {
		path += "/" + operation
	}
	return path
}

// learnList lists the stations, also where no cluster answers yet.
func (a *app) learnList(ctx context.Context) error {
	var list learn.List
	err := a.onStations(func(ctx context.Context, c *actions, _ []string) error {
		return c.ask(ctx, http.MethodGet, "/learn", nil, &list)
	})(ctx, nil)
	if cli.ExitCode(err) == cli.ExitConnect {
		dir, dirErr := a.data()
		if dirErr != nil {
			return err
		}
		if list, dirErr = learn.ListKept(node.LearnFile(dir)); dirErr != nil {
			return dirErr
		}
		a.stderr.Linef("no cluster answers; start one in another terminal before you go on: %s up%s", invocation(), a.sameData())
		err = nil
	}
	if err != nil {
		return err
	}
	return a.showStations(list)
}

func (a *app) showStations(list learn.List) error {
	err := writeRows(a, list, list.Stations, func(s learn.Summary) []any {
		state := ""
		switch {
		case s.Done:
			state = "done"
		case s.Unavailable != "":
			state = "not here: " + s.Unavailable
		case s.Number == list.Next:
			state = "next"
		case s.Answered:
			state = "answered"
		}
		return []any{s.Number, s.Name, s.Title, fmt.Sprintf("%d min", s.Minutes), state}
	}, ">STATION", "NAME", "TITLE", ">TIME", "STATE")
	if err == nil && a.output == cli.FormatTable {
		a.nextStation(list)
	}
	return err
}

// learnCommand is a command of the stations as a learner can paste it.
func (a *app) learnCommand(words ...string) string {
	w := a.where()
	return learn.Where{Program: w.Program, Redis: w.Redis}.Command("weir learn " + strings.Join(words, " "))
}

// pageColumns is the width of a text on a terminal that is wider, or where there is no terminal.
const pageColumns = 100

func (a *app) learnShow(ctx context.Context, c *actions, args []string) error {
	var d learn.Detail
	if err := c.ask(ctx, http.MethodGet, stationPath(args[0], ""), nil, &d); err != nil {
		return err
	}
	if a.output != cli.FormatTable {
		return a.write(d, []any{d}, nil)
	}
	drawn, err := pictureText(d.Picture)
	if err == nil {
		_, err = fmt.Fprint(a.stdout, markdown.Terminal(a.stationText(d, drawn), a.pageWidth()))
	}
	return err
}

// pageWidth is the width of a text in columns.
func (a *app) pageWidth() int {
	if columns := a.stderr.Columns(); columns > 0 {
		return min(pageColumns, columns)
	}
	return pageColumns
}

// pictureText is the picture of a station as a table; empty for none.
func pictureText(p learn.Picture) (string, error) {
	var b strings.Builder
	if m := p.Message; m != nil {
		key := "none"
		if m.Key != nil {
			key = visible.Text(*m.Key)
		}
		fmt.Fprintf(&b, "one record of %s:\npartition %d, offset %d, %d headers,\nkey %s, a value of %d bytes\n\n",
			visible.Text(p.Topic), m.Partition, m.Offset, len(m.Headers), key, m.ValueSize)
	} else if len(p.Partitions) > 0 {
		fmt.Fprintf(&b, "topic %s", visible.Text(p.Topic))
		if p.Group != "" {
			fmt.Fprintf(&b, " and group %s", visible.Text(p.Group))
		}
		b.WriteString(" now:\n\n")
	}
	if len(p.Partitions) == 0 {
		return b.String(), nil
	}
	if p.Kind == learn.PictureReplicas {
		err := cli.TableOf(p.Partitions, func(x learn.PicturePartition) []any {
			return []any{x.Partition, cli.NumberOrUnknown(int64(x.Leader)), cli.IDs(x.Replicas), cli.IDs(x.ISR), x.End}
		}, ">PARTITION", ">LEADER", "REPLICAS", "IN SYNC", ">END").Write(&b)
		return b.String(), err
	}
	if p.Group == "" {
		err := cli.TableOf(p.Partitions, func(x learn.PicturePartition) []any { return []any{x.Partition, x.Start, x.End} },
			">PARTITION", ">START", ">END").Write(&b)
		return b.String(), err
	}
	err := cli.TableOf(p.Partitions, func(x learn.PicturePartition) []any {
		committed, lag := "-", "-"
		if x.Committed != nil {
			committed, lag = cli.Thousands(*x.Committed), cli.Thousands(max(0, x.End-*x.Committed))
		}
		member := ""
		if i := slices.IndexFunc(p.Members, func(m learn.PictureMember) bool { return m.ID == x.Member }); i >= 0 {
			member = strconv.Itoa(i + 1)
		}
		return []any{x.Partition, x.Start, x.End, committed, lag, member}
	}, ">PARTITION", ">START", ">END", ">COMMITTED", ">LAG", ">MEMBER").Write(&b)
	for i, m := range p.Members {
		if err == nil && p.Kind == learn.PictureMembers {
			reads := "has no partition"
			if len(m.Partitions) > 0 {
				reads = "reads partition " + cli.IDs(m.Partitions)
			}
			_, err = fmt.Fprintf(&b, "member %d %s\n", i+1, reads)
		}
	}
	return b.String(), err
}

// stationText is a station as one document. drawn is its picture.
func (a *app) stationText(d learn.Detail, drawn string) []markdown.Node {
	words := func(s string) []markdown.Node { return []markdown.Node{{Text: s}} }
	head := func(s string) markdown.Node { return markdown.Node{Tag: "h2", Children: words(s)} }
	para := func(s string) markdown.Node { return markdown.Node{Tag: "p", Children: words(s)} }
	lines := func(list []learn.Command) markdown.Node {
		var b strings.Builder
		for _, c := range list {
			b.WriteString(visible.Text(c.Command) + "\n")
		}
		return markdown.Node{Tag: "pre", Text: b.String()}
	}
	doc := []markdown.Node{
		{Tag: "h1", Children: words(fmt.Sprintf("%d. %s", d.Number, d.Title))},
		para("After this station you can " + d.Able + " It takes about " + strconv.Itoa(d.Minutes) + " minutes."),
	}
	if d.Unavailable != "" {
		doc = append(doc, para("You cannot do it on this cluster: "+visible.Text(d.Unavailable)))
	}
	doc = append(doc, d.Text...)
	if drawn != "" {
		doc = append(doc, markdown.Node{Tag: "pre", Text: drawn})
	} else if d.Picture.Note != "" {
		doc = append(doc, para(visible.Text(d.Picture.Note)))
	}
	doc = append(append(doc, head("Question")), d.Question.Text...)
	if len(d.Question.Choices) > 0 {
		ul := markdown.Node{Tag: "ul"}
		for i, choice := range d.Question.Choices {
			ul.Children = append(ul.Children, markdown.Node{Tag: "li", Children: words(string(rune('a'+i)) + ": " + visible.Text(choice))})
		}
		doc = append(doc, ul)
	}
	if d.Question.Kind != "" {
		what := "ANSWER is a whole number."
		if d.Question.Kind == learn.Choice {
			what = "ANSWER is the letter of a choice."
		}
		doc = append(doc, para("Answer with this command. "+what),
			lines([]learn.Command{{Command: a.learnCommand("answer", strconv.Itoa(d.Number), "ANSWER")}}))
	}
	doc = append(append(doc, head("Do")), d.Task...)
	doc = append(doc, lines(d.Commands), para("Then let weir look whether it is done:"),
		lines([]learn.Command{{Command: a.learnCommand("check", strconv.Itoa(d.Number))}}))
	if len(d.Others) > 0 {
		doc = append(doc, head("The same with other tools"), lines(d.Others))
	}
	doc = append(append(doc, head("In production")), d.Production...)
	return append(doc, head("Your progress"), para(visible.Text(progressText(d))))
}

// progressText says in a sentence how far the learner has come.
func progressText(d learn.Detail) string {
	if d.Check.Done {
		return "This station is done: " + strings.Join(d.Check.Seen, "; ") + "."
	}
	return "Not done yet: " + d.Check.Reason + "."
}

func (a *app) learnAnswer(ctx context.Context, c *actions, args []string) error {
	var answer learn.Answered
	body := web.LearnAnswerRequest{Answer: strings.Join(args[1:], " ")}
	if err := c.post(ctx, stationPath(args[0], "answer"), body, &answer); err != nil {
		return err
	}
	if a.output != cli.FormatTable {
		return a.write(answer, []any{answer}, nil)
	}
	verdict := "right"
	if !answer.Right {
		verdict = "wrong; the answer is " + visible.Text(answer.Answer)
	}
	_, err := fmt.Fprintf(a.stdout, "%s\n\n%s", verdict, markdown.Terminal(answer.Explanation, a.pageWidth()))
	return err
}

func (a *app) learnCheck(ctx context.Context, c *actions, args []string) error {
	var result learn.Check
	if err := c.post(ctx, stationPath(args[0], "check"), nil, &result); err != nil {
		return err
	}
	if a.output != cli.FormatTable {
		if err := a.write(result, []any{result}, nil); err != nil {
			return err
		}
	} else {
		for _, s := range result.Seen {
			if _, err := fmt.Fprintf(a.stdout, "weir sees: %s\n", visible.Text(s)); err != nil {
				return err
			}
		}
	}
	if !result.Done {
		return &cli.Error{Code: cli.ExitFailed, Err: errors.New("not done yet: " + visible.Text(result.Reason))}
	}
	if a.output != cli.FormatTable {
		return nil
	}
	var list learn.List
	if err := c.ask(ctx, http.MethodGet, "/learn", nil, &list); err != nil {
		return err
	}
	a.stderr.Linef("done")
	a.nextStation(list)
	return nil
}

// nextStation names the command that shows the next station.
func (a *app) nextStation(list learn.List) {
	if list.Next == 0 {
		a.stderr.Linef("all stations that this cluster offers are done")
		return
	}
	a.stderr.Linef("go on with: %s", a.learnCommand("show", strconv.Itoa(list.Next)))
}

func (a *app) learnReset(ctx context.Context, c *actions, args []string) error {
	var body web.LearnResetRequest
	what := "all stations"
	if len(args) > 0 {
		var d learn.Detail
		if err := c.ask(ctx, http.MethodGet, stationPath(args[0], ""), nil, &d); err != nil {
			return err
		}
		body.Station, what = d.Number, "station "+strconv.Itoa(d.Number)
	} else if err := cli.Confirm(a.stdin, a.stderr, "Type all to start over with all stations: ", "all", a.yes); err != nil {
		return err
	}
	var list learn.List
	if err := c.post(ctx, "/learn/reset", body, &list); err != nil {
		return err
	}
	return a.done(list, "%s: the progress is deleted", what)
}
