package simulate

// AppendFrame appends event i as a Jetstream server sends it: one JSON object,
// without the WebSocket framing. timeUS is the server's stamp in Unix
// microseconds; cursor its sequence number, 0 for a server that has none.
func (b *Bluesky) AppendFrame(dst []byte, i, timeUS, cursor int64) []byte {
	h := b.head(i)
	return b.appendHead(dst, &h, timeUS, cursor)
}

func (b *Bluesky) appendHead(dst []byte, h *head, timeUS, cursor int64) []byte {
	o := (*output)(&dst)
	o.put(`{"did":"`).did(b, h.account).put(`","time_us":`).num(timeUS)
	if cursor > 0 {
		o.put(`,"cursor":`).num(cursor)
	}
	if h.class >= classAccount {
		o.accountEvent(b, h, timeUS)
		return dst
	}
	o.put(`,"kind":"commit","commit":{"rev":"`).tid(tidOf(h.i, h.account)).put(`","operation":"`).put(classNames[h.class])
	o.put(`","collection":"`).put(b.collections[h.coll].name).put(`","rkey":"`).rkey(h).put(`"`)
	if h.class != classDelete {
		o.record(b, h, timeUS)
		o.put(`,"cid":"`).cid("bafyrei", &h.rand).put(`"`)
	}
	o.put(`}}`)
	return dst
}

func (o *output) accountEvent(b *Bluesky, h *head, timeUS int64) {
	r := &h.rand
	status := ""
	if h.class == classIdentity {
		o.put(`,"kind":"identity","identity":{"did":"`).did(b, h.account)
		if r.below(5) > 0 {
			o.put(`","handle":"`).one(r, words).put("-").one(r, words).num(int64(h.account)).put(".bsky.social")
		}
	} else {
		if r.below(10) >= 6 {
			status = accountStates[r.below(len(accountStates))]
		}
		o.put(`,"kind":"account","account":{"active":`).flag(status == "").put(`,"did":"`).did(b, h.account)
	}
	o.put(`","seq":`).num(relaySeq(h.i))
	if status != "" {
		o.put(`,"status":"`).put(status).put(`"`)
	}
	o.put(`,"time":"`).time(timeUS-int64(r.below(400_000)), true).put(`"}}`)
}

var accountStates = [...]string{"deactivated", "deleted", "takendown", "suspended"}

func (o *output) record(b *Bluesky, h *head, timeUS int64) {
	r := &h.rand
	o.put(`,"record":{"$type":"`).put(b.collections[h.coll].name).put(`"`)
	if h.form == formProfile {
		s := pickScript(r)
		o.put(`,"avatar":`).blob(r, "image/jpeg")
		o.put(`,"description":"`).put(s.line(r).html).put(`\n\n`).put(s.line(r).html).put(`","displayName":"`).one(r, words).put(`"}`)
		return
	}
	if h.form == formGate {
		o.put(`,"allow":[{"$type":"app.bsky.feed.threadgate#followingRule"}]`)
	}
	o.put(`,"createdAt":"`).time(timeUS-int64(r.below(3_000_000)), true).put(`"`)
	switch h.form {
	case formPost:
		o.post(b, r, h.i)
	case formSubjectRef:
		o.put(`,"subject":`).ref(b, r, h.i)
	case formSubjectDID:
		o.put(`,"subject":"`).did(b, pickAccount(r)).put(`"`)
	case formListItem:
		o.put(`,"list":"`).uri(b, r, h.i, "app.bsky.graph.list").put(`","subject":"`).did(b, pickAccount(r)).put(`"`)
	case formGate:
		o.put(`,"post":"`).uri(b, r, h.i, "app.bsky.feed.post").put(`","hiddenReplies":[]`)
	default:
		o.put(`,"name":"`).put(pickScript(r).line(r).html).put(`","count":`).num(int64(r.next() >> 1)) // beyond 2^53: must survive as it is
		o.put(`,"ratio":-1.5e-3,"nested":{"list":[true,false,null,[],{}]}`)
	}
	o.put(`}`)
}

// uri appends the address of a record that an earlier event made.
func (o *output) uri(b *Bluesky, r *rng, i int64, collection string) *output {
	account := pickAccount(r)
	return o.put(`at://`).did(b, account).put("/").put(collection).put("/").tid(tidOf(i-int64(r.below(1_000_000)), account))
}

func (o *output) ref(b *Bluesky, r *rng, i int64) *output {
	return o.put(`{"cid":"`).cid("bafyrei", r).put(`","uri":"`).uri(b, r, i, "app.bsky.feed.post").put(`"}`)
}

func (o *output) blob(r *rng, mime string) *output {
	o.put(`{"$type":"blob","mimeType":"`).put(mime).put(`","ref":{"$link":"`).cid("bafkrei", r)
	return o.put(`"},"size":`).num(int64(20_000 + r.below(950_000))).put(`}`)
}

func (o *output) post(b *Bluesky, r *rng, i int64) {
	s := pickScript(r)
	if roll := r.below(100); roll < 28 {
		o.put(`,"embed":`).embed(b, r, s, i, roll)
	}
	if r.below(100) < 9 {
		o.put(`,"facets":[{"features":[{"$type":"app.bsky.richtext.facet#tag","tag":"`).one(r, words)
		at := int64(r.below(100))
		o.put(`"}],"index":{"byteEnd":`).num(at + 8).put(`,"byteStart":`).num(at).put(`}}]`)
	}
	if s.Lang != "" {
		o.put(`,"langs":["`).put(s.Lang).put(`"]`)
	}
	if r.below(100) < 42 {
		parent := *r
		o.put(`,"reply":{"parent":`).ref(b, r, i).put(`,"root":`)
		if r.below(2) == 0 {
			o.ref(b, &parent, i)
		} else {
			o.ref(b, r, i)
		}
		o.put(`}`)
	}
	o.put(`,"text":"`)
	ascii := r.below(50) == 0
	for k := r.below(3); ; k-- {
		if p := s.line(r); ascii {
			o.put(p.ascii)
		} else {
			o.put(p.html)
		}
		if k == 0 {
			break
		}
		o.put(" ")
	}
	o.put(`"`)
}

func (o *output) embed(b *Bluesky, r *rng, s *script, i int64, roll int) {
	switch {
	case roll < 12:
		o.put(`{"$type":"app.bsky.embed.images","images":[{"alt":"`).put(s.line(r).html)
		o.put(`","aspectRatio":{"height":1080,"width":1920},"image":`).blob(r, "image/jpeg").put(`}]}`)
	case roll < 20:
		o.put(`{"$type":"app.bsky.embed.external","external":{"description":"`).put(s.line(r).html).put(`","thumb":`).blob(r, "image/png")
		o.put(`,"title":"`).put(s.line(r).html).put(`","uri":"https://`).one(r, words)
		o.put(`.example/2026/`).num(int64(r.below(100_000))).put(`?a=1\u0026b=2"}}`)
	case roll < 26:
		o.put(`{"$type":"app.bsky.embed.record","record":`).ref(b, r, i).put(`}`)
	default:
		o.put(`{"$type":"app.bsky.embed.video","aspectRatio":{"height":1280,"width":720},"video":`).blob(r, "video/mp4").put(`}`)
	}
}
