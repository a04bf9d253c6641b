package main

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/encsession/encsession"
	"github.com/jedib0t/go-pretty/v6/text"
	"github.com/stretchr/testify/require"
)

// hostile is text that no terminal should get: an escape sequence, delete, a
// bidirectional override, a joiner, a line separator, a tag of plane 14.
const hostile = "\x1b[2Jred\x7f\u202etxt.exe\u2069\u200d\u2028\U000e0041\u009b"

func TestShowEscapes(t *testing.T) {
	item, err := json.Marshal(map[string]string{"content": hostile})
	require.NoError(t, err)
	raw := strings.NewReplacer(`\u2028`, "\u2028").Replace(string(item)) // encoding/json has escaped some of it
	environment := env(nil).on(newDatabase(t, stored{hostile, " \t" + raw + "\r\n"}, stored{"b", `{"n":1}`}))

	// The function call itself checks that only graphic characters and line
	// breaks are printed.
	r := call(t, environment, "show", hostile)
	require.Contains(t, r.stdout, `{"content":"\u001b[2Jred\u007f\u202etxt.exe\u2069\u200d\u2028\udb40\udc41\u009b"}`)
	require.Contains(t, r.stdout, `"\x1b[2Jred\x7f\u202etxt.exe\u2069`)

	_, p := lines(t, environment, "show", hostile)
	require.Equal(t, hostile, p.items[0].Session)
	require.JSONEq(t, string(item), string(p.items[0].Item), "escaped, it is still the same JSON")

	for _, args := range [][]string{{"audit"}, {"audit", "--all"}, {"sessions", "--all"}, {"delete", hostile, "--dry-run"}, {"show", hostile + "x"}} {
		call(t, environment, args...)
	}
	_, p = lines(t, environment, "sessions", "--all")
	require.Len(t, p.sessions, 2)
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
	// This ID's characters take no room. A search from the end would look at
	// each of them over and over.
	require.Less(t, len(cut(strings.Repeat("a", 100)+strings.Repeat("\u0301", 60_000), 20)), 1000)

	long := strings.Repeat("long-", 40)
	environment := env(nil).on(newDatabase(t, stored{long + "a", `{"n":1}`}, stored{long + "b", `["n"]`}))
	require.Contains(t, call(t, environment, "audit", "--all").stdout, "…")
	require.Contains(t, call(t, environment, "audit").stdout, "…")
}

// TestSessionWithoutKey: a session whose ID allows no key to be derived must
// not hide the others.
func TestSessionWithoutKey(t *testing.T) {
	key := env{keyVariable: encsession.GenerateKey()}
	file := newDatabase(t, stored{"a\x00", `{"n":1}`}, stored{"b", `{"n":2}`})
	code, p := lines(t, key.on(file), "audit", "--all")
	require.Equal(t, exitPartly, code)
	require.Len(t, p.sessions, 2)
	require.Nil(t, p.sessions[0].Counts)
	require.Contains(t, p.sessions[0].Error, "session ID")
	require.Equal(t, 1, p.summary.Items)
	require.Equal(t, "partly", p.summary.Outcome)
	require.Equal(t, 1, p.summary.Failed)
	require.Len(t, p.summary.Errors, 1)

	r := call(t, key.on(file), "audit", "--all")
	require.Equal(t, exitPartly, r.code)
	require.Regexp(t, `\n "a\\x00" +failed\n`, r.stdout)
	require.Contains(t, r.stderr, "encsession: Audit: 1 of 2 sessions failed\n"+`  session "a\x00": `)

	code, s := summary(t, env(nil).on(file), "audit")
	require.Equal(t, exitFindings, code)
	require.Equal(t, 2, s.Items, "without a key, there is none to derive")

	r = call(t, key.on(file), "show", "a\x00")
	require.Equal(t, exitError, r.code)
	require.Contains(t, r.stderr, `session "a\x00": `)

	r = call(t, key.on(file), "delete", "a\x00", "--yes")
	require.Equal(t, exitWell, r.code, "to erase it takes no key: "+r.stderr)
}

func TestSealPlaintextPastMalformedItems(t *testing.T) {
	text, key := newKey(t)
	file := newDatabase(t,
		stored{"a", `{"n":1}`}, stored{"a", `{"__enc__":2}`}, stored{"a", `["no object"]`}, stored{"b", `{"n":2}`})
	environment := env{keyVariable: text}.on(file)
	r := call(t, environment, "seal", "--yes")
	require.Equal(t, exitError, r.code)
	require.Contains(t, r.stderr, "the current key, "+key.Fingerprint()+", opens no item of the store")
	first := []string{"seal", "--yes", "--first-use", key.Fingerprint()}
	r = call(t, environment, first...)
	require.Equal(t, exitFindings, r.code, r.stderr)
	require.Contains(t, r.stdout, "seal: 1 item sealed under the current key, in 1 of 2 sessions.\n"+
		"It could not judge 3 items in 1 session: 0 undecryptable, 2 malformed, 1 not encrypted.\n")
	require.Contains(t, r.stdout, "\n  a\n")

	r = call(t, environment, "seal", "--yes", "--unreadable-history")
	require.Equal(t, exitFindings, r.code, r.stderr)
	require.Contains(t, r.stdout, "seal: 1 item sealed under the current key, in 1 of 2 sessions.\n"+
		"It could not judge 2 items in 1 session: 0 undecryptable, 2 malformed, 0 not encrypted.\n")

	code, s := summary(t, environment, "audit")
	require.Equal(t, exitFindings, code)
	require.Equal(t, 2, s.Readable)
	require.Equal(t, 2, s.Malformed)

	_, p := lines(t, env(nil).on(file), "show", "a")
	var states []string
	for _, item := range p.items {
		states = append(states, item.State)
	}
	require.Equal(t, []string{"sealed", "malformed", "malformed"}, states)
}
