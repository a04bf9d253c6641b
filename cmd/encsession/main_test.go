package main

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode"

	"github.com/encsession/encsession"
	"github.com/encsession/encsession/sqlstore"
	"github.com/jedib0t/go-pretty/v6/text"
	"github.com/stretchr/testify/require"
)

// result is the result of a run of the command.
type result struct {
	code           int
	stdout, stderr string
}

// env is an environment.
type env = environment

// with returns the environment with more variables: names and values in turn.
func (e env) with(more ...string) env {
	all := maps.Clone(e)
	if all == nil {
		all = env{}
	}
	for i := 0; i < len(more); i += 2 {
		all[more[i]] = more[i+1]
	}
	return all
}

// on returns the environment with a SQLite file as the store.
func (e env) on(file string) env { return e.with(storeVariable, "sqlite:"+file) }

// call runs the command. It checks that all output fits the width of a
// terminal, steers no terminal, and shows no secret.
func call(t *testing.T, environment env, args ...string) result {
	t.Helper()
	return callWith(t, t.Context(), environment, "", args...)
}

func callWith(t *testing.T, ctx context.Context, environment env, stdin string, args ...string) result {
	t.Helper()
	var stdout, stderr bytes.Buffer
	code := run(ctx, args, environment, strings.NewReader(stdin), &stdout, &stderr)
	if !strings.HasPrefix(stdout.String(), "{") { // JSON lines are not for people
		for line := range strings.Lines(stdout.String()) {
			line = strings.TrimSuffix(line, "\n")
			require.LessOrEqual(t, text.StringWidth(line), width, line)
		}
	}
	for line := range strings.Lines(stdout.String() + stderr.String()) {
		line = strings.TrimSuffix(line, "\n")
		for _, r := range line {
			require.True(t, unicode.IsGraphic(r), "%U in %q", r, line)
		}
		for name, value := range environment {
			if strings.Contains(name, "KEY") && !strings.HasSuffix(name, fileSuffix) {
				for secret := range strings.Lines(value) {
					secret = strings.TrimSpace(secret)
					require.False(t, secret != "" && strings.Contains(line, secret), "the value of %s in %q", name, line)
				}
			}
		}
	}
	return result{code, stdout.String(), stderr.String()}
}

// printed is the output of a run with --json.
type printed struct {
	sessions []sessionLine
	items    []itemLine
	summary  summaryLine
}

// lines runs the command with --json, and returns the exit code and the lines.
func lines(t *testing.T, environment env, args ...string) (int, printed) {
	t.Helper()
	r := call(t, environment, append(args, "--json")...)
	var p printed
	for line := range strings.Lines(r.stdout) {
		require.Zero(t, p.summary, "the summary is the last line")
		var head Head
		require.NoError(t, json.Unmarshal([]byte(line), &head))
		require.Equal(t, 1, head.Version)
		decoder := json.NewDecoder(strings.NewReader(line))
		decoder.DisallowUnknownFields()
		switch head.Type {
		case "session":
			var session sessionLine
			require.NoError(t, decoder.Decode(&session))
			p.sessions = append(p.sessions, session)
		case "item":
			var item itemLine
			require.NoError(t, decoder.Decode(&item))
			p.items = append(p.items, item)
		case "summary":
			require.NoError(t, decoder.Decode(&p.summary))
		default:
			require.Fail(t, "a line of another type", line)
		}
	}
	return r.code, p
}

// summary runs the command with --json, and returns the exit code and the
// summary.
func summary(t *testing.T, environment env, args ...string) (int, summaryLine) {
	t.Helper()
	code, p := lines(t, environment, args...)
	require.Equal(t, "summary", p.summary.Type)
	return code, p.summary
}

// stored is an item as it is stored, and the session that holds it.
type stored struct{ sessionID, item string }

// newDatabase makes a SQLite file that holds these items.
func newDatabase(t *testing.T, items ...stored) (file string) {
	t.Helper()
	file = filepath.Join(t.TempDir(), "test.db")
	db, store := openTestStore(t, file)
	for _, s := range items {
		require.NoError(t, store.Session(s.sessionID).AddItems(t.Context(), encsession.Item(s.item)))
	}
	require.NoError(t, db.Close())
	return file
}

func openTestStore(t *testing.T, file string, opts ...sqlstore.Option) (*sql.DB, *sqlstore.Store) {
	t.Helper()
	db, err := sql.Open("sqlite", file)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	store, err := sqlstore.New(db, sqlstore.SQLite, opts...)
	require.NoError(t, err)
	require.NoError(t, store.CreateTables(t.Context()))
	return db, store
}

// filesBeside returns the names of the files in the folder of file.
func filesBeside(t *testing.T, file string) []string {
	t.Helper()
	entries, err := os.ReadDir(filepath.Dir(file))
	require.NoError(t, err)
	var names []string
	for _, entry := range entries {
		names = append(names, entry.Name())
	}
	return names
}

// perKey returns the number of items that each key opens.
func perKey(c *Counts) (items []int) {
	for _, key := range c.Keys {
		items = append(items, key.Items)
	}
	return items
}

