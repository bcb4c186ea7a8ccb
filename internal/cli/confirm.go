package cli

import (
	"bufio"
	"io"
	"os"
	"strings"

	"golang.org/x/term"
)

// Confirm asks a question whose answer must be want; yes (the flag --yes) answers
// instead. Where in is not a terminal, it returns an error that names the flag.
func Confirm(in io.Reader, s *Screen, question, want string, yes bool) error {
	if yes {
		return nil
	}
	if f, ok := in.(*os.File); !ok || !term.IsTerminal(int(f.Fd())) {
		return UsageError("add --yes", "this changes data, and there is no terminal to confirm it on")
	}
	_, _ = io.WriteString(s.out, question)
	answer, _ := bufio.NewReader(in).ReadString('\n')
	answer = strings.TrimSpace(answer)
	if !strings.EqualFold(answer, want) && (want != "y" || !strings.EqualFold(answer, "yes")) {
		return RuntimeError("nothing was changed", "not confirmed")
	}
	return nil
}
