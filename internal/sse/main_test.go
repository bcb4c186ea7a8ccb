package sse

import (
	"fmt"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// String makes a failed comparison readable: large data is named by its ends.
func (g got) String() string {
	data := g.Data
	if len(data) > 200 {
		data = data[:50] + "[...]" + data[len(data)-50:]
	}
	return fmt.Sprintf("{%s id=%q data=%q (%d bytes) tooLarge=%v size=%d sum=%x}", g.Type, g.ID, data, len(g.Data), g.TooLarge, g.Size, g.Sum[:4])
}
