package cli

import (
	"strings"
	"testing"
)

func TestTable(t *testing.T) {
	tb := NewTable("TOPIC", ">EVENTS", "LAST")
	tb.Add("bluesky-events", int64(1234567), "hostile\x1b[31m")
	tb.Add("日本語", -5, "")
	var b strings.Builder
	if err := tb.Write(&b); err != nil {
		t.Fatal(err)
	}
	want := "" +
		"TOPIC              EVENTS  LAST\n" +
		"bluesky-events  1,234,567  hostile\\x1b[31m\n" +
		"日本語                 -5\n"
	if b.String() != want {
		t.Errorf("got\n%s\nwant\n%s", b.String(), want)
	}
}

func TestNumbers(t *testing.T) {
	for n, want := range map[int64]string{0: "0", 999: "999", 1000: "1,000", -1234567: "-1,234,567", -100: "-100"} {
		if got := Thousands(n); got != want {
			t.Errorf("thousands(%d) = %s, want %s", n, got, want)
		}
	}
	for n, want := range map[int64]string{0: "0 B", 1023: "1023 B", 1024: "1.0 KiB", 1048575: "1.0 MiB", 5 << 30: "5.0 GiB"} {
		if got := SizeText(n); got != want {
			t.Errorf("sizeText(%d) = %s, want %s", n, got, want)
		}
	}
}
