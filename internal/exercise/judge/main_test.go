package judge

import (
	"flag"
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/weir-project/weir/internal/exercise/program"
)

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == program.GuardArgument {
		os.Exit(program.Guard())
	}
	if os.Getenv("LEARNER") != "" {
		os.Exit(learner(os.Getenv("LEARNER")))
	}
	_ = flag.Set("test.parallel", "8") // they mostly wait; -parallel overrides it
	goleak.VerifyTestMain(m)
}
