package bluesky

import (
	"reflect"
	"testing"

	"github.com/weir-project/weir/internal/event"
)

func TestLocate(t *testing.T) {
	for _, tt := range []struct {
		name, value string
		want        event.Cursor
		ok          bool
	}{
		{"v1: by time, which any host understands", v1(3, t0), event.Cursor{TimeUS: t0, Last: commitID(3)}, true},
		{"v2: by number, on its host", v2(50_000, 3, t0), event.Cursor{Host: "a:443", Seq: 50_000, TimeUS: t0, Last: commitID(3)}, true},
		{"no time", v1(3, 0), event.Cursor{}, false},
		{"another program's", `{"text":"hello"}`, event.Cursor{}, false},
		{"an unknown kind", `{"did":"did:plc:a","time_us":1791110060549005,"kind":"sync","sync":{}}`, event.Cursor{}, false},
		{"no JSON", `hello`, event.Cursor{}, false},
		{"empty", ``, event.Cursor{}, false},
	} {
		if got, ok := Locate([]byte(tt.value), "a:443"); ok != tt.ok || !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%s: %+v, %v; want %+v, %v", tt.name, got, ok, tt.want, tt.ok)
		}
	}
}
