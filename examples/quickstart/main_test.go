package main

import (
	"bytes"
	"iter"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"unicode"

	"github.com/encsession/encsession"
	"github.com/encsession/encsession/examples/internal/sample"
	"github.com/jedib0t/go-pretty/v6/text"
	"github.com/stretchr/testify/require"
)

const itemCount = 56

// outputIn returns the output of run for a database in the folder. A synctest
// bubble makes its waiting take no time.
func outputIn(t *testing.T, folder string) string {
	t.Helper()
	var out bytes.Buffer
	synctest.Test(t, func(t *testing.T) {
		require.NoError(t, run(&out, folder))
	})
	return out.String()
}

func output(t *testing.T) string {
	t.Helper()
	return outputIn(t, t.TempDir())
}

func TestRunClaims(t *testing.T) {
	out := strings.ReplaceAll(output(t), "\n           ", " ") // the error of the add takes several lines
	undecryptable := regexp.QuoteMeta(encsession.ErrUndecryptable.Error())
	require.Regexp(t, "Wrong key  reads 0 items, leaves out 56 \\("+undecryptable+"\\)\n"+
		"Its pop    gets nothing\n"+
		`Its add    is refused: encsession: AddItems: session "user-123": no key opens its newest items `+
		`\(current key [0-9a-f]{16}\): .*: `+undecryptable+"\n"+
		"The file   still holds 56 items\n"+
		"Right key  reads 56 items, byte for byte as they were added\n", out)
	for _, claim := range []string{
		`A conversation of 56 items in the session "user-123"`,
		"TTL of 1s  reads 0 items, leaves out 56 (" + encsession.ErrExpired.Error() + ")\n" +
			"NoExpiry   reads 56 items, byte for byte as they were added\n",
	} {
		require.Contains(t, out, claim)
	}
}

func TestRunComparesItems(t *testing.T) {
	items := sample.Conversation()
	known := pieces(items, cellPiece)
	rows := tableRows(output(t))
	require.Len(t, rows, rowsShown)
	seen := map[string]bool{}
	for i, row := range rows {
		stored, returned := row[3], row[4]

		payload, isEnvelope := strings.CutPrefix(stored, `{"__enc__":1,…"payload":"…`)
		require.True(t, isEnvelope, "item %d", i)
		require.False(t, seen[payload], "item %d: payload like that of another item", i)
		seen[payload] = true
		for piece := range windows(payload, cellPiece) {
			require.False(t, known[piece], "item %d: the file holds content", i)
		}

		shown := strings.TrimSuffix(strings.TrimPrefix(returned, "…"), "…")
		require.NotEmpty(t, shown, "item %d", i)
		require.Contains(t, string(items[i]), shown, "item %d", i)
	}
	require.Contains(t, rows[1][4], "my passport is", "the session returns content")
}

func TestRunLeavesAFileWithoutContent(t *testing.T) {
	folder := t.TempDir()
	out := outputIn(t, folder)
	require.Contains(t, out, filepath.Join(folder, databaseName))

	entries, err := os.ReadDir(folder)
	require.NoError(t, err)
	require.Len(t, entries, 1, "the database is closed, so that it is one file")
	file, err := os.ReadFile(filepath.Join(folder, entries[0].Name()))
	require.NoError(t, err)
	// The file may hold more: SQLite leaves the beginnings of some rows behind
	// when it moves them.
	envelopes := bytes.Count(file, []byte(`{"__enc__":1,"v":1,"kid":"hkdf-v1","payload":"`))
	require.GreaterOrEqual(t, envelopes, itemCount)
	known := pieces(sample.Conversation(), filePiece)
	for piece := range windows(string(file), filePiece) {
		require.False(t, known[piece], "the file holds content")
	}
}

func TestRunShowsNoKey(t *testing.T) {
	const keyLike = `[0-9A-Za-z_-]{43}`
	require.Regexp(t, keyLike, encsession.GenerateKey())
	require.NotRegexp(t, keyLike, output(t))
}

func TestRunFitsOneScreen(t *testing.T) {
	require.LessOrEqual(t, strings.Count(output(t), "\n"), 30)
	for line := range strings.Lines(output(t)) {
		line = strings.TrimSuffix(line, "\n")
		require.LessOrEqual(t, text.StringWidthWithoutEscSequences(line), 120, line)
		for _, r := range line {
			require.True(t, unicode.IsGraphic(r), "%U in %q", r, line)
		}
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
		if len(cells) == 5 && cells[0] != "id" {
			rows = append(rows, cells)
		}
	}
	return rows
}

// Pieces of these lengths do not occur in ciphertext by chance: in a cell, and
// in a file.
const (
	cellPiece = 8
	filePiece = 16
)

// pieces returns every piece of the items, of size bytes.
func pieces(items []encsession.Item, size int) map[string]bool {
	known := map[string]bool{}
	for _, item := range items {
		for piece := range windows(string(item), size) {
			known[piece] = true
		}
	}
	return known
}

// windows returns the pieces of s, one from each byte.
func windows(s string, size int) iter.Seq[string] {
	return func(yield func(string) bool) {
		for i := 0; i+size <= len(s); i++ {
			if !yield(s[i : i+size]) {
				return
			}
		}
	}
}
