// Package crash names the places where a process that crashes leaves something half
// done, so that a test can end it exactly there. It owns the hook and knows
// nothing of what the places mean. Without a hook a crash point costs one atomic
// load.
package crash

import "sync/atomic"

var hook atomic.Pointer[func(point string)]

// Here passes a crash point. point is constant text, "package: moment". The hook,
// if one is set, runs on the caller's goroutine: it may return, panic or end the
// process.
func Here(point string) {
	if h := hook.Load(); h != nil {
		(*h)(point)
	}
}

// SetHook sets the function that every crash point of the process calls; nil
// removes it. It returns the one that was set before, to be put back.
func SetHook(h func(point string)) (previous func(point string)) {
	var p *func(string)
	if h != nil {
		p = &h
	}
	if old := hook.Swap(p); old != nil {
		return *old
	}
	return nil
}
