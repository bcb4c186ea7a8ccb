package simulate

import "strconv"

// AppendEvent appends event i as EventStreams sends it in a data line: one JSON
// object without a line break. dtMS is the time of the change in Unix
// milliseconds; dc the data centre that produced it.
func (w *Wikipedia) AppendEvent(dst []byte, i, dtMS int64, dc string) []byte {
	c := w.change(i)
	r := &c.rand
	dst = append(dst, `{"$schema":"/mediawiki/recentchange/1.0.0","meta":{`...)
	if !c.canary {
		dst = append(dst, `"uri":"https://`...)
		dst = c.appendPage(dst)
		dst = append(dst, '"', ',')
	}
	dst = append(dst, `"request_id":"`...)
	dst = appendUUID(dst, r.next(), r.next())
	dst = append(dst, `","id":"`...)
	dst = appendUUID(dst, c.idHi, c.idLo)
	dst = append(dst, `","dt":"`...)
	digits := 3
	if r.below(33) == 0 {
		digits = 0
	}
	dst = appendTime(dst, dtMS*1000, digits)
	dst = append(dst, `","domain":"`...)
	if c.canary {
		dst = append(dst, "canary"...)
	} else {
		dst = append(dst, c.wiki.domain...)
	}
	dst = append(dst, `","stream":"mediawiki.recentchange","topic":"`...)
	dst = append(dst, dc...)
	dst = append(dst, `.mediawiki.recentchange","partition":0,"offset":`...)
	dst = strconv.AppendInt(dst, offsetBase+i, 10)
	dst = append(dst, '}')
	if c.canary {
		return append(dst, '}')
	}
	return append(c.appendBody(dst, r, dtMS), '}')
}

// appendPage appends the page's address without the scheme.
func (c *change) appendPage(dst []byte) []byte {
	dst = append(dst, c.wiki.domain...)
	dst = append(dst, "/wiki/"...)
	return c.appendPath(dst)
}

func (c *change) appendPath(dst []byte) []byte {
	dst = append(dst, c.title.path...)
	dst = append(dst, '_')
	return strconv.AppendUint(dst, c.page, 10)
}

// appendTitle appends the title in one of the spellings that JSON allows.
func (c *change) appendTitle(dst []byte, spelling int) []byte {
	switch {
	case spelling < 4:
		dst = append(dst, c.title.ascii...)
	case spelling < 8:
		dst = append(dst, c.title.html...)
	default:
		dst = append(dst, c.title.plain...)
	}
	dst = append(dst, ' ')
	return strconv.AppendUint(dst, c.page, 10)
}

func (c *change) appendBody(dst []byte, r *rng, dtMS int64) []byte {
	spelling := r.below(100)
	rc := 1_900_000_000 + c.i
	if r.below(500) == 0 {
		rc = 9_007_199_254_740_993 + 2*c.i // beyond what a double holds
	}
	if r.below(100) > 0 { // id can be absent
		dst = append(dst, `,"id":`...)
		dst = strconv.AppendInt(dst, rc, 10)
	}
	dst = append(dst, `,"type":"`...)
	dst = append(dst, c.kind...)
	dst = append(dst, `","namespace":`...)
	namespace := [...]int64{0, 0, 0, 0, 6, 1, 2, 10}[r.below(8)]
	if c.kind == "categorize" {
		namespace = 14
	}
	dst = strconv.AppendInt(dst, namespace, 10)
	dst = append(dst, `,"title":"`...)
	dst = c.appendTitle(dst, spelling)
	dst = append(dst, `","title_url":"https://`...)
	dst = c.appendPage(dst)
	dst = append(dst, `","comment":"`...)
	comment := *r
	dst = c.appendComment(dst, r, false)
	dst = append(dst, `","timestamp":`...)
	dst = strconv.AppendInt(dst, dtMS/1000-int64(r.below(3)), 10)
	dst = append(dst, `,"user":"`...)
	dst = appendUser(dst, r)
	dst = append(dst, `","bot":`...)
	dst = strconv.AppendBool(dst, r.below(100) < 38)
	switch c.kind {
	case "log":
		dst = appendLog(dst, r, c.i)
	case "edit", "new":
		dst = c.appendRevision(dst, r, rc)
	default:
		dst = append(dst, `,"notify_url":"https://`...)
		dst = append(dst, c.wiki.domain...)
		dst = append(dst, `/w/index.php?diff=1342885441&oldid=1342885399&rcid=`...)
		dst = strconv.AppendInt(dst, rc, 10)
		dst = append(dst, '"')
	}
	dst = append(dst, `,"server_url":"https://`...)
	dst = append(dst, c.wiki.domain...)
	dst = append(dst, `","server_name":"`...)
	dst = append(dst, c.wiki.domain...)
	dst = append(dst, `","server_script_path":"/w","wiki":"`...)
	dst = append(dst, c.wiki.db...)
	dst = append(dst, `","parsedcomment":"`...)
	dst = c.appendComment(dst, &comment, true)
	return append(dst, '"')
}

