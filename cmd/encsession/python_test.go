package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// These are the keys of the database that Python wrote: the current one, and
// one that was retired.
var pythonKeys = env{
	keyVariable:             "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
	pythonOlderKeysVariable: "last year's secret",
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

// pythonCounts returns the counts for pythonKeys, or for the current key alone:
// items and sessions for each.
func pythonCounts(items int, o Opened, plaintext int, keys ...[2]int) *Counts {
	o.Keys = []keyCount{{Fingerprint: "ace7e6438602c239", Role: "current"}, {Fingerprint: "raw", Role: "older"}}[:len(keys)]
	c := &Counts{Items: items, Opened: &o, Plaintext: plaintext}
	for i, key := range keys {
		o.Keys[i].Items, o.Keys[i].Sessions = key[0], key[1]
		if key[0] > 0 {
			c.Oldest, c.Newest = &pythonSealed, &pythonSealed
		}
	}
	return c
}

func TestPythonDatabase(t *testing.T) {
	file := pythonDatabase(t)
	before := read(t, file)
	code, p := lines(t, pythonKeys.on(file), "audit", "--all")
	require.Equal(t, exitFindings, code)
	require.Len(t, p.sessions, 3)
	for i, want := range []*Counts{
		pythonCounts(56, Opened{Readable: 56}, 0, [2]int{56, 1}, [2]int{0, 0}),
		pythonCounts(13, Opened{Readable: 12, Undecryptable: 1}, 0, [2]int{6, 1}, [2]int{6, 1}),
		pythonCounts(8, Opened{}, 8, [2]int{0, 0}, [2]int{0, 0}),
	} {
		require.Equal(t, want, p.sessions[i].Counts)
	}
	require.Equal(t, "user-123", p.sessions[0].ID)
	require.Equal(t, pythonCounts(77, Opened{Readable: 68, Undecryptable: 1}, 8, [2]int{62, 2}, [2]int{6, 1}), p.summary.Counts)
	require.True(t, *p.summary.Authenticated)
	require.Equal(t, "findings", p.summary.Outcome)
	require.Equal(t, 2, p.summary.Findings)
	require.Equal(t, "sqlite:"+file, p.summary.Store)
	require.Equal(t, []string{"python.db"}, filesBeside(t, file))
	require.Equal(t, before, read(t, file), "looking changes nothing")

	_, withoutRows := lines(t, pythonKeys.on(file), "audit")
	require.Empty(t, withoutRows.sessions)
	require.Equal(t, p.summary, withoutRows.summary)

	r := call(t, pythonKeys.on(file), "audit", "--all")
	require.Equal(t, exitFindings, r.code)
	require.Equal(t, "audit: 3 sessions looked at\n", r.stderr)
	require.Regexp(t, `\n user-123 +56 +56 +· +· +· +· +· +· +2023-11-14 +2023-11-14\n`, r.stdout)
	require.Regexp(t, `\n user-456 +13 +12 +6 +· +· +1 +· +· +2023-11-14 +2023-11-14\n`, r.stdout)
	require.Regexp(t, `\n user-789 +8 +· +· +· +· +· +8 +· +· +·\n`, r.stdout)
	require.Regexp(t, `\n all 3 sessions +77 +68 +6 +· +· +1 +8 +· +2023-11-14 +2023-11-14\n`, r.stdout)
	require.Contains(t, r.stdout, "\nThe current key (ace7e6438602c239) opens 62 items in 2 sessions.\n"+
		"The older key 1 (raw) opens 6 items in 1 session: it is still needed.\n"+
		"A raw key is a text that is not a Fernet key: a mistyped key is one too.\n"+
		"Undecryptable: 1 item under a key that is not given, or of another session, or altered.\n")
	require.NotContains(t, r.stdout, "passport", "no content")
}

func TestPythonDatabaseWithoutKey(t *testing.T) {
	file := pythonDatabase(t)
	before := read(t, file)
	sealed := func(items, sealed, plaintext int) *Counts {
		c := &Counts{Items: items, Unopened: &Unopened{Sealed: sealed}, Plaintext: plaintext}
		if sealed > 0 {
			c.Oldest, c.Newest = &pythonSealed, &pythonSealed
		}
		return c
	}
	code, p := lines(t, env(nil).on(file), "audit", "--all", "--workers", "3")
	require.Equal(t, exitFindings, code, "plaintext is a finding")
	got := make(map[string]*Counts)
	for _, s := range p.sessions {
		got[s.ID] = s.Counts
	}
	require.Equal(t, map[string]*Counts{
		"user-123": sealed(56, 56, 0), "user-456": sealed(13, 13, 0), "user-789": sealed(8, 0, 8),
	}, got)
	require.Equal(t, sealed(77, 69, 8), p.summary.Counts)
	require.False(t, *p.summary.Authenticated)
	require.Equal(t, 1, p.summary.Findings)
	require.Equal(t, before, read(t, file))

	r := call(t, env(nil).on(file), "audit", "--all")
	require.Contains(t, r.stdout, "nothing here is authenticated")
	require.Regexp(t, `\n user-456 +13 +13 +· +· +2023-11-14 +2023-11-14\n`, r.stdout)
	require.NotContains(t, r.stdout, "passport")
}

func TestPythonDatabaseWithWrongKey(t *testing.T) {
	r := call(t, env{pythonKeyVariable: "not the key of this database"}.on(pythonDatabase(t)), "audit")
	require.Equal(t, exitFindings, r.code)
	require.Contains(t, r.stdout, "No key opens anything, and 69 items are undecryptable: is the key right?")
}

func TestTTL(t *testing.T) {
	file := pythonDatabase(t)
	_, s := summary(t, pythonKeys.on(file), "audit", "--ttl", "30d")
	thirtyDays := int64(30 * 24 * 60 * 60)
	require.Equal(t, &thirtyDays, s.TTLSeconds)
	require.Equal(t, pythonCounts(77, Opened{Expired: 68, Undecryptable: 1}, 8, [2]int{62, 2}, [2]int{6, 1}), s.Counts)
	require.Contains(t, call(t, pythonKeys.on(file), "audit", "--ttl", "30d").stdout, "Expired: older than 30 days.")
	require.Contains(t, call(t, pythonKeys.on(file), "audit").stdout, "Without --ttl, nothing counts as expired or future.")
}

func TestRekey(t *testing.T) {
	file := pythonDatabase(t)
	before := read(t, file)
	code, s := summary(t, pythonKeys.on(file), "rekey", "--dry-run")
	require.Equal(t, exitFindings, code)
	require.True(t, s.DryRun)
	require.Equal(t, &changed{Items: 6, Sessions: 1}, s.Changed)
	require.Equal(t, &skipped{Sessions: 1, Undecryptable: 1}, s.Skipped)
	require.Equal(t, before, read(t, file), "a dry run changes nothing")
	require.Equal(t, []string{"python.db"}, filesBeside(t, file))

	code, p := lines(t, pythonKeys.on(file), "rekey", "--yes", "--all")
	require.Equal(t, exitFindings, code)
	require.False(t, p.summary.DryRun)
	require.Equal(t, &changed{Items: 6, Sessions: 1}, p.summary.Changed)
	require.Equal(t, &skipped{Sessions: 1, Undecryptable: 1}, p.summary.Skipped)
	require.Len(t, p.sessions, 3)
	require.Equal(t, 6, *p.sessions[1].Changed)
	require.Equal(t, &skipped{Sessions: 1, Undecryptable: 1}, p.sessions[1].Skipped)
	_, s = summary(t, pythonKeys.on(file), "audit")
	require.Equal(t, pythonCounts(77, Opened{Readable: 68, Undecryptable: 1}, 8, [2]int{68, 2}, [2]int{0, 0}), s.Counts, "with the same sealing times")
	require.Equal(t, []string{"python.db"}, filesBeside(t, file))

	r := call(t, pythonKeys.on(file), "rekey", "--yes")
	require.Contains(t, r.stdout, "rekey: 0 items sealed again under the current key, in 0 of 3 sessions.\n"+
		"It could not judge 1 item in 1 session: 1 undecryptable, 0 malformed, 0 not encrypted.\n")
	require.Contains(t, r.stderr, "rekey: will seal the items of older keys again, under the current key, in all sessions of sqlite:"+file+"\n"+
		"  current key (ace7e6438602c239)\n  older key 1 (raw)\n"+
		"rekey, first look at the keys: 3 sessions looked at\nrekey: 3 sessions looked at\n")
	require.Contains(t, call(t, pythonKeys.on(file), "audit").stdout,
		"The older key 1 (raw) opens 0 items in 0 sessions: is it the right one? Something is undecryptable.")

	withoutOld := env{keyVariable: pythonKeys[keyVariable]}.on(file)
	_, s = summary(t, withoutOld, "audit")
	require.Equal(t, pythonCounts(77, Opened{Readable: 68, Undecryptable: 1}, 8, [2]int{68, 2}), s.Counts)
}

func TestSealPlaintext(t *testing.T) {
	file := pythonDatabase(t)
	r := call(t, pythonKeys.on(file), "seal", "--dry-run")
	require.Contains(t, r.stdout, "seal: 8 items would be sealed under the current key, in 1 of 3 sessions.\n")
	r = call(t, pythonKeys.on(file), "seal", "--yes")
	require.Equal(t, exitWell, r.code, "it can judge everything that it is about")
	require.Contains(t, r.stdout, "seal: 8 items sealed under the current key, in 1 of 3 sessions.\n")
	require.Contains(t, r.stdout, "drop WithPlaintext from every service")
	_, s := summary(t, pythonKeys.on(file), "audit")
	require.Equal(t, []int{70, 6}, perKey(s.Counts))
	require.Equal(t, 76, s.Readable)
	require.Zero(t, s.Plaintext)
}

func TestPurge(t *testing.T) {
	file := pythonDatabase(t)
	code, s := summary(t, pythonKeys.on(file), "purge", "--yes", "--older-than", "65535d")
	require.Equal(t, exitWell, code)
	require.Equal(t, &changed{}, s.Changed, "nothing is that old")
	_, s = summary(t, pythonKeys.on(file), "audit")
	require.Equal(t, 77, s.Items)

	r := call(t, pythonKeys.on(file), "purge", "--older-than", "30d", "--dry-run")
	require.Contains(t, r.stdout, "purge: 68 items would be removed, in 2 of 3 sessions.\n")
	r = call(t, pythonKeys.on(file), "purge", "--yes", "--older-than", "30d")
	require.Equal(t, exitFindings, r.code)
	require.Contains(t, r.stderr, "purge: will remove items that were sealed more than 30 days ago, in all sessions of sqlite:")
	require.Contains(t, r.stdout, "purge: 68 items removed, in 2 of 3 sessions.\n"+
		"It could not judge 1 item in 1 session: 1 undecryptable, 0 malformed, 0 not encrypted.\n")
	_, s = summary(t, pythonKeys.on(file), "audit")
	require.Equal(t, pythonCounts(9, Opened{Undecryptable: 1}, 8, [2]int{0, 0}, [2]int{0, 0}), s.Counts)
}

func TestPurgeIdleSessions(t *testing.T) {
	file := pythonDatabase(t)
	r := call(t, pythonKeys.on(file), "purge", "--idle", "30d", "--dry-run")
	require.Contains(t, r.stdout, "purge: 56 items would be removed, in 1 of 3 sessions.\n")
	code, p := lines(t, pythonKeys.on(file), "purge", "--idle", "30d", "--yes", "--all")
	require.Equal(t, exitFindings, code)
	require.Equal(t, &changed{Items: 56, Sessions: 1}, p.summary.Changed)
	require.Equal(t, &skipped{Sessions: 2, Undecryptable: 1, Plaintext: 8}, p.summary.Skipped, "user-456 and user-789 stay whole")
	_, s := summary(t, pythonKeys.on(file), "audit")
	require.Equal(t, 21, s.Items)
}

func TestShow(t *testing.T) {
	file := pythonDatabase(t)
	r := call(t, pythonKeys.on(file), "show", "user-456")
	require.Equal(t, exitFindings, r.code)
	require.Contains(t, r.stdout, "\n2. readable, sealed 2023-11-14 22:13:20 UTC\n"+
		`    {"role":"user","content":"Hi, my passport is XZ4839201.`)
	require.Contains(t, r.stdout, "\n13. undecryptable, says that it was sealed 2023-11-14 22:13:20 UTC\n")
	require.NotContains(t, r.stdout, "may be retired", "one session does not tell that")
	require.Empty(t, r.stderr)

	code, p := lines(t, pythonKeys.on(file), "show", "user-789")
	require.Equal(t, exitFindings, code)
	require.Equal(t, 1, p.summary.Sessions)
	require.Len(t, p.items, 8)
	for _, item := range p.items {
		require.Equal(t, "user-789", item.Session)
		require.Equal(t, "plaintext", item.State)
		require.Nil(t, item.Sealed)
		require.True(t, json.Valid(item.Item))
	}
	code, p = lines(t, pythonKeys.on(file), "show", "user-123")
	require.Equal(t, exitWell, code)
	require.Len(t, p.items, 56)

	_, p = lines(t, env(nil).on(file), "show", "user-456")
	require.Len(t, p.items, 13)
	for _, item := range p.items {
		require.Equal(t, itemLine{Head: Head{1, "item"}, Session: "user-456", State: "sealed", Sealed: &pythonSealed}, item)
	}
	_, p = lines(t, pythonKeys.on(file), "show", "user-456", "--ttl", "1h")
	require.Equal(t, "expired", p.items[0].State)
	require.Nil(t, p.items[0].Item)

	r = call(t, pythonKeys.on(file), "show", "nobody")
	require.Equal(t, exitError, r.code)
	require.Contains(t, r.stderr, `the store has no session "nobody"`, "an ID may be mistyped")
}
