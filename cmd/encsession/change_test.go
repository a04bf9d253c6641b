package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/encsession/encsession"
	"github.com/stretchr/testify/require"
)

// changes returns all commands that change data, with the arguments that they
// need. The text to match is in the file match.
func changes(match string) map[string][]string {
	return map[string][]string{
		"rekey":          {"rekey"},
		"seal":           {"seal"},
		"purge":          {"purge", "--older-than", "0s"},
		"delete":         {"delete", "user-123"},
		"delete --match": {"delete", "--match", match},
	}
}

func TestNothingChangesWithoutAYes(t *testing.T) {
	environment := demo(t)
	file := strings.TrimPrefix(environment[storeVariable], "sqlite:")
	audit := filepath.Join(t.TempDir(), "audit.log")
	before := read(t, file)
	for name, args := range changes(write(t, "text", "Said before.")) {
		r := call(t, environment.with(auditFileVariable, audit), args...)
		require.Equal(t, exitError, r.code, name)
		require.Contains(t, r.stderr, ": will ", name)
		require.Contains(t, r.stderr, " of sqlite:"+file, name)
		require.Contains(t, r.stderr, "there is no terminal to ask on, so nothing was changed", name)
		r = callWith(t, t.Context(), environment, "y\n", args...)
		require.Equal(t, exitError, r.code, "a pipe is no terminal")

		r = call(t, environment.with(auditFileVariable, audit), append(args, "--dry-run")...)
		require.Contains(t, r.stderr, ": dry run, which changes nothing: would ", name)
		require.Regexp(t, `: [1-9]\d* items would be `, r.stdout, name)
		require.NotContains(t, r.stdout, "Old bytes")
		require.Equal(t, before, read(t, file), name)
	}
	require.NoFileExists(t, audit, "what changes nothing leaves no trace")
	require.Equal(t, []string{"demo.db"}, filesBeside(t, file))
}

// TestDryRunsAreTrue compares each dry run with the change.
func TestDryRunsAreTrue(t *testing.T) {
	for name, args := range changes(write(t, "text", "Said before.")) {
		t.Run(name, func(t *testing.T) {
			environment := demo(t)
			dryCode, dry := summary(t, environment, append(args, "--dry-run")...)
			code, done := summary(t, environment, append(args, "--yes")...)
			require.Equal(t, dryCode, code)
			require.True(t, dry.DryRun)
			dry.DryRun = false
			if args[0] == "purge" { // the two runs may differ in items of the last second
				dry.Changed, done.Changed = nil, nil
			}
			require.Equal(t, dry, done)
		})
	}
}

// traces reads an audit file.
func traces(t *testing.T, file string) (all []traceLine) {
	t.Helper()
	for line := range strings.Lines(string(read(t, file))) {
		decoder := json.NewDecoder(strings.NewReader(line))
		decoder.DisallowUnknownFields()
		var trace traceLine
		require.NoError(t, decoder.Decode(&trace))
		require.WithinDuration(t, time.Now(), trace.Time, time.Minute)
		require.NotEmpty(t, trace.User)
		require.NotEmpty(t, trace.Run)
		require.Equal(t, os.Getpid(), trace.PID)
		all = append(all, trace)
	}
	return all
}

func TestAuditFile(t *testing.T) {
	environment := demo(t)
	current, err := encsession.ParseKey(environment[keyVariable])
	require.NoError(t, err)
	old, err := encsession.ParseKey(environment[olderKeysVariable])
	require.NoError(t, err)
	audit := filepath.Join(t.TempDir(), "audit.log")
	environment = environment.with(auditFileVariable, audit, "SUDO_USER", "alice")

	call(t, environment, "rekey", "--yes")
	all := traces(t, audit)
	require.Len(t, all, 2)
	require.Equal(t, []string{"started", "findings"}, []string{all[0].Outcome, all[1].Outcome})
	require.Equal(t, all[0].Run, all[1].Run)
	require.Nil(t, all[0].Counts)
	require.Equal(t, &traceCount{Sessions: 5, Items: 16, Skipped: &skipped{Sessions: 2, Undecryptable: 1, Malformed: 1}}, all[1].Counts)
	for _, trace := range all {
		require.Equal(t, "rekey", trace.Command)
		require.Equal(t, "seal the items of older keys again, under the current key", trace.Does)
		require.Equal(t, environment[storeVariable], trace.Store)
		require.Equal(t, current.Fingerprint(), trace.Fingerprint)
		require.Equal(t, []string{old.Fingerprint()}, trace.Older)
		require.Equal(t, "alice", trace.SudoUser)
	}
	info, err := os.Stat(audit)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode())

	call(t, environment, "show", "user-123")
	call(t, environment, "delete", "user-123", "--yes")
	call(t, environment, "delete", "--match", write(t, "text", "Said before."), "--shard", "1/1", "--yes")
	call(t, environment, "purge", "--older-than", "30d", "--yes")
	call(t, environment, "audit")
	all = traces(t, audit)[2:]
	require.Len(t, all, 7)
	require.Equal(t, "show", all[0].Command)
	require.Equal(t, "user-123", all[0].Session)
	require.Equal(t, &traceCount{Sessions: 1, Items: 24}, all[0].Counts)
	require.Equal(t, "user-123", all[2].Session)
	require.Equal(t, &traceCount{Sessions: 1, Items: 24}, all[2].Counts)
	require.Equal(t, "done", all[2].Outcome)
	require.Equal(t, "remove items that were sealed more than 30 days ago", all[6].Does)
	require.NotContains(t, string(read(t, audit)), "Said before.")

	// A refused change leaves a trace too.
	wrong := env{keyVariable: encsession.GenerateKey(), olderKeysVariable: environment[keyVariable]}
	r := call(t, wrong.with(storeVariable, environment[storeVariable], auditFileVariable, audit), "rekey", "--yes")
	require.Equal(t, exitError, r.code)
	all = traces(t, audit)
	require.Equal(t, "failed", all[len(all)-1].Outcome)
	require.Contains(t, all[len(all)-1].Error, "current key")
}

