package simulate

import "strconv"

// AppendEvent appends event i as EventStreams sends it in a data line: one JSON
// object without a line break. dtMS is the time of the change in Unix
// milliseconds; dc the data centre that produced it.
func (w *Wikipedia) AppendEvent(dst []byte, i, dtMS int64, dc string) []byte {
	c := w.change(i)
	r := &c.rand
	o := (*output)(&dst)
	domain := "canary"
	o.put(`{"$schema":"/mediawiki/recentchange/1.0.0","meta":{`)
	if !c.canary {
		domain = c.wiki.Domain
		o.put(`"uri":"https://`).page(&c).put(`",`)
	}
	o.put(`"request_id":"`).uuid(r.next(), r.next()).put(`","id":"`).uuid(c.idHi, c.idLo).put(`","dt":"`).time(dtMS*1000, r.below(33) > 0)
	o.put(`","domain":"`).put(domain).put(`","stream":"mediawiki.recentchange","topic":"`).put(dc)
	o.put(`.mediawiki.recentchange","partition":0,"offset":`).num(offsetBase + i)
	o.put(`}`)
	if !c.canary {
		o.body(&c, r, dtMS)
	}
	o.put(`}`)
	return dst
}

// page appends the page's address without the scheme.
func (o *output) page(c *change) *output { return o.put(c.wiki.Domain).put("/wiki/").path(c) }

func (o *output) path(c *change) *output { return o.put(c.title.path).put("_").num(int64(c.page)) }

// title appends the title in one of the spellings that JSON allows.
func (o *output) title(c *change, spelling int) *output {
	title := c.title.plain
	switch {
	case spelling < 4:
		title = c.title.ascii
	case spelling < 8:
		title = c.title.html
	}
	return o.put(title).put(" ").num(int64(c.page))
}

const plain = 99 // the spelling that escapes only what JSON demands

func (o *output) body(c *change, r *rng, dtMS int64) {
	spelling := r.below(100)
	rc := 1_900_000_000 + c.i
	if r.below(500) == 0 {
		rc = 9_007_199_254_740_993 + 2*c.i // beyond what a double holds
	}
	if r.below(100) > 0 { // id can be absent
		o.put(`,"id":`).num(rc)
	}
	namespace := [...]int64{0, 0, 0, 0, 6, 1, 2, 10}[r.below(8)]
	if c.kind == "categorize" {
		namespace = 14
	}
	o.put(`,"type":"`).put(c.kind).put(`","namespace":`).num(namespace)
	o.put(`,"title":"`).title(c, spelling).put(`","title_url":"https://`).page(c)
	comment := *r
	o.put(`","comment":"`).comment(c, r, false).put(`","timestamp":`).num(dtMS/1000 - int64(r.below(3)))
	o.put(`,"user":"`).user(r).put(`","bot":`).flag(r.below(100) < 38)
	switch c.kind {
	case "log":
		o.log(r, c.i)
	case "edit", "new":
		o.revision(c, r, rc)
	default:
		o.put(`,"notify_url":"https://`).put(c.wiki.Domain).put(`/w/index.php?diff=1342885441&oldid=1342885399&rcid=`).num(rc).put(`"`)
	}
	o.put(`,"server_url":"https://`).put(c.wiki.Domain).put(`","server_name":"`).put(c.wiki.Domain)
	o.put(`","server_script_path":"/w","wiki":"`).put(c.wiki.DB).put(`","parsedcomment":"`).comment(c, &comment, true).put(`"`)
}

