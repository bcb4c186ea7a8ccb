package visible

import "testing"

func TestShellWord(t *testing.T) {
	for in, want := range map[string]string{"/a/b-c": "/a/b-c", "~x": "'~x'", "a,b=c": "a,b=c", "a\tb'": `$'a\x09b\''`, "a\u202eb": `$'a\xe2\x80\xaeb'`, "": "''", "a b": "'a b'", "it's": `'it'\''s'`, "$HOME": "'$HOME'"} {
		if got := ShellWord(in); got != want {
			t.Errorf("ShellWord(%q) = %s, want %s", in, got, want)
		}
	}
}