// TestNobodyReadsWithoutATrace uses an audit file that cannot be written.
func TestNobodyReadsWithoutATrace(t *testing.T) {
	environment := demo(t)
	for _, file := range []string{"/dev/full", t.TempDir()} {
		for _, args := range [][]string{{"show", "user-123"}, {"delete", "user-123", "--yes"}} {
			r := call(t, environment, append(args, "--audit-file", file)...)
			require.Equal(t, exitError, r.code)
			require.Contains(t, r.stderr, "audit file: ")
			require.Empty(t, r.stdout)
		}
	}
	_, s := summary(t, environment, "audit")
	require.Equal(t, 60, s.Items)
}

// TestMistypedKey repeats the case of the issue. A rekey of a whole database
// under a mistyped key reported success, and advised retiring the right key.
func TestMistypedKey(t *testing.T) {
	environment := demo(t)
	right, err := encsession.ParseKey(environment[keyVariable])
	require.NoError(t, err)
	mistyped, other := newKey(t)
	wrong := env{keyVariable: mistyped, olderKeysVariable: environment[keyVariable] + "\n" + environment[olderKeysVariable]}.
		with(storeVariable, environment[storeVariable])
	for _, args := range [][]string{
		{"rekey", "--yes"}, {"rekey", "--dry-run"}, {"seal", "--yes"}, {"rekey", "--yes", "--first-use", right.Fingerprint()},
	} {
		r := call(t, wrong, args...)
		require.Equal(t, exitError, r.code)
		require.Contains(t, r.stderr, other.Fingerprint())
		require.Contains(t, r.stderr, "nothing was changed")
		require.Empty(t, r.stdout)
	}
	r := call(t, wrong, "audit")
	require.NotContains(t, r.stdout, "retired")

	raw := env{pythonKeyVariable: "q7 mistyped", pythonOlderKeysVariable: environment[keyVariable]}.with(storeVariable, environment[storeVariable])
	r = call(t, raw, "rekey", "--yes")
	require.Equal(t, exitError, r.code)
	require.Contains(t, r.stderr, "a raw secret has no fingerprint to compare")
	code, s := summary(t, raw, "rekey", "--yes")
	require.Equal(t, exitError, code)
	require.Equal(t, "failed", s.Outcome)

	_, s = summary(t, environment, "audit")
	require.Equal(t, []int{33, 16}, perKey(s.Counts), "all is as it was")
}

