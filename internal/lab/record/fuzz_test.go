package record

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// FuzzRead reads files of reports of any bytes, as encoding/json does. What is read does not differ from
// itself, and differs from another report of the lab in exactly what is changed.
func FuzzRead(f *testing.F) {
	f.Add([]byte(`{"lab":"latency","engine":"embedded","settings":{"rate":5,"list":[1,{"a":null}]},"verdict":"holds","measures":[{"case":"a","name":"n","value":1},{"case":"a","name":"n","value":2}]}`))
	f.Add([]byte(`{"lab":"x","settings":null,"lines":[{"x":[1],"y":[]}],"charts":[{"bars":["a"],"series":[{"y":[]}]}]}`))
	f.Add([]byte(`{"lab":"x","settings":[1]}`))
	f.Add([]byte(`{"lab":""}`))
	f.Add([]byte(`null`))
	f.Add([]byte(`{"lab":"x"`))
	dir, err := os.MkdirTemp("/dev/shm", "weir-fuzz-")
	if err != nil {
		dir = f.TempDir()
	}
	f.Cleanup(func() { _ = os.RemoveAll(dir) })
	f.Fuzz(func(t *testing.T, body []byte) {
		path := filepath.Join(dir, ReportName)
		if err := os.WriteFile(path, body, 0o600); err != nil {
			t.Fatal(err)
		}
		r, err := Read(dir)
		var want Report
		if ok := json.Unmarshal(body, &want) == nil && want.Lab != ""; ok != (err == nil) || ok && !reflect.DeepEqual(*r, want) {
			t.Fatalf("%q is read as %+v, %v", body, r, err)
		}
		if err != nil {
			if !strings.Contains(err.Error(), path) {
				t.Errorf("%q: %v does not name the file", body, err)
			}
			return
		}
		c, err := Compare(r, r)
		if err != nil || len(c.Settings) != 0 {
			t.Fatalf("%q differs from itself in %v, %v", body, c, err)
		}
		for _, d := range c.Differences {
			if d.A == nil || d.B == nil || *d.A != *d.B {
				t.Errorf("%q differs from itself in %+v", body, d)
			}
		}
		if a, b := c.Alone(); len(a)+len(b) != 0 {
			t.Errorf("%q has cases that it does not have: %q, %q", body, a, b)
		}
		other := *r
		other.Version += "x"
		other.Measures = append([]Measure{{Case: "\x00new", Name: "n"}}, r.Measures...)
		c, err = Compare(r, &other)
		if err != nil || len(c.Settings) != 1 || !strings.HasPrefix(c.Settings[0], "version: ") {
			t.Errorf("%q: a version differs, and the comparison has %q, %v", body, c.Settings, err)
		}
		if a, b := c.Alone(); len(a) != 0 || len(b) != 1 && !strings.Contains(string(body), `\u0000new`) {
			t.Errorf("%q: only the other has one case, and the comparison has %q, %q", body, a, b)
		}
	})
}
