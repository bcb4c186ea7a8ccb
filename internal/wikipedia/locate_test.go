package wikipedia

import (
	"reflect"
	"testing"
	"time"

	"github.com/weir-project/weir/internal/event"
)

func TestLocate(t *testing.T) {
	at := time.Date(2026, 9, 21, 13, 28, 21, 0, time.UTC) // five minutes before the sample's meta.dt
	for _, tt := range []struct {
		name, value string
		want        event.Cursor
		ok          bool
	}{
		{"an edit", sampleCategorize, event.Cursor{Host: "a:443", TimeUS: at.UnixMicro()}, true},
		{"no time", `{"type":"edit"}`, event.Cursor{}, false},
		{"another program's", `{"text":"hello"}`, event.Cursor{}, false},
		{"empty", ``, event.Cursor{}, false},
	} {
		if got, ok := Locate([]byte(tt.value), "a:443"); ok != tt.ok || !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%s: %+v, %v; want %+v, %v", tt.name, got, ok, tt.want, tt.ok)
		}
	}
}
