package main

import (
	"cmp"
	"fmt"

	"github.com/weir-project/weir/internal/inspect"
	"github.com/weir-project/weir/internal/kafka"
	"github.com/weir-project/weir/internal/node"
	"github.com/weir-project/weir/internal/visible"
)

// eventLine is an event as a line that people read: who did what. A message that is not an event
// of the two streams is its key and its value.
func eventLine(m inspect.Message) string {
	var kind string
	for _, h := range m.Headers {
		if h.Key == kafka.HeaderKind {
			kind = string(h.Value)
			break
		}
	}
	for _, s := range node.Sources {
		if name, text := s.Text(m.Value); text != "" {
			return fmt.Sprintf("[%s] %s", visible.Text(cmp.Or(kind, name)), visible.Text(text))
		}
	}
	text := bytesText(m.Value, len(m.Value))
	if m.Key != nil {
		text = bytesText(m.Key, len(m.Key)) + ": " + text
	}
	return fmt.Sprintf("[%s] %s", visible.Text(cmp.Or(kind, "message")), text)
}