func (c *change) appendRevision(dst []byte, r *rng, rc int64) []byte {
	size, rev := int64(r.below(90_000)), 1_300_000_000+c.i
	dst = append(dst, `,"notify_url":"https://`...)
	dst = append(dst, c.wiki.domain...)
	dst = append(dst, `/w/index.php?diff=`...)
	dst = strconv.AppendInt(dst, rev, 10)
	dst = append(dst, `&oldid=`...)
	dst = strconv.AppendInt(dst, rev-1, 10)
	dst = append(dst, `&rcid=`...)
	dst = strconv.AppendInt(dst, rc, 10)
	dst = append(dst, `","minor":`...)
	dst = strconv.AppendBool(dst, r.below(4) == 0)
	if r.below(3) > 0 {
		dst = append(dst, `,"patrolled":`...)
		dst = strconv.AppendBool(dst, r.below(2) == 0)
	}
	dst = append(dst, `,"length":{`...)
	if c.kind == "edit" {
		dst = append(dst, `"old":`...)
		dst = strconv.AppendInt(dst, size, 10)
		dst = append(dst, ',')
	}
	dst = append(dst, `"new":`...)
	dst = strconv.AppendInt(dst, size+int64(r.below(400)), 10)
	dst = append(dst, `},"revision":{`...)
	if c.kind == "edit" {
		dst = append(dst, `"old":`...)
		dst = strconv.AppendInt(dst, rev-1, 10)
		dst = append(dst, ',')
	}
	dst = append(dst, `"new":`...)
	dst = strconv.AppendInt(dst, rev, 10)
	return append(dst, '}')
}

// appendComment appends an edit summary, parsed to HTML or as typed. Both take
// the same draws.
func (c *change) appendComment(dst []byte, r *rng, parsed bool) []byte {
	link := func() {
		if !parsed {
			dst = append(dst, `[[:`...)
			dst = c.appendTitle(dst, 99)
			dst = append(dst, `]]`...)
			return
		}
		dst = append(dst, `<a href=\"/wiki/`...)
		dst = c.appendPath(dst)
		dst = append(dst, `\" title=\"`...)
		dst = c.appendTitle(dst, 99)
		dst = append(dst, `\">`...)
		dst = c.appendTitle(dst, 99)
		dst = append(dst, `</a>`...)
	}
	roll := r.below(100)
	s := pickScript(r)
	line := s.lines[r.below(len(s.lines))].plain
	switch {
	case c.kind == "categorize":
		link()
		if roll < 40 {
			dst = append(dst, ` added to category`...)
			break
		}
		dst = append(dst, ` removed from category, `...)
		if parsed {
			dst = append(dst, `<a href=\"/wiki/Special:WhatLinksHere/`...)
			dst = c.appendPath(dst)
			dst = append(dst, `\" title=\"Special:WhatLinksHere/`...)
			dst = c.appendTitle(dst, 99)
			dst = append(dst, `\">this page is included within other pages</a>`...)
		} else {
			dst = append(dst, `[[Special:WhatLinksHere/`...)
			dst = c.appendTitle(dst, 99)
			dst = append(dst, `|this page is included within other pages]]`...)
		}
	case roll < 15:
	case roll < 40:
		if parsed {
			dst = append(dst, `<span class=\"autocomment\">→`+"\u200e"...)
			dst = append(dst, line...)
			dst = append(dst, `</span>`...)
		} else {
			dst = append(dst, `/* `...)
			dst = append(dst, line...)
			dst = append(dst, ` */`...)
		}
	case roll < 45:
		dst = append(dst, line...)
		// Cut as long summaries are: between characters, never in the middle of a
		// surrogate pair, which strict parsers (orjson, as quixstreams uses it) refuse.
		dst = append(dst, `\ud83d\ude00...`...)
	default:
		dst = append(dst, line...)
		dst = append(dst, ' ')
		link()
	}
	return dst
}

func appendUser(dst []byte, r *rng) []byte {
	n := r.next()
	word := words[n>>40%uint64(len(words))]
	switch n % 10 {
	case 0:
		dst = append(dst, "~2026-"...)
		dst = strconv.AppendUint(dst, n>>20%100_000, 10)
		return strconv.AppendUint(append(dst, '-'), n>>50%100, 10)
	case 1:
		dst = append(dst, "2001:DB8:0:0:0:0:0:"...)
		return strconv.AppendUint(dst, n>>20%10_000, 16)
	case 2:
		return append(append(dst, word...), "の利用者"...)
	case 3:
		return append(append(dst, word...), "Bot"...)
	default:
		dst = append(dst, word...)
		return strconv.AppendUint(dst, n>>20%5_000, 10)
	}
}

// appendLog appends the fields of a log entry; log_params is an object, an array
// or a string.
func appendLog(dst []byte, r *rng, i int64) []byte {
	dst = append(dst, `,"log_id":`...)
	dst = strconv.AppendInt(dst, 170_000_000+i, 10)
	switch r.below(6) {
	case 0:
		dst = append(dst, `,"log_type":"upload","log_action":"overwrite","log_params":{"img_sha1":"`...)
		dst = appendBase32(dst, r, 31)
		dst = append(dst, `","img_timestamp":"20261122101112"}`...)
	case 1:
		dst = append(dst, `,"log_type":"move","log_action":"move","log_params":{"target":"Weir \"B\"","noredir":"1"}`...)
	case 2:
		dst = append(dst, `,"log_type":"abusefilter","log_action":"hit","log_params":{"action":"edit","filter":"1073","actions":"tag","log":39122456}`...)
	case 3:
		dst = append(dst, `,"log_type":"delete","log_action":"delete","log_params":[]`...)
	case 4:
		dst = append(dst, `,"log_type":"tag","log_action":"update","log_params":["a",1,{"b":null}]`...)
	default:
		dst = append(dst, `,"log_type":"patrol","log_action":"patrol","log_params":"1342885441\n1342885399\n0"`...)
	}
	return append(dst, `,"log_action_comment":"logged: \"Weir\""`...)
}
