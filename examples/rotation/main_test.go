package main

import (
	"bytes"
	"errors"
	"io"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode"

	"github.com/encsession/encsession"
	"github.com/encsession/encsession/examples/internal/sample"
	"github.com/jedib0t/go-pretty/v6/text"
	"github.com/stretchr/testify/require"
)

func output(t *testing.T) string {
	t.Helper()
	var out bytes.Buffer
	require.NoError(t, run(&out, t.TempDir()))
	return out.String()
}

func TestRunClaims(t *testing.T) {
	out := output(t)
	tables := readTables(t, out)
	var all [][]int
	for i, table := range tables {
		require.Len(t, table, 4, "table %d: three sessions and the sums", i)
		for sessionID, n := range table {
			items := n[0]
			require.Equal(t, items, n[3], "table %d: the writer reads everything in %s", i, sessionID)
			require.Equal(t, items, n[4], "table %d: the reader reads everything in %s", i, sessionID)
			require.Equal(t, items, n[1]+n[2], "table %d: each item of %s is under one of the keys", i, sessionID)
		}
		all = append(all, table["all"][:3])
	}
	require.Equal(t, [][]int{ // items, under the old key, under the new key
		{50, 50, 0},
		{50, 50, 0},
		{54, 50, 4},
		{54, 0, 54},
		{56, 2, 54},
		{56, 0, 56},
		{56, 0, 56},
	}, all)
	for _, claim := range []string{
		"\nwriter  Current: old\nreader  Current: old\n",
		"\nwriter  Current: old, Older: new\nreader  Current: old, Older: new\n",
		"\nwriter  Current: new, Older: old\nreader  Current: old, Older: new\n",
		"\nRekey has sealed 50 items again.\n",
		"\nRekey has sealed 2 items again.\n",
		"\nwriter  Current: new\nreader  Current: new\n",
		"\nWhoever has only the old key reads 0 of 56 items,\nand adds none:\n",
	} {
		require.Contains(t, out, claim)
	}
	fingerprints := regexp.MustCompile(`\nold key  ([0-9a-f]{16})\nnew key  ([0-9a-f]{16})\n`).FindStringSubmatch(out)
	require.Len(t, fingerprints, 3)
	require.NotEqual(t, fingerprints[1], fingerprints[2])
	require.Contains(t, strings.ReplaceAll(out, "\n", " "),
		`session "user-123": no key opens its newest items (current key `+fingerprints[1]+`)`)
}

// TestRekeyAllTellsWhatItSkipped: if no key opens an item, rekeyAll goes on to
// the other sessions, and its error tells of the item.
func TestRekeyAllTellsWhatItSkipped(t *testing.T) {
	r := &rotation{w: io.Discard}
	defer r.close()
	require.NoError(t, r.begin(t.Context(), filepath.Join(t.TempDir(), databaseName)))
	lost, err := newKey("lost")
	require.NoError(t, err)
	somebody := &service{store: r.writer.store, key: lost}
	require.NoError(t, somebody.add(t.Context(), "a", sample.Conversation()[:2]...))
	require.NoError(t, r.writer.add(t.Context(), "b", sample.Conversation()[2:5]...))

	changed, err := r.operator.rekeyAll(t.Context())
	require.Equal(t, 3, changed)
	skipped, ok := errors.AsType[*encsession.SkippedError](err)
	require.True(t, ok)
	require.Equal(t, encsession.SkippedError{Undecryptable: 2}, *skipped)
	require.ErrorContains(t, err, `session "a": `)
	require.NotContains(t, err.Error(), `session "b": `)
}

// TestRotationKeepsItems runs the steps, with a day between steps 2 and 3. Then
// it checks the items that the reader gets.
func TestRotationKeepsItems(t *testing.T) {
	folder := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		r := &rotation{w: io.Discard}
		defer r.close()
		require.NoError(t, r.begin(t.Context(), filepath.Join(folder, databaseName)))
		require.NoError(t, r.start(t.Context()))
		require.NoError(t, r.readersLearn(t.Context()))
		require.NoError(t, r.writersSwitch(t.Context()))
		before := auditUnder(t, r, r.old)
		time.Sleep(24 * time.Hour)
		require.NoError(t, r.rekey(t.Context()))
		require.NoError(t, r.check(t.Context()))
		require.NoError(t, r.retire(t.Context()))
		after := auditUnder(t, r, r.new)

		items := sample.Conversation()
		for sessionID, want := range map[string][]encsession.Item{
			"user-123": append(items[:24:24], items[50:54]...),
			"user-456": append(items[24:40:40], items[54:]...),
			"user-789": items[40:50],
		} {
			session, err := r.reader.session(sessionID)
			require.NoError(t, err)
			got, err := session.GetItems(t.Context(), 0)
			require.NoError(t, err)
			require.Equal(t, want, got, sessionID)
			require.Equal(t, before[sessionID].Oldest, after[sessionID].Oldest, "Rekey keeps the time of sealing")
		}
	})
}

// auditUnder returns an audit of each session under one key.
func auditUnder(t *testing.T, r *rotation, key key) map[string]encsession.Report {
	t.Helper()
	auditor := &service{store: r.operator.store, key: key}
	reports := map[string]encsession.Report{}
	for info, err := range auditor.store.Sessions(t.Context()) {
		require.NoError(t, err)
		report, err := auditor.audit(t.Context(), info.ID)
		require.NoError(t, err)
		require.Positive(t, report.Readable)
		reports[info.ID] = report
	}
	return reports
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

// readTables returns the tables of the output: the numbers of each row by its
// first cell.
func readTables(t *testing.T, out string) []map[string][]int {
	t.Helper()
	var tables []map[string][]int
	for line := range strings.Lines(out) {
		cells := strings.Split(strings.TrimSpace(line), "│")
		if len(cells) < 2 {
			continue
		}
		name := strings.TrimSpace(cells[0])
		if name == "session" {
			tables = append(tables, map[string][]int{})
			continue
		}
		var numbers []int
		for _, cell := range cells[1:] {
			n, err := strconv.Atoi(strings.TrimSpace(cell))
			require.NoError(t, err, line)
			numbers = append(numbers, n)
		}
		tables[len(tables)-1][name] = numbers
	}
	return tables
}
