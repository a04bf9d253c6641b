package main

import (
	"bytes"
	"encoding/json"
	"iter"
	"strings"
	"testing"
	"testing/synctest"
	"unicode"

	"github.com/encsession/encsession"
	"github.com/jedib0t/go-pretty/v6/text"
	"github.com/stretchr/testify/require"
)

const itemCount = 56

func TestConversation(t *testing.T) {
	items := conversation()
	require.Len(t, items, itemCount)
	for i, item := range items {
		var object map[string]any
		require.NoError(t, json.Unmarshal(item, &object), "item %d", i)
		require.NotEmpty(t, object, "item %d", i)
	}
}

// output is what run writes. A synctest bubble makes its waiting take no time.
func output(t *testing.T) string {
	t.Helper()
	var out bytes.Buffer
	synctest.Test(t, func(t *testing.T) {
		require.NoError(t, run(&out))
	})
	return out.String()
}

func TestRunClaims(t *testing.T) {
	out := output(t)
	for _, claim := range []string{
		`A conversation of 56 items in the session "user-123"`,
		"Wrong key  reads 0 items, leaves out 56 (" + encsession.ErrUndecryptable.Error() + ")\n" +
			"Its pop    gets nothing\n" +
			"Store      still holds 56 items\n" +
			"Right key  reads 56 items, byte for byte as they were added\n",
		"TTL of 1s  reads 0 items, leaves out 56 (" + encsession.ErrExpired.Error() + ")\n" +
			"Store      still holds 56 items\n" +
			"NoExpiry   reads 56 items, byte for byte as they were added\n",
	} {
		require.Contains(t, out, claim)
	}
}

func TestRunComparesEveryItem(t *testing.T) {
	items := conversation()
	known := pieces(items)
	rows := tableRows(output(t))
	require.Len(t, rows, itemCount)
	seen := map[string]bool{}
	for i, row := range rows {
		stored, returned := row[3], row[4]

		payload, isEnvelope := strings.CutPrefix(stored, `{"__enc__":1,…"payload":"…`)
		require.True(t, isEnvelope, "item %d", i)
		require.False(t, seen[payload], "item %d: payload like that of another item", i)
		seen[payload] = true
		for piece := range windows(payload) {
			require.False(t, known[piece], "item %d: the store holds content", i)
		}

		shown := strings.TrimSuffix(strings.TrimPrefix(returned, "…"), "…")
		require.NotEmpty(t, shown, "item %d", i)
		require.Contains(t, string(items[i]), shown, "item %d", i)
	}
	require.Contains(t, rows[1][4], "my passport is", "the session returns content")
}

func TestRunShowsNoKey(t *testing.T) {
	const keyLike = `[0-9A-Za-z_+/-]{43}`
	require.Regexp(t, keyLike, encsession.GenerateKey())
	require.NotRegexp(t, keyLike, output(t))
}

func TestRunFitsTheTerminal(t *testing.T) {
	for line := range strings.Lines(output(t)) {
		line = strings.TrimSuffix(line, "\n")
		require.LessOrEqual(t, text.StringWidthWithoutEscSequences(line), 120, line)
		for _, r := range line {
			require.True(t, unicode.IsGraphic(r), "%U in %q", r, line)
		}
	}
}

func TestPrintable(t *testing.T) {
	for name, test := range map[string]struct{ in, want string }{
		"text":            {"Kraków 400 € 手荷物 🐈", "Kraków 400 € 手荷物 🐈"},
		"escape sequence": {"a\x1b[2Jb", "a\uFFFD[2Jb"},
		"C1 and delete":   {"a\u009b\x7fb", "a\uFFFD\uFFFDb"},
		"bidi override":   {"a\u202eb\u202c\u2066\u2069\u200f", "a\uFFFDb\uFFFD\uFFFD\uFFFD\uFFFD"},
		"line separator":  {"a\n\u2028b", "a\uFFFD\uFFFDb"},
		"not UTF-8":       {"a\xffb", "a\uFFFDb"},
	} {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, test.want, printable(test.in))
		})
	}
}

// tableRows returns the cells of the rows of the table.
func tableRows(out string) [][]string {
	var rows [][]string
	for line := range strings.Lines(out) {
		cells := strings.SplitN(line, "│", 5)
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		if len(cells) == 5 && cells[0] != "#" {
			rows = append(rows, cells)
		}
	}
	return rows
}

// pieceSize is long enough for ciphertext not to hold a piece of the conversation by chance.
const pieceSize = 8

// pieces returns every piece of the items.
func pieces(items []encsession.Item) map[string]bool {
	known := map[string]bool{}
	for _, item := range items {
		for piece := range windows(string(item)) {
			known[piece] = true
		}
	}
	return known
}

// windows returns the pieces of s, one from each byte.
func windows(s string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for i := 0; i+pieceSize <= len(s); i++ {
			if !yield(s[i : i+pieceSize]) {
				return
			}
		}
	}
}
