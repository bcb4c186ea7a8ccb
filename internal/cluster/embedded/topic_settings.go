package embedded

import (
	_ "embed" // the table
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// settingsTable has the settings that a topic of Apache Kafka 4 has, with what their
// values may be (https://kafka.apache.org/documentation/#topicconfigs). The module keeps
// any setting: a mistyped retention.ms would then delete nothing, and no error would
// report it.
//
//go:embed topic_settings.tsv
var settingsTable string

// setting is the type of a setting, and its least value or the allowed words.
type setting struct{ kind, limit string }

var topicSettings = func() map[string]setting {
	all := make(map[string]setting)
	_, rows, _ := strings.Cut(settingsTable, "\n") // behind the header
	for line := range strings.Lines(rows) {
		cells := strings.Split(strings.TrimRight(line, "\r\n"), "\t")
		all[cells[0]] = setting{cells[1], cells[2]}
	}
	return all
}()

// badSetting says why a topic cannot have a setting; empty where it can. A nil value
// asks for the default.
func badSetting(name string, value *string) string {
	s, ok := topicSettings[name]
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

// check returns what is wrong with a value, or nothing.
func (s setting) check(value string) string {
	allowed := strings.Split(s.limit, ", ")
	switch s.kind {
	case "int", "long":
		bits := map[string]int{"int": 32, "long": 64}[s.kind]
		n, err := strconv.ParseInt(value, 10, bits)
		if err != nil {
			return "Not a number of type " + strings.ToUpper(s.kind)
		}
		if least, err := strconv.ParseInt(s.limit, 10, 64); err == nil && n < least { // some have no limit
			return "Value must be at least " + s.limit
		}
	case "share":
		if f, err := strconv.ParseFloat(value, 64); err != nil || !(f >= 0 && f <= 1) {
			return "Value must be a number from 0 to 1"
		}
	case "bool":
		return setting{"word", s.limit}.check(strings.ToLower(value))
	case "word":
		if !slices.Contains(allowed, value) {
			return "Value must be one of: " + s.limit
		}
	case "list": // may be empty
		for w := range strings.SplitSeq(value, ",") {
			if value != "" && !slices.Contains(allowed, strings.TrimSpace(w)) {
				return "Values must be of: " + s.limit
			}
		}
	}
	return ""
}
