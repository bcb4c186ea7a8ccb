package kit

import (
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestEveryLabHasAShortForm(t *testing.T) {
	t.Parallel()
	all, short := All(), Short()
	if len(all) != len(short) {
		t.Fatalf("%d labs have %d short forms", len(all), len(short))
	}
	for i, e := range all {
		if e.Name() != short[i].Name() {
			t.Errorf("lab %d is %s, its short form %s", i, e.Name(), short[i].Name())
		}
	}
}
