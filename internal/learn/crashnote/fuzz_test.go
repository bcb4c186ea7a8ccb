package crashnote

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
)

// FuzzNote reads notes of any bytes, as encoding/json does. One that is refused is named with the way out,
// and what is read is written and read as the same.
func FuzzNote(f *testing.F) {
	f.Add([]byte(`{"runs":2,"crashes":1,"running":true,"began":5,"pid":7}`))
	f.Add([]byte(`{"pid":"x"}`))
	f.Add([]byte(`null`))
	f.Add([]byte(``))
	dir, err := os.MkdirTemp("/dev/shm", "weir-fuzz-")
	if err != nil {
		dir = f.TempDir()
	}
	f.Cleanup(func() { _ = os.RemoveAll(dir) })
	const semantics = "at-least-once"
	path := notePath(dir, semantics)
	f.Fuzz(func(t *testing.T, body []byte) {
		if err := os.WriteFile(path, body, 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := ReadNote(dir, semantics)
		var want Note
		if ok := json.Unmarshal(body, &want) == nil && len(body) <= maxNote; ok != (err == nil) || ok && got != want {
			t.Fatalf("%q is read as %+v, %v", body, got, err)
		}
		if err != nil {
			if !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "delete") {
				t.Errorf("%q: %v", body, err)
			}
			return
		}
		if err := writeNote(dir, semantics, got); err != nil {
			t.Fatal(err)
		}
		if again, err := ReadNote(dir, semantics); err != nil || again != got {
			t.Errorf("%+v is written and read as %+v, %v", got, again, err)
		}
	})
}
