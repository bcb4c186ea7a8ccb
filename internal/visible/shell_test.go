package visible

import "testing"

func TestShellWord(t *testing.T) {
	for in, want := range map[string]string{"/a/b-c": "/a/b-c", "~x": "'~x'", "a,b=c": "a,b=c", "a\tb'": `$'a\x09b\''`, "a\u202eb": `$'a\xe2\x80\xaeb'`, "": "''", "a b": "'a b'", "it's": `'it'\''s'`, "$HOME": "'$HOME'"} {
		if got := shellWord(in, "linux"); got != want {
			t.Errorf("ShellWord(%q) = %s, want %s", in, got, want)
		}
	}
}

func TestShellWordOnWindows(t *testing.T) {
	for in, want := range map[string]string{`C:\a\weir.exe`: `C:\a\weir.exe`, `C:\a b`: `"C:\a b"`, `say "x"`: `'say "x"'`, "": `""`, "a;b": "'a;b'", "$(x)": "'$(x)'", "it's": "'it''s'", "it\u2019s": "'it\u2019\u2019s'"} {
		if got := shellWord(in, "windows"); got != want {
			t.Errorf("ShellWord(%q) = %s, want %s", in, got, want)
		}
	}
}
