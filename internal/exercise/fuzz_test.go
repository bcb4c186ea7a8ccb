package exercise

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// FuzzKept reads files of reports of any bytes, as encoding/json does. One that is refused is named with the
// way out, and lists go on without it. What is read is kept and read as the same.
func FuzzKept(f *testing.F) {
	f.Add([]byte(`{"exercise":"count","verdict":"wrong","headline":"h","started":"2026-01-01T00:00:00Z","evidence":[{"what":"w","partition":-1}],"timeline":{"series":[{"points":[[1,2]]}]}}`))
	f.Add([]byte(`{"timeline":{"series":[{"points":[[1,2,3],[4]]}]}}`))
	f.Add([]byte(`{"checks":null,"seconds":1e999}`))
	f.Add([]byte(`null`))
	f.Add([]byte(`{"verdict":`))
	f.Add([]byte(``))
	dir, err := os.MkdirTemp("/dev/shm", "weir-fuzz-")
	if err != nil {
		dir = f.TempDir()
	}
	f.Cleanup(func() { _ = os.RemoveAll(dir) })
	name := list[0].Name
	path := filepath.Join(dir, name+".json")
	f.Fuzz(func(t *testing.T, body []byte) {
		if err := os.WriteFile(path, body, 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := Kept(dir, name)
		var want Report
		if ok := json.Unmarshal(body, &want) == nil; ok != (err == nil) || ok && !reflect.DeepEqual(*got, want) {
			t.Fatalf("%q is read as %+v, %v", body, got, err)
		}
		last := LastOf(dir, name)
		if err != nil {
			if last != nil || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "delete it and check again") {
				t.Errorf("%q: %v, %v", body, last, err)
			}
			return
		}
		if last == nil || last.Verdict != want.Verdict || last.Headline != want.Headline {
			t.Errorf("%q is listed as %+v", body, last)
		}
		got.Exercise = name
		if _, err := got.Started.MarshalJSON(); err != nil {
			return // a zone that RFC 3339 does not have
		}
		if err := Keep(dir, got); err != nil {
			t.Fatal(err)
		}
		again, err := Kept(dir, name)
		if err != nil || again.Verdict != got.Verdict || !again.Started.Equal(got.Started) || !reflect.DeepEqual(again.Timeline, got.Timeline) || again.Output != got.Output {
			t.Errorf("%+v is kept and read as %+v, %v", got, again, err)
		}
	})
}
