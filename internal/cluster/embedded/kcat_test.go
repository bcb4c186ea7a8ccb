package embedded

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"
)

// kcat runs kcat, or skips the test.
func kcat(t *testing.T, in string, args ...string) string {
	t.Helper()
	if os.Getenv("WEIR_TEST_KCAT") == "" {
		t.Skip("another client's view is checked with: apt-get install kcat && WEIR_TEST_KCAT=1 go test ./internal/cluster/embedded")
	}
	cmd := exec.CommandContext(testCtx(t), "kcat", args...)
	cmd.Stdin = strings.NewReader(in)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("kcat %s: %v\n%s", strings.Join(args, " "), err, stderr.String())
	}
	return string(out)
}

// librdkafka, which kcat is made of, produces, consumes, joins a group and
// follows leaders and coordinators as franz-go does.
func TestKcat(t *testing.T) {
	c := open(t, Config{Dir: t.TempDir()})
	createTopic(t, c.Addrs(), "t", 6, nil)
	all := strings.Join(c.Addrs(), ",")
	var want []string
	var in strings.Builder
	for i := range 600 {
		v := fmt.Sprintf("value-%d", i)
		want = append(want, v)
		fmt.Fprintf(&in, "key-%d:%s\n", i, v)
	}
	slices.Sort(want)
	lines := func(out string) []string {
		l := strings.Fields(out)
		slices.Sort(l)
		return l
	}
	for _, codec := range []string{"none", "snappy"} {
		kcat(t, in.String(), "-P", "-b", all, "-t", "t", "-K:", "-z", codec, "-X", "enable.idempotence=true", "-X", "acks=all")
	}
	twice := slices.Sorted(slices.Values(append(slices.Clone(want), want...)))
	if got := lines(kcat(t, "", "-C", "-b", all, "-t", "t", "-e", "-q")); !slices.Equal(got, twice) {
		t.Errorf("%d lines read, %d written", len(got), len(twice))
	}
	if err := c.Kill(testCtx(t), 2); err != nil {
		t.Fatal(err)
	}
	meta := kcat(t, "", "-L", "-b", c.Addrs()[0])
	if !strings.Contains(meta, "2 brokers:") || strings.Contains(meta, c.Addrs()[2]) || strings.Contains(meta, "leader 2") || strings.Count(meta, "isrs: 0,1")+strings.Count(meta, "isrs: 1,0") != 6 {
		t.Errorf("with broker 2 dead kcat sees\n%s", meta)
	}
	kcat(t, in.String(), "-P", "-b", all, "-t", "t", "-K:", "-X", "transactional.id=kcat", "-X", "message.timeout.ms=20000")
	group := lines(kcat(t, "", "-b", all, "-e", "-q", "-X", "auto.offset.reset=earliest", "-X", "isolation.level=read_committed", "-G", "kcat-group", "t"))
	if thrice := slices.Sorted(slices.Values(append(twice, want...))); !slices.Equal(group, thrice) {
		t.Errorf("the group read %d lines, %d were written", len(group), len(thrice))
	}
	if err := c.Restart(testCtx(t), 2); err != nil {
		t.Fatal(err)
	}
	if got := lines(kcat(t, "", "-C", "-b", all, "-t", "t", "-e", "-q", "-o", "-2")); len(got) != 6 { // the last offset is a transaction marker
		t.Errorf("the last record of each partition: %q", got)
	}
}

// What is archived is read by librdkafka: from the beginning, from an offset, from a time, and in a group.
func TestKcatReadsTheArchive(t *testing.T) {
	c := tuned(t, small(t.TempDir()))
	createTopic(t, c.Addrs(), "t", 1, nil)
	all := strings.Join(c.Addrs(), ",")
	kcat(t, "", "-L", "-b", all) // skips
	truth := written(t, c.Addrs(), 400, 7, time.Now().Add(time.Hour))
	enforce(t, c)
	archivedTo(t, c)
	lines := func(w []told) (out string) {
		for _, r := range w {
			out += fmt.Sprintf("%d %d %d %d\n", r.offset, r.at, len(r.value), len(r.headers))
		}
		return out
	}
	// %S is -1 for a null value.
	for i := range truth {
		if truth[i].value == nil {
			truth[i].value = []byte{}
		}
	}
	read := func(args ...string) string {
		out := kcat(t, "", append([]string{"-b", all, "-e", "-q", "-X", "isolation.level=read_committed", "-f", "%o %T %S %h\\n"}, args...)...)
		var all strings.Builder
		for l := range strings.Lines(strings.ReplaceAll(out, " -1 ", " 0 ")) {
			f := strings.Fields(l)
			n := 0
			if len(f) > 3 {
				n = strings.Count(f[3], ",") + 1
			}
			fmt.Fprintf(&all, "%s %s %s %d\n", f[0], f[1], f[2], n)
		}
		return all.String()
	}
	mid := len(truth) / 2
	at := slices.IndexFunc(truth, func(w told) bool { return w.at >= truth[mid].at })
	for what, tc := range map[string]struct {
		args []string
		want []told
	}{
		"the beginning": {[]string{"-C", "-t", "t", "-o", "beginning"}, truth},
		"an offset":     {[]string{"-C", "-t", "t", "-p", "0", "-o", fmt.Sprint(truth[mid].offset)}, truth[mid:]},
		"a time":        {[]string{"-C", "-t", "t", "-o", fmt.Sprint("s@", truth[mid].at)}, truth[at:]},
		"a group":       {[]string{"-X", "auto.offset.reset=earliest", "-G", "g", "t"}, truth},
	} {
		if got, want := read(tc.args...), lines(tc.want); got != want {
			t.Errorf("from %s kcat reads %d lines, want %d", what, strings.Count(got, "\n"), strings.Count(want, "\n"))
		}
	}
}