func read(t *testing.T, file string) []byte {
	t.Helper()
	content, err := os.ReadFile(file)
	require.NoError(t, err)
	return content
}

// write writes a file in a folder of its own, and returns its name.
func write(t *testing.T, name, content string) (file string) {
	t.Helper()
	file = filepath.Join(t.TempDir(), name)
	require.NoError(t, os.WriteFile(file, []byte(content), 0o600))
	return file
}

// newKey returns a new Fernet key, as text and parsed.
func newKey(t *testing.T) (string, encsession.Key) {
	t.Helper()
	text := encsession.GenerateKey()
	key, err := encsession.ParseKey(text)
	require.NoError(t, err)
	return text, key
}

func rawKey(t *testing.T, secret string) *encsession.Key {
	t.Helper()
	key, err := encsession.ParsePythonKey(secret)
	require.NoError(t, err)
	return &key
}

// addUnder adds items to a session, sealed under a key. Without a key it adds
// them as they are. An EncryptedSession would refuse some of them, as it
// should.
func addUnder(t *testing.T, session encsession.Session, key *encsession.Key, items ...encsession.Item) {
	t.Helper()
	if key != nil {
		sealer, err := encsession.NewSealer(session.SessionID(), encsession.Keyring{Current: *key}, encsession.NoExpiry)
		require.NoError(t, err)
		for i, item := range items {
			items[i], err = sealer.Seal(item)
			require.NoError(t, err)
		}
	}
	require.NoError(t, session.AddItems(t.Context(), items...))
}

// These are envelopes of the session user-321, under the raw secret pastKey.
// Two were sealed on 15 January 2026. The clock of the third was far ahead.
const (
	pastKey     = "the key of an envelope in the example inspect"
	pastSession = "user-321"
)

var pastEnvelopes = []string{
	"gAAAAABpaLOYcV1mO_A3MNXfxJl__M50tj98-PJWDEvNIXkZE1LXyU5nO4ts-hBJWXdo2vM5B-a6UXYgIRIPkX3YoqjWPlJc55MKwEgCVGnYz17pSp-9" +
		"t035YgqUJ8Xfo3IkGiATCxVANUVwUSGg7zhJESwAAvjJvw==",
	"gAAAAABpaLOf0EqK4IH1lr9vPDHUsJWviaVYNkmaqk2CZzQzrX1Bd7DcNVRL1OJE0-UO2YUBCdrYCLGWkoxmCoe2DQn8cSw1EYuNJE1UjANTQgLVIAu4" +
		"O5dKefIINvXEO8BTNM98FIpmDkDQbRPKiV63RMrfCn-X1w9uM173zEKCpbTgeQ_As_w=",
	"gAAAAAD0hlcARRvREoKrdD38Xu2IHKgfNUQ3zFUnIFZ2B2yybk_fnV-HL-a4hm2TdajC1VV3377kgH0prjJfatxZrrXzccAt4L0YVuovXv4Aj6kgLSVg" +
		"oKgBInDyJGF7jJ2luTS5_WX-DdJB4Ys53rJDZ1ZoRwgP0A==",
}

// fromThePast returns those envelopes under the given key. Sealing them again
// keeps their time.
func fromThePast(t *testing.T, key encsession.Key) (items []encsession.Item) {
	t.Helper()
	keys := encsession.Keyring{Current: key, Older: []encsession.Key{*rawKey(t, pastKey)}}
	sealer, err := encsession.NewSealer(pastSession, keys, encsession.NoExpiry)
	require.NoError(t, err)
	for _, token := range pastEnvelopes {
		sealed, _, err := sealer.Reseal(encsession.Item(`{"__enc__":1,"v":1,"kid":"hkdf-v1","payload":"` + token + `"}`))
		require.NoError(t, err)
		items = append(items, sealed)
	}
	return items
}

// demo makes a database with something of everything, and returns the
// environment that opens it.
func demo(t *testing.T) env {
	t.Helper()
	file := filepath.Join(t.TempDir(), "demo.db")
	db, store := openTestStore(t, file)
	currentText, current := newKey(t)
	oldText, old := newKey(t)
	_, lost := newKey(t)
	said := func(n int) (items []encsession.Item) {
		for i := range n {
			item, err := json.Marshal(map[string]any{"role": "user", "content": "Said before.", "n": i})
			require.NoError(t, err)
			items = append(items, item)
		}
		return items
	}
	for _, part := range []struct {
		sessionID string
		key       *encsession.Key // nil to store the items as they are
		items     []encsession.Item
	}{
		{"user-123", &current, said(24)},
		{pastSession, nil, fromThePast(t, current)},
		{pastSession, &current, said(2)},
		{"user-456", &old, said(12)},
		{"user-456", &current, said(4)},
		{"user-654", &old, said(4)},
		{"user-654", &lost, said(1)},
		{"user-789", nil, []encsession.Item{encsession.Item(`{"__enc__":2,"payload":"of a version that is not there yet"}`)}},
		{"user-789", nil, said(9)}, // plaintext, as before a migration
	} {
		addUnder(t, store.Session(part.sessionID), part.key, part.items...)
	}
	require.NoError(t, db.Close())
	return env{keyVariable: currentText, olderKeysVariable: oldText}.on(file)
}
