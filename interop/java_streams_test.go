package interop

import (
	"fmt"
	"io"
	"math/rand/v2"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// countInStreams lets Kafka Streams count words while lines come: a second instance
// joins and takes over a part, the first one is killed, another one takes its place, and
// one leaves. Exactly once means that each word was counted as 1, 2, 3, and so on, up to
// how often it was written.
func (c clients) countInStreams(guarantee string) {
	t := c.t
	app := "words-" + strings.ReplaceAll(guarantee, "_", "-")
	in, out := app+"-lines", app+"-counts"
	for _, topic := range []string{in, out} {
		c.tool("", "TopicCommand", "--create", "--topic", topic, "--partitions", "4", "--replication-factor", "3")
	}
	lines := c.writeLines(in)
	instance := func(name string) *process {
		p := c.startJava("WordCount "+name, "WordCount", c.brokers, app, in, out, t.TempDir(), guarantee)
		p.takesPart(t, name)
		return p
	}
	first := instance("1")
	second := instance("2")
	first.takesPart(t, "1, beside the second one")
	if guarantee == "exactly_once_v2" {
		first.stop(t, syscall.SIGKILL)
	} else {
		first.stop(t, syscall.SIGTERM)
	}
	third := instance("3")
	second.takesPart(t, "2, beside the third one")
	second.stop(t, syscall.SIGTERM)
	third.takesPart(t, "3, alone")
	want := lines.end()

	var got map[string][]int
	waitFor(t, "all words to be counted", func() bool {
		got = c.readCounts(out)
		for word, n := range want {
			if !slices.Contains(got[word], n) {
				return false
			}
		}
		return true
	})
	third.stop(t, syscall.SIGTERM)
	got = c.readCounts(out)
	if len(got) != len(want) {
		t.Errorf("%d words are counted, and %d were written", len(got), len(want))
	}
	for word, counts := range got {
		if guarantee != "exactly_once_v2" { // may count again, and skips nothing
			slices.Sort(counts)
			counts = slices.Compact(counts)
		}
		for i, n := range counts {
			if n != i+1 {
				t.Fatalf("%s: the count %d is number %d, after %v", word, n, i+1, counts[max(0, i-5):i])
			}
		}
		if n := counts[len(counts)-1]; n != want[word] && (guarantee == "exactly_once_v2" || n < want[word]) {
			t.Errorf("%s is counted %d times, and was written %d times", word, n, want[word])
		}
	}
	t.Logf("%s: %v", guarantee, want)
}

// takesPart waits until an instance counts, from now on.
func (p *process) takesPart(t *testing.T, name string) {
	t.Helper()
	before := p.out.count("counted ")
	waitFor(t, "instance "+name+" to count", func() bool {
		select {
		case err := <-p.done:
			p.done <- err
			t.Fatalf("instance %s has ended: %v", name, err)
		default:
		}
		return p.out.count("counted ") > before
	})
}

// count returns how often a text was printed.
func (l *lockedBuffer) count(text string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.b.String(), text)
}

// lineWriter writes lines of a few words with kcat, at a steady pace.
type lineWriter struct {
	t       *testing.T
	kcat    *process
	stop    chan struct{}
	written chan map[string]int // how often each word was
}

func (c clients) writeLines(topic string) *lineWriter {
	c.t.Helper()
	cmd := exec.Command("kcat", "-P", "-b", c.brokers, "-t", topic, "-X", "enable.idempotence=true")
	pipe, err := cmd.StdinPipe()
	if err != nil {
		c.t.Fatal(err)
	}
	w := &lineWriter{t: c.t, kcat: begin(c.t, "kcat", cmd), stop: make(chan struct{}), written: make(chan map[string]int, 1)}
	go w.run(pipe)
	return w
}

func (w *lineWriter) run(pipe io.WriteCloser) {
	defer pipe.Close()
	written := map[string]int{}
	defer func() { w.written <- written }()
	random := rand.New(rand.NewPCG(1, 2))
	for pace := time.NewTicker(10 * time.Millisecond); ; {
		select {
		case <-w.stop:
			return
		case <-w.t.Context().Done():
			return
		case <-pace.C:
		}
		a, b := fmt.Sprint("word", random.IntN(12)), fmt.Sprint("word", random.IntN(12))
		if _, err := io.WriteString(pipe, a+" "+b+"\n"); err != nil {
			w.t.Errorf("kcat does not take lines: %v", err)
			return
		}
		written[a]++
		written[b]++
	}
}

// end returns how often each word was written, once the brokers have all of them.
func (w *lineWriter) end() map[string]int {
	w.t.Helper()
	close(w.stop)
	w.kcat.wait(w.t)
	return <-w.written
}

// readCounts reads the counts of each word in their order; a word is in one partition.
func (c clients) readCounts(topic string) map[string][]int {
	c.t.Helper()
	counts := map[string][]int{}
	out := c.runs("", "kcat", "-C", "-b", c.brokers, "-t", topic, "-o", "beginning", "-e", "-q", "-X", "isolation.level=read_committed", "-f", "%k %s\n")
	for line := range strings.Lines(out) {
		word, count, _ := strings.Cut(strings.TrimSpace(line), " ")
		n, err := strconv.Atoi(count)
		if err != nil {
			c.t.Fatalf("kcat prints %q: %v", line, err)
		}
		counts[word] = append(counts[word], n)
	}
	return counts
}
