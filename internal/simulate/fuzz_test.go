package simulate

import "testing"

// FuzzPlan reads plans of faults. What is taken is within its bounds.
func FuzzPlan(f *testing.F) {
	f.Add(" cut@5000,wikipedia:stall@900:30s, 429@2:1s,malformed/1000,oversize@7:6MiB,gap@10:50,,binary/3,switch@4")
	f.Add("oversize@5:1000MiB")
	f.Fuzz(func(t *testing.T, text string) {
		plan, err := ParsePlan(text)
		if err != nil {
			return
		}
		for _, x := range plan {
			if x.N < 0 || x.Every && x.N < 1 || x.Value < 0 || x.Name == FaultOversize && x.Value > 256<<20 {
				t.Errorf("%q has %+v", text, x)
			}
		}
		plan.Faults("bluesky")
	})
}
