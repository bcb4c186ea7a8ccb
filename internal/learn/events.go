package learn

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/weir-project/weir/internal/inspect"
)

// eventsStation: the learner opens one message. The question is about its key, or where the topic has
// no keys, about the size of its value.
var eventsStation = station{number: 1, name: "events", minutes: 5, question: eventsQuestion, picture: eventsPicture, check: eventsCheck,
	names: eventsNames,
	unavailable: func(_ context.Context, l *look) string {
		if len(l.readable()) == 0 {
			return "no topic can be read: start weir up, or write records to a topic"
		}
		return ""
	}}

// pinnedRecord is the record that the question is about.
type pinnedRecord struct {
	Topic     string   `json:"topic"`
	Partition int32    `json:"partition"`
	Offset    int64    `json:"offset"`
	Keys      []string `json:"keys"`
}

// eventsNames are the place of the record that the question is about.
func eventsNames(l *look) []string {
	var pin pinnedRecord
	if known, err := l.kept(questionKey, &pin); err != nil || !known {
		pin.Topic, _ = l.streamTopic()
	}
	return []string{"{record.topic}", cmp.Or(pin.Topic, l.topic()), "{record.partition}", strconv.Itoa(int(pin.Partition)),
		"{record.offset}", strconv.FormatInt(pin.Offset, 10)}
}

// readable are the topics in which a record can be looked at: first weir's streams, then all others.
func (l *look) readable() (names []string) {
	if s, _ := l.streamTopic(); s != "" {
		names = append(names, s)
	}
	for _, d := range l.meta.Topics.Sorted() {
		if d.Err == nil && !d.IsInternal && !strings.HasPrefix(d.Topic, "__") && !slices.Contains(names, d.Topic) {
			names = append(names, d.Topic)
		}
	}
	return names
}

const keyChoices = 4

// choosePin chooses a record, and for the wrong answers keys of its neighbours.
func (l *look) choosePin(ctx context.Context) (pin pinnedRecord, err error) {
	names := l.readable()
	for _, topic := range names[:min(len(names), maxTopics)] {
		list, err := l.newest(ctx, topic, 40)
		if err != nil {
			return pin, err
		}
		if len(list) == 0 {
			continue
		}
		m := list[len(list)/2]
		pin = pinnedRecord{Topic: topic, Partition: m.Partition, Offset: m.Offset}
		if shownKey(m) == "" {
			return pin, nil
		}
		keys := []string{shownKey(m)}
		for _, other := range list {
			if k := shownKey(other); k != "" && !slices.Contains(keys, k) && len(keys) < keyChoices {
				keys = append(keys, k)
			}
		}
		if len(keys) > 1 {
			slices.Sort(keys)
			pin.Keys = keys
		}
		return pin, nil
	}
	return pin, errors.New("no topic holds a record yet: wait until events are stored, or write one with weir send")
}

// shownKey is the key of a record as a choice; empty for none, or one that is not a short text.
func shownKey(m inspect.Message) string {
	const most = 100 // bytes
	k := string(m.Key)
	if len(k) > most || !utf8.ValidString(k) || strings.ContainsAny(k, "\n\r\t`") || k != strings.TrimSpace(k) {
		return ""
	}
	return k
}

func eventsQuestion(ctx context.Context, l *look) (question, error) {
	var pin pinnedRecord
	known, err := l.kept(questionKey, &pin)
	if err != nil {
		return question{}, err
	}
	var m inspect.Message
	found := false
	if known {
		m, found, err = l.record(ctx, pin.Topic, pin.Partition, pin.Offset)
		if err != nil && !errors.Is(err, inspect.ErrNoTopic) {
			return question{}, err
		}
	}
	if !found { // there was none yet, or retention has deleted it
		if pin, err = l.choosePin(ctx); err != nil {
			return question{}, err
		}
		if m, found, err = l.record(ctx, pin.Topic, pin.Partition, pin.Offset); err != nil || !found {
			return question{}, errors.Join(err, errors.New("the record was deleted: ask again"))
		}
		if err := l.put(questionKey, pin); err != nil {
			return question{}, err
		}
	}
	return pin.question(m), nil
}

func (pin pinnedRecord) question(m inspect.Message) question {
	where := fmt.Sprintf("offset %d of partition %d of topic `%s`", pin.Offset, pin.Partition, pin.Topic)
	q := question{kind: Choice, choices: pin.Keys, answer: shownKey(m), text: "Open the record at " + where + ". What is its key?"}
	if len(pin.Keys) == 0 {
		q.kind, q.choices, q.answer = Number, nil, strconv.Itoa(len(m.Value))
		q.text = "Open the record at " + where + ". How many bytes does its value have?"
	}
	q.why = func(wrong string) string {
		first := "Right."
		if wrong != "" {
			first = "That is not in this record. Topic, partition and offset together name exactly one record."
		}
		return fmt.Sprintf("%s The record at %s has %s, a value of %d bytes, and the time %s.",
			first, where, keyWords(m), len(m.Value), m.Timestamp.UTC().Format("2006-01-02 15:04:05 MST"))
	}
	return q
}

func keyWords(m inspect.Message) string {
	if k := shownKey(m); k != "" {
		return "the key `" + k + "`"
	}
	return "no key that can be shown here"
}

// eventsPicture is the newest record: another one than that of the question.
func eventsPicture(ctx context.Context, l *look) (Picture, error) {
	var pin pinnedRecord
	if known, err := l.kept(questionKey, &pin); err != nil || !known {
		return Picture{Kind: PictureNone, Note: "There is nothing to show yet: no topic holds a record. It appears here with the first one."}, err
	}
	list, err := l.newest(ctx, pin.Topic, 2)
	if err != nil {
		return Picture{}, err
	}
	const maxValue = 8 << 10
	for _, m := range slices.Backward(list) {
		if m.Partition != pin.Partition || m.Offset != pin.Offset {
			wire := m.Wire(maxValue)
			p := Picture{Kind: PictureMessage, Topic: pin.Topic, Message: &wire}
			p.Partitions, err = l.partitions(ctx, pin.Topic)
			return p, err
		}
	}
	return l.lanes(ctx, PictureLanes, pin.Topic, "")
}

func eventsCheck(_ context.Context, l *look) (Check, error) {
	a, err := l.answer()
	if err != nil {
		return Check{}, err
	}
	switch {
	case a == nil:
		return notYet("the question of this station is not answered yet: open the record, then answer it"), nil
	case !a.Right:
		return notYetf("your answer %q is wrong: open the record at that partition and offset, and answer again", a.Given), nil
	default:
		return Check{Done: true, Seen: []string{"you found the answer " + a.Given}}, nil
	}
}
