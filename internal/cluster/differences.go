package cluster

import (
	_ "embed" // the table
	"slices"
	"strings"
)

// Difference is one way in which embedded brokers behave differently from Apache Kafka.
type Difference struct {
	ID        string `json:"id"`        // short, in kebab-case; tests name it
	Behaviour string `json:"behaviour"` // what it is about
	Apache    string `json:"apache"`    // what Apache Kafka does
	Embedded  string `json:"embedded"`  // what embedded brokers do
	Learner   string `json:"learner"`   // what this means for a learner
}

// DiffReplication is the ID of the entry about copies of the data.
const DiffReplication = "replication"

//go:embed differences.md
var differencesTable string

// Differences returns where embedded brokers are known to differ from Apache Kafka, what
// matters most first. The conformance suite asserts both sides of each entry.
func Differences() (all []Difference) {
	_, rows, _ := strings.Cut(differencesTable, "|---|\n")
	for row := range strings.Lines(rows) {
		cells := strings.Split(strings.Trim(row, "| \n"), " | ")
		all = append(all, Difference{cells[0], cells[1], cells[2], cells[3], cells[4]})
	}
	return all
}

// DifferenceOf returns the entry with an ID, and whether it exists.
func DifferenceOf(id string) (Difference, bool) {
	all := Differences()
	i := slices.IndexFunc(all, func(d Difference) bool { return d.ID == id })
	if i < 0 {
		return Difference{}, false
	}
	return all[i], true
}
