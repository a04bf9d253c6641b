package main

import (
	"context"
	"database/sql"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/encsession/encsession"
	"github.com/encsession/encsession/examples/internal/sample"
	"github.com/encsession/encsession/sqlstore"
)

// demonstrate makes a database in a new temporary folder, which stays, and inspects it.
func demonstrate(ctx context.Context, stdout, stderr io.Writer) error {
	folder, err := os.MkdirTemp("", "encsession-inspect-")
	if err != nil {
		return err
	}
	return demonstrateIn(ctx, folder, stdout, stderr)
}

const (
	demoDatabase = "demo.db"
	demoKeys     = "keys.sh"
)

func demonstrateIn(ctx context.Context, folder string, stdout, stderr io.Writer) error {
	c := config{
		open: openSQLite, source: filepath.Join(folder, demoDatabase),
		sessions: "agent_sessions", messages: "agent_messages",
		ttl: 30 * 24 * time.Hour,
	}
	fmt.Fprintln(stdout, "No database given (-h shows the flags), so this is a demonstration on one that was made just now:")
	fmt.Fprintf(stdout, "%s\n\n", c.source)
	var err error
	if c.keys, err = makeDemo(ctx, c.source, filepath.Join(folder, demoKeys)); err != nil {
		return err
	}
	if _, err := inspectDatabase(ctx, c, stdout, stderr); err != nil {
		return err
	}
	_, err = fmt.Fprintf(stdout, `
On a database of yours the exit code would be 1 now, because something is undecryptable. Go on with this one, if you
like, which stays until you remove its folder:

  . %s/%s
  go run ./examples/inspect -db %s -show user-789

and instead of -show also -rekey, -seal-plaintext, -purge 30d, -ttl 30d or -json.
`, folder, demoKeys, c.source)
	return err
}

// makeDemo makes a database with something of everything, and a file that sets the keys to it.
func makeDemo(ctx context.Context, database, keysFile string) (*encsession.Keyring, error) {
	current, read := encsession.GenerateKey(), encsession.GenerateKey()
	script := fmt.Sprintf("export %s='%s'\nexport %s='%s'\n", keyVariable, current, readKeysVariable, read)
	if err := os.WriteFile(keysFile, []byte(script), 0o600); err != nil {
		return nil, err
	}
	key, err := encsession.ParseKey(current)
	if err != nil {
		return nil, err
	}
	oldKey, err := encsession.ParseKey(read)
	if err != nil {
		return nil, err
	}
	lostKey, err := encsession.ParseKey(encsession.GenerateKey())
	if err != nil {
		return nil, err
	}
	db, err := sql.Open("sqlite", database)
	if err != nil {
		return nil, err
	}
	defer db.Close()
	store, err := sqlstore.New(db, sqlstore.SQLite)
	if err != nil {
		return nil, err
	}
	if err := store.CreateTables(ctx); err != nil {
		return nil, err
	}
	items := sample.Conversation()
	past, err := fromThePast(key)
	if err != nil {
		return nil, err
	}
	for _, part := range []struct {
		sessionID string
		key       *encsession.Key // nil to store the items as they are
		items     []encsession.Item
	}{
		{"user-123", &key, items[:24]},
		{pastSession, nil, past},
		{pastSession, &key, items[24:26]},
		{"user-456", &oldKey, items[26:38]},
		{"user-456", &key, items[38:42]},
		{"user-654", &oldKey, items[42:46]},
		{"user-654", &lostKey, items[46:47]},
		{"user-789", nil, []encsession.Item{encsession.Item(`{"__enc__":2,"payload":"of a version that is not there yet"}`)}},
		{"user-789", nil, items[47:]}, // plaintext, as before a migration
	} {
		if err := addUnder(ctx, store.Session(part.sessionID), part.key, part.items); err != nil {
			return nil, err
		}
	}
	return &encsession.Keyring{Current: key, Older: []encsession.Key{oldKey}}, nil
}

// addUnder adds items to a session, sealed under a key or, without one, as they
// are. An EncryptedSession would refuse to add some of them, as it should: under a
// key that does not fit the history.
func addUnder(ctx context.Context, session encsession.Session, key *encsession.Key, items []encsession.Item) error {
	if key == nil {
		return session.AddItems(ctx, items...)
	}
	sealer, err := encsession.NewSealer(session.SessionID(), encsession.Keyring{Current: *key}, encsession.NoExpiry)
	if err != nil {
		return err
	}
	sealed := make([]encsession.Item, len(items))
	for i, item := range items {
		if sealed[i], err = sealer.Seal(item); err != nil {
			return err
		}
	}
	return session.AddItems(ctx, sealed...)
}

// Envelopes of the session user-321, under the raw secret pastKey: two that were sealed on 15 January 2026, and one of a
// clock that was far ahead.
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

// fromThePast returns those envelopes under a key of now: to seal them again keeps
// their time.
func fromThePast(key encsession.Key) ([]encsession.Item, error) {
	oldKey, err := encsession.ParsePythonKey(pastKey)
	if err != nil {
		return nil, err
	}
	keys := encsession.Keyring{Current: key, Older: []encsession.Key{oldKey}}
	sealer, err := encsession.NewSealer(pastSession, keys, encsession.NoExpiry)
	if err != nil {
		return nil, err
	}
	var items []encsession.Item
	for _, token := range pastEnvelopes {
		stored := fmt.Sprintf(`{"__enc__":1,"v":1,"kid":"hkdf-v1","payload":%q}`, token)
		sealed, _, err := sealer.Reseal(encsession.Item(stored))
		if err != nil {
			return nil, err
		}
		items = append(items, sealed)
	}
	return items, nil
}
