package simulate

import "strconv"

// AppendFrame appends event i as a Jetstream server sends it: one JSON object,
// without the WebSocket framing. timeUS is the server's stamp in Unix
// microseconds; cursor its sequence number, 0 for a server that has none.
func (b *Bluesky) AppendFrame(dst []byte, i, timeUS, cursor int64) []byte {
	h := b.head(i)
	return b.appendHead(dst, &h, timeUS, cursor)
}

func (b *Bluesky) appendHead(dst []byte, h *head, timeUS, cursor int64) []byte {
	dst = append(dst, `{"did":"`...)
	didAt := len(dst)
	dst = b.appendDID(dst, h.account)
	did := dst[didAt:len(dst):len(dst)]
	dst = append(dst, `","time_us":`...)
	dst = strconv.AppendInt(dst, timeUS, 10)
	if cursor > 0 {
		dst = append(dst, `,"cursor":`...)
		dst = strconv.AppendInt(dst, cursor, 10)
	}
	if h.class >= classAccount {
		return b.appendAccountEvent(dst, h, did, timeUS)
	}
	dst = append(dst, `,"kind":"commit","commit":{"rev":"`...)
	dst = appendTID(dst, tidOf(h.i, h.account))
	dst = append(dst, `","operation":"`...)
	dst = append(dst, classNames[h.class]...)
	dst = append(dst, `","collection":"`...)
	dst = append(dst, b.collections[h.coll].name...)
	dst = append(dst, `","rkey":"`...)
	dst = b.appendRKey(dst, h)
	dst = append(dst, '"')
	if h.class != classDelete {
		dst = append(dst, `,"record":`...)
		dst = b.appendRecord(dst, h, timeUS)
		dst = append(dst, `,"cid":"`...)
		dst = appendCID(dst, "bafyrei", &h.rand)
		dst = append(dst, '"')
	}
	return append(dst, '}', '}')
}

func (b *Bluesky) appendAccountEvent(dst []byte, h *head, did []byte, timeUS int64) []byte {
	r := &h.rand
	status := ""
	if h.class == classIdentity {
		dst = append(dst, `,"kind":"identity","identity":{"did":"`...)
		dst = append(dst, did...)
		if r.below(5) > 0 {
			dst = append(dst, `","handle":"`...)
			dst = appendHandle(dst, r, h.account)
		}
	} else {
		if r.below(10) >= 6 {
			status = accountStates[r.below(len(accountStates))]
		}
		dst = append(dst, `,"kind":"account","account":{"active":`...)
		dst = strconv.AppendBool(dst, status == "")
		dst = append(dst, `,"did":"`...)
		dst = append(dst, did...)
	}
	dst = append(dst, `","seq":`...)
	dst = strconv.AppendInt(dst, relaySeq(h.i), 10)
	if status != "" {
		dst = append(dst, `,"status":"`...)
		dst = append(dst, status...)
		dst = append(dst, '"')
	}
	dst = append(dst, `,"time":"`...)
	dst = appendTime(dst, timeUS-int64(r.below(400_000)), 3)
	return append(dst, '"', '}', '}')
}

var accountStates = [...]string{"deactivated", "deleted", "takendown", "suspended"}

func appendHandle(dst []byte, r *rng, account uint64) []byte {
	dst = append(dst, words[r.below(len(words))]...)
	dst = append(dst, '-')
	dst = append(dst, words[r.below(len(words))]...)
	dst = strconv.AppendUint(dst, account, 10)
	return append(dst, ".bsky.social"...)
}

func (b *Bluesky) appendRecord(dst []byte, h *head, timeUS int64) []byte {
	r := &h.rand
	dst = append(dst, `{"$type":"`...)
	dst = append(dst, b.collections[h.coll].name...)
	dst = append(dst, '"')
	if h.form == formProfile {
		dst = b.appendProfile(dst, r)
		return append(dst, '}')
	}
	if h.form == formGate {
		dst = append(dst, `,"allow":[{"$type":"app.bsky.feed.threadgate#followingRule"}]`...)
	}
	dst = append(dst, `,"createdAt":"`...)
	dst = appendTime(dst, timeUS-int64(r.below(3_000_000)), 3)
	dst = append(dst, '"')
	switch h.form {
	case formPost:
		dst = b.appendPost(dst, r, h.i)
	case formSubjectRef:
		dst = append(dst, `,"subject":`...)
		dst = b.appendRef(dst, r, h.i)
	case formSubjectDID:
		dst = append(dst, `,"subject":"`...)
		dst = b.appendDID(dst, pickAccount(r))
		dst = append(dst, '"')
	case formListItem:
		dst = append(dst, `,"list":"`...)
		dst = b.appendURI(dst, r, h.i, "app.bsky.graph.list")
		dst = append(dst, `","subject":"`...)
		dst = b.appendDID(dst, pickAccount(r))
		dst = append(dst, '"')
	case formGate:
		dst = append(dst, `,"post":"`...)
		dst = b.appendURI(dst, r, h.i, "app.bsky.feed.post")
		dst = append(dst, `","hiddenReplies":[]`...)
	default:
		dst = append(dst, `,"name":"`...)
		s := pickScript(r)
		dst = append(dst, s.lines[r.below(len(s.lines))].html...)
		dst = append(dst, `","count":`...)
		dst = strconv.AppendUint(dst, r.next()>>1, 10) // beyond 2^53: must survive as it is
		dst = append(dst, `,"ratio":-1.5e-3,"nested":{"list":[true,false,null,[],{}]}`...)
	}
	return append(dst, '}')
}

