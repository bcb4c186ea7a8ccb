package redisd

import (
	"bufio"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/weir-project/weir/internal/intake"
)

// TestOneRequestHasABound: a request may hold 32 MiB, in one argument or in many, and what is
// beyond that is refused before it is read.
func TestOneRequestHasABound(t *testing.T) {
	read := func(text string) error {
		q := &requestReader{r: bufio.NewReader(strings.NewReader(text)), request: intake.NewBudget(1 << 40).Request(func() {}),
			deadline: func(time.Time) error { return nil }}
		_, err := q.next()
		return err
	}
	piece := strings.Repeat("x", 1<<20)
	argument := fmt.Sprintf("$%d\r\n%s\r\n", len(piece), piece)
	many := func(n int) string { return fmt.Sprintf("*%d\r\n", n) + strings.Repeat(argument, n) }
	if err := read(many(31)); err != nil {
		t.Errorf("31 MiB: %v", err)
	}
	for what, text := range map[string]string{
		"33 MiB in 33 arguments": many(33),
		"33 MiB in one argument": fmt.Sprintf("*1\r\n$%d\r\n", 33<<20),
		"empty arguments alone":  "*262145\r\n",
	} {
		if err := read(text); !errors.Is(err, errProtocol) {
			t.Errorf("%s: %v", what, err)
		}
	}
}