func (o *output) revision(c *change, r *rng, rc int64) {
	size, rev := int64(r.below(90_000)), 1_300_000_000+c.i
	o.put(`,"notify_url":"https://`).put(c.wiki.Domain).put(`/w/index.php?diff=`).num(rev).put(`&oldid=`).num(rev - 1).put(`&rcid=`).num(rc)
	o.put(`","minor":`).flag(r.below(4) == 0)
	if r.below(3) > 0 {
		o.put(`,"patrolled":`).flag(r.below(2) == 0)
	}
	o.put(`,"length":{`)
	if c.kind == "edit" {
		o.put(`"old":`).num(size).put(`,`)
	}
	o.put(`"new":`).num(size + int64(r.below(400))).put(`},"revision":{`)
	if c.kind == "edit" {
		o.put(`"old":`).num(rev - 1).put(`,`)
	}
	o.put(`"new":`).num(rev).put(`}`)
}

// link appends a link to the page of a title with a prefix, parsed to HTML or as
// typed. An empty text is the title.
func (o *output) link(c *change, parsed bool, prefix, text string) {
	if parsed {
		o.put(`<a href=\"/wiki/`).put(prefix).path(c).put(`\" title=\"`).put(prefix).title(c, plain).put(`\">`)
		if text == "" {
			o.title(c, plain)
		}
		o.put(text).put(`</a>`)
		return
	}
	if text == "" {
		o.put(`[[:`).title(c, plain).put(`]]`)
		return
	}
	o.put(`[[`).put(prefix).title(c, plain).put(`|`).put(text).put(`]]`)
}

// comment appends an edit summary, parsed to HTML or as typed. Both take the
// same draws.
func (o *output) comment(c *change, r *rng, parsed bool) *output {
	roll := r.below(100)
	line := pickScript(r).line(r).plain
	switch {
	case c.kind == "categorize":
		o.link(c, parsed, "", "")
		if roll < 40 {
			return o.put(` added to category`)
		}
		o.put(` removed from category, `).link(c, parsed, "Special:WhatLinksHere/", "this page is included within other pages")
	case roll < 15:
	case roll < 40 && parsed:
		o.put(`<span class=\"autocomment\">→` + "\u200e").put(line).put(`</span>`)
	case roll < 40:
		o.put(`/* `).put(line).put(` */`)
	case roll < 45:
		// Cut as long summaries are: between characters, never in the middle of a
		// surrogate pair, which strict parsers (orjson, as quixstreams uses it) refuse.
		o.put(line).put(`\ud83d\ude00...`)
	default:
		o.put(line).put(" ").link(c, parsed, "", "")
	}
	return o
}

func (o *output) user(r *rng) *output {
	n := r.next()
	word := words[n>>40%uint64(len(words))]
	switch n % 10 {
	case 0:
		return o.put("~2026-").num(int64(n >> 20 % 100_000)).put("-").num(int64(n >> 50 % 100))
	case 1:
		*o = strconv.AppendUint(*o.put("2001:DB8:0:0:0:0:0:"), n>>20%10_000, 16)
		return o
	case 2:
		return o.put(word).put("の利用者")
	case 3:
		return o.put(word).put("Bot")
	}
	return o.put(word).num(int64(n >> 20 % 5_000))
}

// logEntries are fields of log entries; log_params is an object, an array or a string.
var logEntries = []string{
	`"move","log_action":"move","log_params":{"target":"Weir \"B\"","noredir":"1"}`,
	`"abusefilter","log_action":"hit","log_params":{"action":"edit","filter":"1073","actions":"tag","log":39122456}`,
	`"delete","log_action":"delete","log_params":[]`,
	`"tag","log_action":"update","log_params":["a",1,{"b":null}]`,
	`"patrol","log_action":"patrol","log_params":"1342885441\n1342885399\n0"`,
}

// log appends the fields of a log entry.
func (o *output) log(r *rng, i int64) {
	o.put(`,"log_id":`).num(170_000_000 + i).put(`,"log_type":`)
	if k := r.below(6); k > 0 {
		o.put(logEntries[k-1])
	} else {
		o.put(`"upload","log_action":"overwrite","log_params":{"img_sha1":"`).base32(r, 31).put(`","img_timestamp":"20261122101112"}`)
	}
	o.put(`,"log_action_comment":"logged: \"Weir\""`)
}
