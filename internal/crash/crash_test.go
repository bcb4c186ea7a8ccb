package crash_test

import (
	"slices"
	"testing"

	"github.com/weir-project/weir/internal/crash"
)

func TestHereCallsTheHookThatIsSet(t *testing.T) {
	crash.Here("test: before") // no hook: nothing happens

	var passed []string
	if old := crash.SetHook(func(p string) { passed = append(passed, p) }); old != nil {
		t.Fatal("a hook was set before the test")
	}
	crash.Here("test: one")
	crash.Here("test: two")
	old := crash.SetHook(nil)
	crash.Here("test: after")

	if want := []string{"test: one", "test: two"}; !slices.Equal(passed, want) {
		t.Errorf("passed %q, want %q", passed, want)
	}
	if old == nil {
		t.Error("SetHook did not return the hook that was set")
	}
}

func TestAHookMayPanic(t *testing.T) {
	crash.SetHook(func(p string) { panic(p) })
	defer func() { crash.SetHook(nil) }()
	defer func() {
		if got := recover(); got != "test: here" {
			t.Errorf("recovered %v, want the hook's panic", got)
		}
	}()
	crash.Here("test: here")
	t.Error("the hook's panic did not end the caller")
}