func TestInterruptedChange(t *testing.T) {
	environment := demo(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r := callWith(t, ctx, environment, "", "rekey", "--yes")
	require.Equal(t, exitInterrupted, r.code)
	require.Contains(t, r.stderr, context.Canceled.Error())
	require.Empty(t, r.stdout)
	r = callWith(t, ctx, environment, "", "audit")
	require.Equal(t, exitInterrupted, r.code)
	require.NotContains(t, r.stdout, "retired")
}

// brokenPipe is an output that nobody reads.
type brokenPipe struct{ written int }

func (p *brokenPipe) Write(b []byte) (int, error) {
	p.written++
	return 0, errors.New("broken pipe")
}

func TestBrokenOutput(t *testing.T) {
	environment := demo(t)
	for _, args := range [][]string{
		{"audit"}, {"audit", "--json", "--all"}, {"sessions"}, {"show", "user-123"}, {"show", "user-123", "--json"}, {"keygen"},
		{"version"}, {"fingerprint"}, {"fingerprint", "--json"}, {"rekey", "--dry-run", "--all", "--json"},
	} {
		var stderr bytes.Buffer
		require.Equal(t, exitError, run(t.Context(), args, environment, nil, new(brokenPipe), &stderr), args)
		require.Contains(t, stderr.String(), "broken pipe", args)
	}
	audit := filepath.Join(t.TempDir(), "audit.log")
	var stderr bytes.Buffer
	code := run(t.Context(), []string{"purge", "--older-than", "30d", "--yes", "--json", "--audit-file", audit}, environment, nil, new(brokenPipe), &stderr)
	require.Equal(t, exitPartly, code, "it is done, and nobody has heard of it")
	require.Equal(t, 2, traces(t, audit)[1].Counts.Items)
}

func TestDeleteSession(t *testing.T) {
	environment := demo(t)
	r := call(t, environment, "delete", "user-789", "--dry-run")
	require.Contains(t, r.stderr, `delete: dry run, which changes nothing: would remove all items, in session "user-789" of sqlite:`)
	require.Contains(t, r.stdout, "delete: 10 items would be removed, in 1 of 1 session.\n")
	without := env{storeVariable: environment[storeVariable]}
	r = call(t, without, "delete", "user-789", "--yes")
	require.Equal(t, exitWell, r.code, "it needs no key")
	require.Contains(t, r.stdout, "delete: 10 items removed, in 1 of 1 session.\n")
	require.Equal(t, exitError, call(t, without, "delete", "user-789", "--yes").code, "it is not there any more")
	_, s := summary(t, without, "sessions")
	require.Equal(t, 4, s.Sessions)
}

func TestDeleteMatches(t *testing.T) {
	text, key := newKey(t)
	file := newDatabase(t)
	db, store := openTestStore(t, file)
	for id, items := range map[string][]encsession.Item{
		"a": {
			encsession.Item(`{"role":"user","content":"I am Zo\u00eb."}`),
			encsession.Item(`{"type":"function_call","arguments":"{\"name\":\"Zo\\u00eb\"}"}`),
			encsession.Item(`{"role":"assistant","content":"Hello!"}`),
		},
		"b": {encsession.Item(`{"Zoë":1}`), encsession.Item(`{"n":{"deep":["zoë"]}}`), encsession.Item(`{"phone":48123}`)},
	} {
		addUnder(t, store.Session(id), &key, items...)
	}
	addUnder(t, store.Session("b"), nil, encsession.Item(`{"content":"Zoë, in the clear"}`))
	require.NoError(t, db.Close())
	environment := env{keyVariable: text}.on(file)
	match := write(t, "text", "Zoë\n")

	code, s := summary(t, environment, "delete", "--match", match, "--dry-run", "--plaintext", "--ignore-case")
	require.Equal(t, exitWell, code)
	require.Equal(t, &changed{Items: 5, Sessions: 2}, s.Changed)
	r := call(t, environment, "delete", "a", "--match", match, "--yes")
	require.Equal(t, exitWell, r.code)
	require.Contains(t, r.stderr, `delete: will remove every item that holds the text of --match, in session "a" of `)
	require.Contains(t, r.stdout, "delete: 2 items removed, in 1 of 1 session.\n")
	require.NotContains(t, r.stdout+r.stderr, "Zoë")
	r = callWith(t, t.Context(), environment, "Zoë", "delete", "--match", "-", "--yes")
	require.Equal(t, exitFindings, r.code, "the erasure is not complete")
	require.Contains(t, r.stdout, "delete: 1 item removed, in 1 of 2 sessions.\n"+
		"It could not judge 1 item in 1 session: 0 undecryptable, 0 malformed, 1 not encrypted.\n")
	code, s = summary(t, environment, "delete", "--match", write(t, "text", "48123"), "--plaintext", "--yes")
	require.Equal(t, exitWell, code)
	require.Equal(t, 1, s.Changed.Items)

	r = call(t, environment, "delete", "--match", write(t, "text", "Zoe"), "--yes")
	require.Contains(t, r.stdout, "No item holds the text. Is it spelled as in the items, and in capital letters where they are?\n")

	for _, bad := range []string{"", "\n", " \n", "\ufeff\n", "\xff", "Ann\nBob"} {
		require.Equal(t, exitError, call(t, environment, "delete", "--match", write(t, "text", bad), "--yes").code)
	}
	require.Equal(t, exitError, callWith(t, t.Context(), environment, "Zoë", "delete", "--match", "-").code)
}

// TestMatchTakesTextAsPeopleReadIt has texts that look alike.
func TestMatchTakesTextAsPeopleReadIt(t *testing.T) {
	fernet, key := newKey(t)
	for content, want := range map[string]int{
		"Zo\u00eb Example": 1, "Zoe\u0308 Example": 1, "Zo\u00eb\u00a0Example": 1, `Zo\u00eb\nExample`: 1, `Zo\u00eb \t Example`: 1,
		"ZO\u00cb EXAMPLE": 1, "\uff3ao\u00eb Example": 1, "Zoe Example": 0, "Zo\u00ebExample": 0,
	} {
		file := newDatabase(t)
		db, store := openTestStore(t, file)
		addUnder(t, store.Session("a"), &key, encsession.Item(`{"content":"I am `+content+`."}`))
		require.NoError(t, db.Close())
		for _, text := range []string{"Zo\u00eb Example", "\ufeff Zoe\u0308  Example \r\n"} {
			_, s := summary(t, env{keyVariable: fernet}.on(file), "delete", "--match", write(t, "text", text), "--ignore-case", "--dry-run")
			require.Equal(t, want, s.Changed.Items, "%q in %q", text, content)
		}
	}
}
