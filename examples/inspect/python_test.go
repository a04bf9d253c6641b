package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The keys of the database that Python wrote: the current one, and one that was retired.
var pythonKeys = map[string]string{
	keyVariable:      "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
	readKeysVariable: "last year's secret",
}

var pythonSealed = time.Unix(1_700_000_000, 0).UTC()

// pythonDatabase returns a copy of the database that Python wrote.
func pythonDatabase(t *testing.T) (file string) {
	t.Helper()
	file = filepath.Join(t.TempDir(), "python.db")
	content := read(t, filepath.Join("..", "..", "sqlstore", "testdata", "python-sqlite.db"))
	require.NoError(t, os.WriteFile(file, content, 0o600))
	return file
}

// pythonKeyCounts returns the counts of pythonKeys, or of the current one alone.
func pythonKeyCounts(items ...int) []KeyCount {
	counts := []KeyCount{{Fingerprint: "ace7e6438602c239"}, {Fingerprint: "raw"}}[:len(items)]
	for i, n := range items {
		counts[i].Items = n
	}
	return counts
}

func counts(items int, opened Opened, plaintext int) Counts {
	c := Counts{Items: items, Opened: &opened, Plaintext: plaintext}
	if opened.byAnyKey() > 0 {
		c.Oldest, c.Newest = &pythonSealed, &pythonSealed
	}
	return c
}

func session(id string, c Counts) Session { return Session{ID: id, Counts: &c} }

func TestPythonDatabase(t *testing.T) {
	file := pythonDatabase(t)
	before := read(t, file)
	code, d := document(t, pythonKeys, "-db", file)
	require.Equal(t, exitUndecryptable, code)
	require.Equal(t, Document{
		Authenticated: true,
		Sessions: []Session{
			session("user-123", counts(56, Opened{Readable: 56, Keys: pythonKeyCounts(56, 0)}, 0)),
			session("user-456", counts(13, Opened{Readable: 12, Undecryptable: 1, Keys: pythonKeyCounts(6, 6)}, 0)),
			session("user-789", counts(8, Opened{Keys: pythonKeyCounts(0, 0)}, 8)),
		},
		Totals: counts(77, Opened{Readable: 68, Undecryptable: 1, Keys: pythonKeyCounts(62, 6)}, 8),
	}, d)
	require.Equal(t, []string{"python.db"}, filesBeside(t, file))
	require.Equal(t, before, read(t, file), "looking changes nothing")

	r := inspect(t, pythonKeys, "-db", file)
	require.Equal(t, exitUndecryptable, r.code)
	require.Equal(t, "Inspect: 3 of 3 sessions\n", r.stderr)
	require.Regexp(t, `\n user-123 +56 +56 +· +· +· +· +· +· +2023-11-14 +2023-11-14\n`, r.stdout)
	require.Regexp(t, `\n user-456 +13 +12 +6 +· +· +1 +· +· +2023-11-14 +2023-11-14\n`, r.stdout)
	require.Regexp(t, `\n user-789 +8 +· +· +· +· +· +8 +· +· +·\n`, r.stdout)
	require.Regexp(t, `\n all 3 sessions +77 +68 +6 +· +· +1 +8 +· +2023-11-14 +2023-11-14\n`, r.stdout)
	require.Contains(t, r.stdout, "\nThe current key (ace7e6438602c239) opens 62 items in 2 sessions.\n"+
		"Read key 1 (raw) opens 6 items in 1 session: it is still needed.\n"+
		"A raw key is a text that is not a Fernet key: a mistyped key is one too.\n"+
		"Undecryptable: 1 item under a key that is not here, or of another session, or altered.\n")
	require.NotContains(t, r.stdout, "passport", "no content")
}

func TestPythonDatabaseWithoutKey(t *testing.T) {
	file := pythonDatabase(t)
	before := read(t, file)
	sealed := func(items, sealed, plaintext int) Counts {
		c := Counts{Items: items, Unopened: &Unopened{Sealed: sealed}, Plaintext: plaintext}
		if sealed > 0 {
			c.Oldest, c.Newest = &pythonSealed, &pythonSealed
		}
		return c
	}
	code, d := document(t, nil, "-db", file)
	require.Equal(t, exitFine, code)
	require.Equal(t, Document{
		Sessions: []Session{
			session("user-123", sealed(56, 56, 0)),
			session("user-456", sealed(13, 13, 0)),
			session("user-789", sealed(8, 0, 8)),
		},
		Totals: sealed(77, 69, 8),
	}, d)
	require.Equal(t, before, read(t, file))

	r := inspect(t, nil, "-db", file)
	require.Equal(t, exitFine, r.code)
	require.Contains(t, r.stdout, "nothing below is authenticated")
	require.Regexp(t, `\n user-456 +13 +13 +· +· +2023-11-14 +2023-11-14\n`, r.stdout)
	require.NotContains(t, r.stdout, "passport")
}

func TestPythonDatabaseWithWrongKey(t *testing.T) {
	r := inspect(t, map[string]string{keyVariable: "not the key of this database"}, "-db", pythonDatabase(t))
	require.Equal(t, exitUndecryptable, r.code)
	require.Contains(t, r.stdout, "No key opens anything, and 69 items are undecryptable: is ENCSESSION_KEY right?")
}

