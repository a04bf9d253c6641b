package sessiontest

import (
	"slices"
	"strings"

	"github.com/encsession/encsession"
)

var isolation = check{
	name: "isolation",
	rule: "Two different session IDs are two sessions; if a store cannot hold an ID, its methods return an error.",
	harm: "Users read, continue and delete each other's conversations.",
	run: func(t *tester) {
		held := t.heldSessions(marked)
		for _, s := range held {
			s.want(s.mark("earlier"), s.mark("later"))
			s.wantPop(s.mark("later"))
		}
		// A ClearSession that also empties another session shows only if the
		// turn of the other one comes later, so a second round goes the other
		// way.
		for _, s := range held {
			s.want(s.mark("earlier"))
			s.clear()
		}
		for _, s := range held {
			s.add(s.mark("again"))
		}
		for _, s := range slices.Backward(held) {
			s.want(s.mark("again"))
			s.clear()
		}
		for _, s := range held {
			s.want()
		}
	},
}

// heldSessions returns those sessions with mergeable IDs that the store can
// hold. Each has two items, given by pair. If the store refuses an ID, GetItems
// and PopItem must find nothing under it. Using a refused ID must not touch the
// other sessions; the caller checks that.
func (t *tester) heldSessions(pair func(handle) (one, two encsession.Item)) []handle {
	t.Helper()
	var held, refused []handle
	for _, id := range mergeableIDs() {
		s := t.session(id)
		if !strings.Contains(strings.ToLower(id), "sessiontest") {
			// The ID is the same in every run. If it is refused, that shows below.
			_ = s.tryClear()
		}
		held = append(held, s)
	}
	held = slices.DeleteFunc(held, func(s handle) bool {
		err := s.tryAdd(pair(s))
		if err != nil {
			t.Logf("the store refuses the session ID %.60q: %v", s.id, err)
			refused = append(refused, s)
		}
		return err != nil
	})
	for _, s := range refused {
		if items, err := s.tryItems(0); err == nil && len(items) > 0 {
			t.Fatalf("AddItems refuses the session ID %q, but GetItems finds %s there", s.id, show(items[0]))
		}
		if item, err := s.tryPop(); err == nil && item != nil {
			t.Fatalf("AddItems refuses the session ID %q, but PopItem finds %s there", s.id, show(item))
		}
		_ = s.tryClear()
	}
	return held
}

// marked returns two items that say which session they belong to.
func marked(h handle) (earlier, later encsession.Item) { return h.mark("earlier"), h.mark("later") }

// mark returns an item that says which session it belongs to.
func (h handle) mark(name string) encsession.Item { return object(name, h.id) }

// mergeableIDs returns different IDs that databases, file systems and programs
// are known to take for one another. They do so by collation, padding,
// trimming, patterns, escapes, conversion, normalisation or cutting.
func mergeableIDs() []string {
	// The stem has small ASCII letters and digits, with a letter at both ends.
	stem := "sessiontest-" + random() + "s"
	ids := []string{
		stem, strings.ToUpper(stem), strings.ToUpper(stem[:1]) + stem[1:],
		stem[:len(stem)-1], stem + stem,

		// These are the same in every run: with a stem, they would no longer be
		// numbers, or words with a meaning.
		"0", "00", "0x0", "0.0", "-0", "null", "NULL",
	}
	for _, suffix := range []string{
		// visible and invisible white space
		" ", "  ", "\t", "\n", "\r\n", "\u00a0", "\u3000", "\u200b", "\u00ad", "\ufeff",
		// keys and names that stores make from an ID
		":messages", ":counter", ":", "::", ":messages:messages", "_messages", ".json", ".",
		// patterns, of LIKE and of globs
		"%", "%%", "_", "*", "**", "?", "[a]", "a", "{a,b}",
		// quotes, escapes and SQL
		"'", "''", `"`, `""`, "`", `\`, `\\`, `\'`, `\n`, "%20", "+", "&amp;", "&", "$1", "#", ";", "--",
		"'; DROP TABLE agent_messages; --", "' OR '1'='1",
		// paths
		"/", "//", "/.", "/b", "/b/..", "/../b", ":b",
		// case and accents, in both normal forms, and letters that case folding
		// changes
		"e", "E", "é", "e\u0301", "É", "E\u0301", "è", "ß", "ss", "SS", "ẞ", "ſ", "s", "S",
		"i", "I", "İ", "ı", "i\u0307", "σ", "ς", "Σ", "k", "\u212a", "å", "\u212b", "ω", "\u2126",
		// width, ligatures and compatibility
		"A", "Ａ", "ａ", "1", "１", "¹", "①", "fi", "ﬁ", "は", "ば", "ハ", "ﾊ",
		// emoji, some of which a collation may take for nothing or for one
		// another
		"😀", "😁", "❤", "❤\ufe0f", "👍", "👍🏽", "�", "??",
	} {
		ids = append(ids, stem+suffix)
	}
	for _, prefix := range []string{
		" ", "\t", "\n", "\u200b", "../x/../", "./", "/", "'", "%", "*", "-", "agents:session:",
	} {
		ids = append(ids, prefix+stem)
	}
	last := stem[:len(stem)-1] // the patterns below match the stem
	ids = append(ids, last+"_", last+"?", last+"*", last+"%", last+"[a-z]", last+`\s`,
		"{"+stem+"}", "'"+stem+"'", `"`+stem+`"`)
	for _, letter := range []string{"x", "é", "😀"} {
		// These are numbers of characters, which have one, two or four bytes.
		for _, size := range []int{64, 255, 300} {
			long := stem + strings.Repeat(letter, size-len(stem)-1)
			ids = append(ids, long+"1", long+"2")
		}
	}
	return ids
}
