package node

import (
	"encoding/json"
	"math/big"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// FuzzPorts reads --ports of any text. What is taken are four ports, or none of them, each named once; it is
// written as something that is taken as the same. What is refused changes nothing.
func FuzzPorts(f *testing.F) {
	for _, s := range []string{"0", " 0 ", "1,2,3,4", "0,0,0,0", "19092, 29092,39092 ,6379", "1,2,2,3", "1,2,70000,3", "1,2,3", "-1,2,3,4", "+1,2,3,4", "0x1,2,3,4", "1,2,3,4,", "٣,1,2,4"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		p := Ports{All: DefaultPorts}
		if err := p.Set(text); err != nil {
			if p != (Ports{All: DefaultPorts}) {
				t.Errorf("%q is refused, and the ports are %s", text, &p)
			}
			return
		}
		var want [4]int
		if parts := strings.Split(text, ","); len(parts) == 4 {
			for i, part := range parts {
				n, err := strconv.Atoi(strings.TrimSpace(part))
				if want[i] = n; err != nil || n < 0 || n > 65535 || n != 0 && slices.Contains(want[:i], n) {
					t.Errorf("%q is taken", text)
				}
			}
		} else if strings.TrimSpace(text) != "0" {
			t.Errorf("%q is taken", text)
		}
		var again Ports
		if err := again.Set(p.String()); !p.Given || p.All != want || err != nil || again != p {
			t.Errorf("%q is %v, written %q, which is %v, %v; want %v", text, p, &p, again, err, want)
		}
	})
}

// FuzzBytes reads sizes of any text. A size is what math/big makes of its number and unit, and is written
// as something that is read as the same.
func FuzzBytes(f *testing.F) {
	for _, s := range []string{"4GiB", "500MB", "7", "0", " 12 kB", "9223372036854775807", "8589934592GiB", "9007199254740992KiB", "-1", "1.5GiB", "GiB", "1 B", "1e3", "1kb", "1BB"} {
		f.Add(s)
	}
	sizes := map[string]int64{"GiB": 1 << 30, "MiB": 1 << 20, "KiB": 1 << 10, "GB": 1e9, "MB": 1e6, "kB": 1e3, "B": 1, "": 1}
	f.Fuzz(func(t *testing.T, text string) {
		before := Bytes(17)
		b := before
		err := b.Set(text)
		number, unit := text, ""
		for u := range sizes {
			if rest, ok := strings.CutSuffix(text, u); ok && len(u) > len(unit) {
				number, unit = rest, u
			}
		}
		n, ok := new(big.Int).SetString(strings.TrimSpace(number), 10)
		if ok {
			n.Mul(n, big.NewInt(sizes[unit]))
			ok = n.Sign() >= 0 && n.IsInt64()
		}
		if ok != (err == nil) || ok && n.Int64() != int64(b) || !ok && b != before {
			t.Fatalf("%q is %d, %v; want %v", text, b, err, n)
		}
		if err != nil || b == 0 {
			return
		}
		var again Bytes
		if err := again.Set(b.String()); err != nil || again != b {
			t.Errorf("%q is written %q, which is %d, %v", text, b, again, err)
		}
	})
}

// FuzzRuntime reads runtime files of any bytes, as encoding/json does. No address is asked for one whose
// process cannot live.
func FuzzRuntime(f *testing.F) {
	f.Add([]byte(`{"pid":1,"command":"up","mode":"live","kafka":["127.0.0.1:1"],"redis":"redis://h","control":"/x","started":"2026-01-01T00:00:00Z"}`))
	f.Add([]byte(`{"pid":-1,"control":"/dev/null"}`))
	f.Add([]byte(`{"pid":0,"control":""}`))
	f.Add([]byte(`{"pid":99999999999}`))
	f.Add([]byte(`null`))
	f.Add([]byte(`{"pid":1`))
	data := f.TempDir()
	dir := filepath.Join(data, Live)
	if err := os.Mkdir(dir, 0o700); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		if err := os.WriteFile(filepath.Join(dir, runtimeName), body, 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := readRuntime(dir)
		var want Runtime
		if ok := json.Unmarshal(body, &want) == nil; ok != (err == nil) || ok && !reflect.DeepEqual(*got, want) {
			t.Fatalf("%q is read as %+v, %v", body, got, err)
		}
		switch {
		case err != nil:
			if !strings.Contains(err.Error(), filepath.Join(dir, runtimeName)) {
				t.Errorf("%q: %v does not name the file", body, err)
			}
		case want.PID > 0:
			return // the address of a live process is asked
		}
		if found := Running(data); len(found) != 0 {
			t.Errorf("%q is believed: %+v", body, found[0])
		}
	})
}

// FuzzToken reads files of tokens of any bytes. What is taken is one line of printable characters, and no
// error has the content. A name of --allow-host that is taken is one that a browser can send.
func FuzzToken(f *testing.F) {
	f.Add([]byte("0123456789abcdef\r\n"), "weir.example.org.")
	f.Add([]byte("0123456789 abcdef"), "127.0.0.1")
	f.Add([]byte("0123456789abcdef\nx"), " Host ")
	f.Add([]byte(strings.Repeat("x", maxToken+1)), "a..b")
	f.Add([]byte("short"), "[::1]")
	file := filepath.Join(f.TempDir(), "token")
	f.Fuzz(func(t *testing.T, content []byte, name string) {
		if err := os.WriteFile(file, content, 0o600); err != nil {
			t.Fatal(err)
		}
		token, err := (&Listen{TokenFile: file}).token()
		plain := strings.TrimRight(string(content), "\r\n")
		ok := len(plain) >= minToken && len(plain) <= maxToken && len(content) <= maxToken+2 && !strings.ContainsFunc(plain, func(c rune) bool { return c < '!' || c > '~' })
		if ok != (err == nil) && len(content) <= maxToken+2 || err == nil && token != plain {
			t.Errorf("%q: %q, %v", content, token, err)
		}
		if err != nil && len(plain) >= 12 && strings.Contains(err.Error(), plain) {
			t.Errorf("%q is in the error: %v", content, err)
		}
		names, err := (&Listen{Hosts: []string{name}}).hosts()
		if err == nil && (strings.Trim(names[0], "abcdefghijklmnopqrstuvwxyz0123456789._-") != "" || len(names[0]) > 253 || !strings.EqualFold(strings.TrimSuffix(strings.TrimSpace(name), "."), names[0])) {
			t.Errorf("%q is taken as %q", name, names)
		}
	})
}
