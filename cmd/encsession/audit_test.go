package main

import (
	"strings"
	"testing"

	"github.com/encsession/encsession"
	"github.com/stretchr/testify/require"
)

func TestAuditShowsEverythingAtOnce(t *testing.T) {
	environment := demo(t)
	r := call(t, environment, "audit", "--all", "--ttl", "30d")
	require.Equal(t, exitFindings, r.code, r.stderr)
	require.Regexp(t, `\n user-123 +24 +24 +· +· +· +· +· +· +\S`, r.stdout)
	require.Regexp(t, `\n user-321 +5 +2 +· +2 +1 +· +· +· +2026-01-15 +2100-01-01\n`, r.stdout)
	require.Regexp(t, `\n user-456 +16 +16 +12 +· +· +· +· +· +\S`, r.stdout)
	require.Regexp(t, `\n user-654 +5 +4 +4 +· +· +1 +· +· +\S`, r.stdout)
	require.Regexp(t, `\n user-789 +10 +· +· +· +· +· +9 +1 +· +·\n`, r.stdout)
	require.Regexp(t, `\n all 5 sessions +60 +46 +16 +2 +1 +1 +9 +1 +2026-01-15 +2100-01-01\n`, r.stdout)

	r = call(t, environment, "audit", "--ttl", "30d")
	require.NotRegexp(t, `\n user-123 `, r.stdout, "without --all there is no line for each session")
	require.Regexp(t, `\n all 5 sessions +60 +46 `, r.stdout)
	require.Contains(t, r.stdout, "Findings are in these sessions; with --all there is a line for each session:\n  user-654\n  user-789\n")

	code, s := summary(t, environment, "rekey", "--yes")
	require.Equal(t, exitFindings, code)
	require.Equal(t, &changed{Items: 16, Sessions: 2}, s.Changed)
	require.Equal(t, &skipped{Sessions: 2, Undecryptable: 1, Malformed: 1}, s.Skipped)
	_, s = summary(t, environment, "audit")
	require.Equal(t, []int{49, 0}, perKey(s.Counts))
	for _, key := range s.Keys {
		require.Regexp(t, `^[0-9a-f]{16}$`, key.Fingerprint)
	}
	_, s = summary(t, environment, "purge", "--yes", "--older-than", "30d")
	require.Equal(t, 2, s.Changed.Items)
}

// TestMayBeRetired checks the advice about an older key that opens nothing.
func TestMayBeRetired(t *testing.T) {
	_, current := newKey(t)
	_, old := newKey(t)
	ring := &encsession.Keyring{Current: current, Older: []encsession.Key{old}}
	about := func(items int, undecryptable int, outcome, shard string) string {
		c := newCounts(ring)
		c.Keys[0].Items, c.Undecryptable = items, undecryptable
		return aboutKey(ring, 1, c, outcome, shard)
	}
	require.Contains(t, about(3, 0, "done", ""), "The older key 1 ("+old.Fingerprint()+") opens 0 items")
	require.Contains(t, about(3, 0, "done", ""), "it may be retired")
	require.Contains(t, about(3, 0, "findings", ""), "it may be retired", "plaintext needs no key")
	for _, doubt := range []string{
		about(3, 1, "findings", ""), about(0, 0, "done", ""), about(3, 0, "partly", ""), about(3, 0, "interrupted", ""),
	} {
		require.NotContains(t, doubt, "retired")
	}
	require.Contains(t, about(3, 0, "done", "3/8"), "of shard 3/8: it may be retired if that holds for all shards")
}

func TestEmptyStore(t *testing.T) {
	for _, environment := range []env{nil, {keyVariable: encsession.GenerateKey()}} {
		r := call(t, environment.on(newDatabase(t)), "audit", "--all")
		require.Equal(t, exitWell, r.code)
		require.Contains(t, r.stdout, "all 0 sessions")
		require.NotContains(t, r.stdout, "retired")
	}
	code, p := lines(t, env(nil).on(newDatabase(t)), "sessions", "--all")
	require.Equal(t, exitWell, code)
	require.Empty(t, p.sessions)
	require.Zero(t, p.summary.Sessions)
}

func TestSessions(t *testing.T) {
	file := newDatabase(t, stored{"a", `{"n":1}`}, stored{"b", `{"n":2}`}, stored{"b", `{"n":3}`})
	r := call(t, env(nil).on(file), "sessions")
	require.Equal(t, exitWell, r.code)
	require.Contains(t, r.stdout, "2 sessions. Created: today ")
	require.NotContains(t, r.stdout, "\n a ")
	r = call(t, env(nil).on(file), "sessions", "--all")
	require.Regexp(t, `\n a +today \d\d:\d\d +today \d\d:\d\d\n b +today`, r.stdout)
	code, p := lines(t, env(nil).on(file), "sessions", "--all")
	require.Equal(t, exitWell, code)
	require.Len(t, p.sessions, 2)
	require.Equal(t, "a", p.sessions[0].ID)
	require.NotNil(t, p.sessions[0].CreatedAt)
	require.Equal(t, 2, p.summary.Sessions)
	_, p = lines(t, env(nil).on(file), "sessions")
	require.Empty(t, p.sessions)
}

// TestShards divides the sessions as fleet does, but counts the parts from 1.
func TestShards(t *testing.T) {
	var items []stored
	for _, id := range strings.Fields("a b c d e f g h i j k l m n o p q r s t") {
		items = append(items, stored{id, `{"n":1}`})
	}
	environment := env{keyVariable: encsession.GenerateKey()}.on(newDatabase(t, items...))
	seen := make(map[string]string)
	for _, shard := range []string{"1/3", "2/3", "3/3"} {
		_, p := lines(t, environment, "audit", "--all", "--workers", "4", "--pause", "1ms", "--shard", shard)
		require.Equal(t, shard, p.summary.Shard)
		require.NotEmpty(t, p.sessions)
		for _, s := range p.sessions {
			require.NotContains(t, seen, s.ID)
			seen[s.ID] = shard
		}
	}
	require.Len(t, seen, len(items), "all parts together are all sessions")

	shard, shards, err := parseShard("3/8")
	require.NoError(t, err)
	require.Equal(t, []int{2, 8}, []int{shard, shards}, "the third of eight is 2 as fleet counts")
	for _, wrong := range []string{"0/8", "9/8", "3", "3/0", "-1/8", "3/8/9", "a/b", "", "/"} {
		_, _, err := parseShard(wrong)
		require.ErrorContains(t, err, "count from 1", wrong)
	}
}

// TestPages prints a table with more sessions than one page.
func TestPages(t *testing.T) {
	var out strings.Builder
	p := pages{w: &out, header: []any{"session", "n"}}
	for range 2*pageRows + 1 {
		require.NoError(t, p.add("an ID", []any{1}))
		require.Less(t, len(p.rows), pageRows)
	}
	require.NoError(t, p.print("all", []any{2}))
	require.Equal(t, 2*pageRows+1, strings.Count(out.String(), "an ID"))
	require.Equal(t, 3, strings.Count(out.String(), "session"))
}