// appendURI appends the address of a record that an earlier event made.
func (b *Bluesky) appendURI(dst []byte, r *rng, i int64, collection string) []byte {
	account := pickAccount(r)
	dst = append(dst, `at://`...)
	dst = b.appendDID(dst, account)
	dst = append(dst, '/')
	dst = append(dst, collection...)
	dst = append(dst, '/')
	return appendTID(dst, tidOf(i-int64(r.below(1_000_000)), account))
}

func (b *Bluesky) appendRef(dst []byte, r *rng, i int64) []byte {
	dst = append(dst, `{"cid":"`...)
	dst = appendCID(dst, "bafyrei", r)
	dst = append(dst, `","uri":"`...)
	dst = b.appendURI(dst, r, i, "app.bsky.feed.post")
	return append(dst, '"', '}')
}

func appendBlob(dst []byte, r *rng, mime string) []byte {
	dst = append(dst, `{"$type":"blob","mimeType":"`...)
	dst = append(dst, mime...)
	dst = append(dst, `","ref":{"$link":"`...)
	dst = appendCID(dst, "bafkrei", r)
	dst = append(dst, `"},"size":`...)
	dst = strconv.AppendInt(dst, int64(20_000+r.below(950_000)), 10)
	return append(dst, '}')
}

func (b *Bluesky) appendProfile(dst []byte, r *rng) []byte {
	s := pickScript(r)
	dst = append(dst, `,"avatar":`...)
	dst = appendBlob(dst, r, "image/jpeg")
	dst = append(dst, `,"description":"`...)
	dst = append(dst, s.lines[r.below(len(s.lines))].html...)
	dst = append(dst, `\n\n`...)
	dst = append(dst, s.lines[r.below(len(s.lines))].html...)
	dst = append(dst, `","displayName":"`...)
	dst = append(dst, words[r.below(len(words))]...)
	return append(dst, '"')
}

func (b *Bluesky) appendPost(dst []byte, r *rng, i int64) []byte {
	s := pickScript(r)
	if roll := r.below(100); roll < 28 {
		dst = append(dst, `,"embed":`...)
		dst = b.appendEmbed(dst, r, s, i, roll)
	}
	if r.below(100) < 9 {
		dst = append(dst, `,"facets":[{"features":[{"$type":"app.bsky.richtext.facet#tag","tag":"`...)
		dst = append(dst, words[r.below(len(words))]...)
		dst = append(dst, `"}],"index":{"byteEnd":`...)
		at := int64(r.below(100))
		dst = strconv.AppendInt(dst, at+8, 10)
		dst = append(dst, `,"byteStart":`...)
		dst = strconv.AppendInt(dst, at, 10)
		dst = append(dst, `}}]`...)
	}
	if s.lang != "" {
		dst = append(dst, `,"langs":["`...)
		dst = append(dst, s.lang...)
		dst = append(dst, `"]`...)
	}
	if r.below(100) < 42 {
		dst = append(dst, `,"reply":{"parent":`...)
		parent := *r
		dst = b.appendRef(dst, r, i)
		dst = append(dst, `,"root":`...)
		if r.below(2) == 0 {
			dst = b.appendRef(dst, &parent, i)
		} else {
			dst = b.appendRef(dst, r, i)
		}
		dst = append(dst, '}')
	}
	dst = append(dst, `,"text":"`...)
	ascii := r.below(50) == 0
	for k := r.below(3); ; k-- {
		p := &s.lines[r.below(len(s.lines))]
		if ascii {
			dst = append(dst, p.ascii...)
		} else {
			dst = append(dst, p.html...)
		}
		if k == 0 {
			return append(dst, '"')
		}
		dst = append(dst, ' ')
	}
}

func (b *Bluesky) appendEmbed(dst []byte, r *rng, s *script, i int64, roll int) []byte {
	line := func() string { return s.lines[r.below(len(s.lines))].html }
	switch {
	case roll < 12:
		dst = append(dst, `{"$type":"app.bsky.embed.images","images":[{"alt":"`...)
		dst = append(dst, line()...)
		dst = append(dst, `","aspectRatio":{"height":1080,"width":1920},"image":`...)
		dst = appendBlob(dst, r, "image/jpeg")
		return append(dst, `}]}`...)
	case roll < 20:
		dst = append(dst, `{"$type":"app.bsky.embed.external","external":{"description":"`...)
		dst = append(dst, line()...)
		dst = append(dst, `","thumb":`...)
		dst = appendBlob(dst, r, "image/png")
		dst = append(dst, `,"title":"`...)
		dst = append(dst, line()...)
		dst = append(dst, `","uri":"https://`...)
		dst = append(dst, words[r.below(len(words))]...)
		dst = append(dst, `.example/2026/`...)
		dst = strconv.AppendInt(dst, int64(r.below(100_000)), 10)
		return append(dst, `?a=1\u0026b=2"}}`...)
	case roll < 26:
		dst = append(dst, `{"$type":"app.bsky.embed.record","record":`...)
		dst = b.appendRef(dst, r, i)
		return append(dst, '}')
	default:
		dst = append(dst, `{"$type":"app.bsky.embed.video","aspectRatio":{"height":1280,"width":720},"video":`...)
		dst = appendBlob(dst, r, "video/mp4")
		return append(dst, '}')
	}
}
