package main

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/jedib0t/go-pretty/v6/text"
	"github.com/stretchr/testify/require"
)

// hostile is what no terminal should get: an escape sequence, delete, a bidirectional override, a joiner, a line
// separator, a tag of plane 14.
const hostile = "\x1b[2Jred\x7f\u202etxt.exe\u2069\u200d\u2028\U000e0041\u009b"

func TestShowEscapes(t *testing.T) {
	item, err := json.Marshal(map[string]string{"content": hostile})
	require.NoError(t, err)
	raw := strings.NewReplacer(`\u2028`, "\u2028").Replace(string(item)) // encoding/json has escaped some of it
	file := newDatabase(t, stored{hostile, " \t" + raw + "\r\n"}, stored{"b", `{"n":1}`})

	// That nothing but graphic characters and line breaks is printed, inspect itself checks.
	r := inspect(t, nil, "-db", file, "-show", hostile)
	require.Equal(t, exitFine, r.code)
	require.Contains(t, r.stdout, `{"content":"\u001b[2Jred\u007f\u202etxt.exe\u2069\u200d\u2028\udb40\udc41\u009b"}`)
	require.Contains(t, r.stdout, `"\x1b[2Jred\x7f\u202etxt.exe\u2069`)

	_, d := document(t, nil, "-db", file, "-show", hostile)
	require.Equal(t, hostile, d.Sessions[0].ID)
	require.JSONEq(t, string(item), string((*d.Sessions[0].Content)[0].Item), "escaped, it is still the same JSON")

	inspect(t, nil, "-db", file)
	_, d = document(t, nil, "-db", file)
	require.Len(t, d.Sessions, 2)
}

func TestSessionNames(t *testing.T) {
	for in, want := range map[string]string{
		"user-123":   "user-123",
		"żółć 手荷物":   "żółć 手荷物",
		"":           `""`,
		"ends so ":   `"ends so "`,
		`say "hi"`:   `"say \"hi\""`,
		`a\b`:        `"a\\b"`,
		"a\u202eb":   `"a\u202eb"`,
		"a\xffb":     `"a\xffb"`,
		"a\u00a0b":   `"a\u00a0b"`,
		"a\nb\x1b[m": `"a\nb\x1b[m"`,
	} {
		require.Equal(t, want, name(in))
	}
}

func TestCut(t *testing.T) {
	require.Equal(t, "short", cut("short", 5))
	require.Equal(t, "01…9", cut("0123456789", 4))
	for wide := 3; wide < 20; wide++ {
		s := cut("手荷物は何キロまでですか", wide)
		require.LessOrEqual(t, text.StringWidth(s), wide)
		require.Contains(t, s, "…")
	}
	// An ID whose characters take no room, in which a search from the end would look at each over and over.
	require.Less(t, len(cut(strings.Repeat("a", 100)+strings.Repeat("\u0301", 60_000), 20)), 1000)
}

// TestMayBeRetired has a database that the read key opens nothing of, with and without something undecryptable.
func TestMayBeRetired(t *testing.T) {
	counts := func(undecryptable int) Document {
		all := Counts{Opened: &Opened{Undecryptable: undecryptable, Keys: []KeyCount{{"raw", 3}, {"0123456789abcdef", 0}}}}
		return Document{Sessions: []Session{{ID: "a", Counts: &all}}, Totals: all}
	}
	require.Contains(t, aboutKey(1, counts(0)), "Read key 1 (0123456789abcdef) opens 0 items")
	require.Contains(t, aboutKey(1, counts(0)), "it may be retired")
	require.Contains(t, aboutKey(1, counts(1)), "is it the right one?")
}

// TestSessionWithoutKey has a session from whose ID no key can be derived, which must not hide the others.
func TestSessionWithoutKey(t *testing.T) {
	key := map[string]string{keyVariable: "a key of a test"}
	file := newDatabase(t, stored{"a\x00", `{"n":1}`}, stored{"b", `{"n":2}`})
	code, d := document(t, key, "-db", file)
	require.Equal(t, exitError, code)
	require.Len(t, d.Sessions, 2)
	require.Nil(t, d.Sessions[0].Counts)
	require.Contains(t, d.Sessions[0].Error, "session ID")
	require.Equal(t, 1, d.Totals.Items)

	r := inspect(t, key, "-db", file)
	require.Equal(t, exitError, r.code)
	require.Regexp(t, `\n "a\\x00" +error\n`, r.stdout)
	require.Contains(t, r.stderr, `inspect: session "a\x00": `)
	require.Contains(t, r.stderr, "inspect: 1 session had errors")

	code, d = document(t, nil, "-db", file)
	require.Equal(t, exitFine, code)
	require.Equal(t, 2, d.Totals.Items, "without a key, there is none to derive")

	r = inspect(t, key, "-db", file, "-show", "a\x00")
	require.Equal(t, exitError, r.code)
	require.Contains(t, r.stderr, `session "a\x00": `)
}

func TestSealPlaintextPastMalformedItems(t *testing.T) {
	key := map[string]string{keyVariable: "a key of a test"}
	file := newDatabase(t,
		stored{"a", `{"n":1}`}, stored{"a", `{"__enc__":2}`}, stored{"a", `["no object"]`}, stored{"b", `{"n":2}`})
	r := inspect(t, key, "-db", file, "-seal-plaintext")
	require.Equal(t, exitError, r.code)
	require.Contains(t, r.stdout, "Seal plaintext: 1 item sealed under the current key, in 1 session.\n"+
		"It could not judge 3 items in 1 session: 0 undecryptable, 2 malformed, 1 not encrypted.\n")
	require.Contains(t, r.stderr, `inspect: session "a": encsession: SealPlaintext: finished, but could not judge all items: `)

	r = inspect(t, key, "-db", file, "-seal-plaintext", "-unreadable-history")
	require.Equal(t, exitError, r.code)
	require.Contains(t, r.stdout, "Seal plaintext: 1 item sealed under the current key, in 1 session.\n"+
		"It could not judge 2 items in 1 session: 0 undecryptable, 2 malformed, 0 not encrypted.\n")

	code, d := document(t, key, "-db", file)
	require.Equal(t, exitFine, code, "malformed is not undecryptable")
	require.Equal(t, 2, d.Totals.Readable)
	require.Equal(t, 2, d.Totals.Malformed)

	_, d = document(t, nil, "-db", file, "-show", "a")
	var states []string
	for _, item := range *d.Sessions[0].Content {
		states = append(states, item.State)
	}
	require.Equal(t, []string{"sealed", "malformed", "malformed"}, states)
}

func TestEmptyDatabase(t *testing.T) {
	r := inspect(t, nil, "-db", newDatabase(t))
	require.Equal(t, exitFine, r.code)
	require.Contains(t, r.stdout, "all 0 sessions")
	_, d := document(t, nil, "-db", newDatabase(t))
	require.NotNil(t, d.Sessions)
	require.Empty(t, d.Sessions)
}
