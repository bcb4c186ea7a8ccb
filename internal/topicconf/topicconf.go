// Package topicconf lists the settings that a topic of Apache Kafka 4 has: what their values may
// be, their defaults, and what each does in one plain line. Standard library only.
package topicconf

import (
	_ "embed" // the table
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// table has the settings with Apache Kafka's own bounds and defaults
// (https://kafka.apache.org/documentation/#topicconfigs). The module of the embedded brokers
// keeps any setting: a mistyped retention.ms would then delete nothing, and no error would
// report it.
//
//go:embed settings.tsv
var table string

// TopicSetting is a setting of a topic.
type TopicSetting struct {
	Name string `json:"name"`
	// About is what the setting does, in one plain line.
	About string `json:"about"`
	// Values says in words what the value may be.
	Values string `json:"values"`
	// Choices are the allowed words; empty where the value is a number or a text.
	Choices []string `json:"choices"`
	// Several says that the value may have several of the words, with commas between them.
	Several bool `json:"several"`
	// Unit of a number, such as milliseconds; empty where it has none.
	Unit string `json:"unit"`
	// Default is Apache Kafka's. A cluster may have another one.
	Default string `json:"default"`
	// Common says that a topic often has a value of its own.
	Common bool `json:"common"`

	kind, limit string
}

var settings = func() (all []TopicSetting) {
	_, rows, _ := strings.Cut(table, "\n") // behind the header
	for line := range strings.Lines(rows) {
		c := strings.Split(strings.TrimRight(line, "\r\n"), "\t")
		s := TopicSetting{Name: c[0], kind: c[1], limit: c[2], Default: c[3], Unit: c[4], Common: c[5] != "", About: c[6]}
		s.Choices, s.Several = []string{}, s.kind == "list"
		if s.kind == "word" || s.kind == "bool" || s.kind == "list" {
			s.Choices = strings.Split(s.limit, ", ")
		}
		s.Values = s.inWords()
		all = append(all, s)
	}
	return all
}()

// All returns the settings in the order of their names.
func All() []TopicSetting { return slices.Clone(settings) }

// Named returns a setting by its name.
func Named(name string) (TopicSetting, bool) {
	i := slices.IndexFunc(settings, func(s TopicSetting) bool { return s.Name == name })
	if i < 0 {
		return TopicSetting{}, false
	}
	return settings[i], true
}

// inWords says what the value may be.
func (s TopicSetting) inWords() string {
	switch s.kind {
	case "int", "long":
		words := "a whole number"
		if s.Unit != "" {
			words += " of " + s.Unit
		}
		if least, most, ok := strings.Cut(s.limit, ".."); ok {
			words += " from " + least + " to " + most
		} else if least != "" {
			words += ", at least " + least
		}
		return words
	case "share":
		return "a number from 0 to 1"
	case "list":
		return "one or several of " + s.limit
	case "word", "bool":
		return "one of " + s.limit
	case "replicas":
		return "partition:broker, several with commas between them, or *"
	}
	return "a text"
}

// Bad says why a topic cannot have a setting; empty where it can. A nil value asks for the
// default.
func Bad(name string, value *string) string {
	s, ok := Named(name)
	switch {
	case !ok:
		return "Unknown topic config name: " + name
	case value == nil:
		return ""
	}
	if wrong := s.check(strings.TrimSpace(*value)); wrong != "" {
		return fmt.Sprintf("Invalid value %s for configuration %s: %s", *value, name, wrong)
	}
	return ""
}

// checkNumber returns what is wrong with a number, or nothing. A default is allowed also where it
// is none of the numbers from the least to the largest.
func (s TopicSetting) checkNumber(n int64) string {
	least, most, bounded := strings.Cut(s.limit, "..")
	if low, err := strconv.ParseInt(least, 10, 64); err != nil || strconv.FormatInt(n, 10) == s.Default { // some have no limit
		return ""
	} else if n < low {
		return "Value must be at least " + least
	}
	if high, err := strconv.ParseInt(most, 10, 64); bounded && err == nil && n > high {
		return "Value must be no more than " + most
	}
	return ""
}

// replicas is a list of replicas as partition:broker, or all of them.
var replicas = regexp.MustCompile(`^(\*|[0-9]+:[0-9]+(,[0-9]+:[0-9]+)*)?$`)

// check returns what is wrong with a value, or nothing.
func (s TopicSetting) check(value string) string {
	switch s.kind {
	case "int", "long":
		bits := map[string]int{"int": 32, "long": 64}[s.kind]
		n, err := strconv.ParseInt(value, 10, bits)
		if err != nil {
			return "Not a number of type " + strings.ToUpper(s.kind)
		}
		return s.checkNumber(n)
	case "share":
		if f, err := strconv.ParseFloat(value, 64); err != nil || !(f >= 0 && f <= 1) {
			return "Value must be a number from 0 to 1"
		}
	case "replicas":
		if !replicas.MatchString(value) {
			return "Value must be partition:broker, several with commas between them, or *"
		}
	case "bool", "word":
		if s.kind == "bool" {
			value = strings.ToLower(value)
		}
		if !slices.Contains(s.Choices, value) {
			return "Value must be one of: " + s.limit
		}
	case "list": // may be empty
		for w := range strings.SplitSeq(value, ",") {
			if value != "" && !slices.Contains(s.Choices, strings.TrimSpace(w)) {
				return "Values must be of: " + s.limit
			}
		}
	}
	return ""
}