func TestTTL(t *testing.T) {
	file := pythonDatabase(t)
	_, d := document(t, pythonKeys, "-db", file, "-ttl", "30d")
	thirtyDays := int64(30 * 24 * 60 * 60)
	require.Equal(t, &thirtyDays, d.TTLSeconds)
	require.Equal(t, counts(77, Opened{Expired: 68, Undecryptable: 1, Keys: pythonKeyCounts(62, 6)}, 8), d.Totals)
	require.Contains(t, inspect(t, pythonKeys, "-db", file, "-ttl", "30d").stdout, "Expired: older than 30 days.")
	require.Contains(t, inspect(t, pythonKeys, "-db", file).stdout, "Without -ttl, nothing counts as expired or future.")
}

func TestRekey(t *testing.T) {
	file := pythonDatabase(t)
	code, d := document(t, pythonKeys, "-db", file, "-rekey")
	require.Equal(t, exitUndecryptable, code)
	require.Equal(t, &Operation{
		Name: "rekey", Items: 6, Sessions: 1, Skipped: &Skipped{Sessions: 1, Undecryptable: 1},
	}, d.Operation)
	rekeyed := counts(77, Opened{Readable: 68, Undecryptable: 1, Keys: pythonKeyCounts(68, 0)}, 8)
	require.Equal(t, rekeyed, d.Totals, "with the same sealing times")
	require.Equal(t, []string{"python.db"}, filesBeside(t, file))

	r := inspect(t, pythonKeys, "-db", file, "-rekey")
	require.Contains(t, r.stdout, "Rekey: 0 items sealed again under the current key, in 0 sessions.\n"+
		"It could not judge 1 item in 1 session: 1 undecryptable, 0 malformed, 0 not encrypted.\n")
	require.Contains(t, r.stdout, "Read key 1 (raw) opens 0 items in 0 sessions: is it the right one? Something is undecryptable.")
	require.Equal(t, "Rekey: 3 of 3 sessions\n", r.stderr)

	withoutOld := map[string]string{keyVariable: pythonKeys[keyVariable]}
	_, d = document(t, withoutOld, "-db", file)
	require.Equal(t, counts(77, Opened{Readable: 68, Undecryptable: 1, Keys: pythonKeyCounts(68)}, 8), d.Totals)
}

func TestSealPlaintext(t *testing.T) {
	file := pythonDatabase(t)
	r := inspect(t, pythonKeys, "-db", file, "-seal-plaintext")
	require.Equal(t, exitUndecryptable, r.code)
	require.Contains(t, r.stdout, "Seal plaintext: 8 items sealed under the current key, in 1 session.\n")
	_, d := document(t, pythonKeys, "-db", file)
	require.Equal(t, &Opened{Readable: 76, Undecryptable: 1, Keys: pythonKeyCounts(70, 6)}, d.Totals.Opened)
	require.Zero(t, d.Totals.Plaintext)
}

func TestPurge(t *testing.T) {
	file := pythonDatabase(t)
	code, d := document(t, pythonKeys, "-db", file, "-purge", "65535d")
	require.Equal(t, exitUndecryptable, code)
	require.Equal(t, &Operation{Name: "purge"}, d.Operation, "nothing is that old")
	require.Equal(t, 77, d.Totals.Items)

	r := inspect(t, pythonKeys, "-db", file, "-purge", "30d")
	require.Equal(t, exitUndecryptable, r.code)
	require.Contains(t, r.stdout, "Purge: 68 items removed, sealed more than 30d ago, in 2 sessions.\n"+
		"It could not judge 1 item in 1 session: 1 undecryptable, 0 malformed, 0 not encrypted.\n")
	_, d = document(t, pythonKeys, "-db", file)
	require.Equal(t, counts(9, Opened{Undecryptable: 1, Keys: pythonKeyCounts(0, 0)}, 8), d.Totals)
}

func TestShow(t *testing.T) {
	file := pythonDatabase(t)
	r := inspect(t, pythonKeys, "-db", file, "-show", "user-456")
	require.Equal(t, exitUndecryptable, r.code)
	require.Contains(t, r.stdout, "\n2. readable, sealed 2023-11-14 22:13:20 UTC\n"+
		`    {"role":"user","content":"Hi, my passport is XZ4839201.`)
	require.Contains(t, r.stdout, "\n13. undecryptable, says that it was sealed 2023-11-14 22:13:20 UTC\n")
	require.NotContains(t, r.stdout, "may be retired", "one session does not tell that")
	require.Empty(t, r.stderr)

	code, d := document(t, pythonKeys, "-db", file, "-show", "user-789")
	require.Equal(t, exitFine, code)
	require.Len(t, d.Sessions, 1)
	require.Len(t, *d.Sessions[0].Content, 8)
	for _, item := range *d.Sessions[0].Content {
		require.Equal(t, "plaintext", item.State)
		require.Nil(t, item.Sealed)
		require.True(t, json.Valid(item.Item))
	}

	_, d = document(t, nil, "-db", file, "-show", "user-456")
	for _, item := range *d.Sessions[0].Content {
		require.Equal(t, StoredItem{State: "sealed", Sealed: &pythonSealed}, item)
	}
	_, d = document(t, pythonKeys, "-db", file, "-show", "user-456", "-ttl", "1h")
	require.Equal(t, StoredItem{State: "expired", Sealed: &pythonSealed}, (*d.Sessions[0].Content)[0])

	r = inspect(t, pythonKeys, "-db", file, "-show", "nobody")
	require.Equal(t, exitFine, r.code)
	require.Contains(t, r.stdout, `Session "nobody" has no items.`)
}
