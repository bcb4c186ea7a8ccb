package learn

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/big"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

// FuzzProgress reads files of any bytes. One that is refused is named with the way out. What is read can be
// changed, and everything else in it stays. The observers go on from whatever evidence is in it.
func FuzzProgress(f *testing.F) {
	f.Add([]byte(`{"version":1,"stations":{"1":{"done_at":5,"seen":["x"]},"6":{"answer":{"given":"a","right":true},"evidence":{"c":{"g":{"owners":2,"from":1}}}}}}`))
	f.Add([]byte(`{"version":1,"stations":{"1":null,"5":{"evidence":{"c":null}},"6":{"evidence":{"c":{"g":null,"h":null}}},"7":{"evidence":{"c":{"a":{},"b":null}}}}}`))
	f.Add([]byte(`{"version":1,"stations":{"8":{"evidence":{"c":{"restarted":true,"groups":{"a":{"at":1},"b":null}}}},"9":{"evidence":{"c":{"t":{"was":0,"shrunk":true,"back":true}}}}}}`))
	f.Add([]byte(`{"version":1,"before":{"cluster":["a","b"]}}`))
	f.Add([]byte(`{"version":2}`))
	f.Add([]byte(`null`))
	f.Add([]byte(`{"version":1,`))
	f.Fuzz(func(t *testing.T, data []byte) {
		p := &progress{memory: data}
		before, err := p.load()
		if err != nil {
			if !strings.Contains(err.Error(), "weir learn reset") || p.clear() != nil {
				t.Errorf("%q: %v", data, err)
			}
			return
		}
		for _, st := range before.Stations {
			_ = st.DoneAt // each is there
		}
		if err := p.change(func(s *saved) { s.station(3).Answer = &savedAnswer{Given: "new"} }); err != nil {
			t.Fatal(err)
		}
		after, err := p.load()
		if err != nil || after.Stations[3].Answer.Given != "new" || !sameJSON(before.Before, after.Before) {
			t.Fatalf("%q becomes %s, %v", data, p.memory, err)
		}
		for number, st := range before.Stations {
			if now := after.Stations[number]; number != 3 && now != nil && !sameJSON(st, now) {
				t.Errorf("%q becomes %s at station %d", data, p.memory, number)
			}
		}
		c := &Course{cfg: Config{Own: "c"}, progress: p, memory: map[string]any{}}
		group := groupSample{members: 1, owners: 1, assigned: 2, lag: 7, settled: true, committed: map[string]map[int32]int64{"t": {0: 5}}}
		for i := range stations {
			l := &look{station: &stations[i], c: c, cluster: "c"}
			switch l.number {
			case offsetsStation.number, groupsStation.number, independentStation.number:
				s := sample{at: time.UnixMilli(1), now: true, groups: map[string]groupSample{"g": group, "new": group}}
				if err := l.observe(t.Context(), l, s); err != nil {
					t.Errorf("station %d: %v", l.number, err)
				}
				if _, err := l.check(t.Context(), l); err != nil {
					t.Errorf("station %d: %v", l.number, err)
				}
			case persistenceStation.number:
				if now, _, err := persistedNow(l); err != nil || now.Restarted && now.Mark == nil {
					t.Errorf("%+v, %v", now, err)
				}
			case replicationStation.number:
				all, err := trails[failoverTrail](l)
				if err != nil || all == nil || slices.Contains(slices.Collect(maps.Values(all)), nil) {
					t.Errorf("%v, %v", all, err)
				}
			}
		}
	})
}

func sameJSON(a, b any) bool {
	x, _ := json.Marshal(a)
	y, _ := json.Marshal(b)
	return string(x) == string(y)
}

// FuzzAnswer gives answers of any text to a question. A number is right where math/big says that it is,
// a choice where it is the text or the letter of the right one.
func FuzzAnswer(f *testing.F) {
	for _, s := range []string{"12", " 12", "+12", "1,234", "1,23", "0x10", "12.0", "b", "B", "two", "-0", "00012", strings.Repeat("9", 41), "1_2", ""} {
		f.Add(s, int64(1234))
		f.Add(s, int64(12))
	}
	f.Fuzz(func(t *testing.T, answer string, right int64) {
		q := &question{kind: Number, answer: fmt.Sprint(right)}
		got, err := q.judge(q.meant(answer))
		plain := answer
		if parts := strings.Split(answer, ","); len(parts) > 1 && strings.Trim(answer, "0123456789,") == "" && len(parts[0]) >= 1 && len(parts[0]) <= 3 &&
			!slices.ContainsFunc(parts[1:], func(p string) bool { return len(p) != 3 }) {
			plain = strings.Join(parts, "")
		}
		n, ok := new(big.Int).SetString(plain, 10)
		if ok = ok && len(plain) <= 40; ok != (err == nil) || ok && got != (n.Cmp(big.NewInt(right)) == 0) {
			t.Errorf("%q for %d: %v, %v", answer, right, got, err)
		}
		c := &question{kind: Choice, choices: []string{"one", "two", "c"}, answer: "two"}
		got, err = c.judge(c.meant(answer))
		known := slices.Contains([]string{"a", "b", "c", "one", "two"}, answer)
		if known != (err == nil) || got != (answer == "two" || answer == "b") {
			t.Errorf("the choice %q: %v, %v", answer, got, err)
		}
		if !reflect.DeepEqual(c.choices, []string{"one", "two", "c"}) {
			t.Error("the choices changed")
		}
	})
}

// TestProgressWithEmptyEntries: entries that are null are as if they were not there.
func TestProgressWithEmptyEntries(t *testing.T) {
	for name, station := range map[string]string{
		"a station that is null":    `"1":null`,
		"evidence that is null":     `"6":{"evidence":{"c":null}}`,
		"a group that is null":      `"6":{"evidence":{"c":{"g":null,"h":{"owners":1}}}}`,
		"a record that was not put": `"8":{"evidence":{"c":{"restarted":true,"groups":{"g":null}}}}`,
	} {
		t.Run(name, func(t *testing.T) {
			p := &progress{memory: []byte(`{"version":1,"stations":{"3":{"done_at":5},` + station + `}}`)}
			if err := p.change(func(s *saved) { s.station(4).DoneAt = 7 }); err != nil {
				t.Fatal(err)
			}
			kept, err := p.load()
			if err != nil || kept.station(3).DoneAt != 5 || kept.station(4).DoneAt != 7 || kept.station(1).DoneAt != 0 {
				t.Errorf("%s, %v", p.memory, err)
			}
			c := &Course{cfg: Config{Own: "c"}, progress: p, memory: map[string]any{}}
			l := &look{station: &groupsStation, c: c, cluster: "c"}
			if err := l.observe(t.Context(), l, sample{groups: map[string]groupSample{"g": {owners: 2}}, now: true}); err != nil {
				t.Error(err)
			}
			l.station = &persistenceStation
			if now, best, err := persistedNow(l); err != nil || best != nil || now.Restarted {
				t.Errorf("%+v, %+v, %v", now, best, err)
			}
		})
	}
}
