package sqlstore_test

import (
	"context"
	"database/sql"
	"fmt"
	"log"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib"
	_ "modernc.org/sqlite"

	"github.com/encsession/encsession"
	"github.com/encsession/encsession/sqlstore"
)

// This example keeps a conversation in a SQLite file. The DSN needs no
// parameters.
func Example() {
	ctx := context.Background()
	folder, err := os.MkdirTemp("", "sqlstore")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(folder)
	db, err := sql.Open("sqlite", filepath.Join(folder, "conversations.db"))
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
	store, err := sqlstore.New(db, sqlstore.SQLite)
	if err != nil {
		log.Fatal(err)
	}
	if err := store.CreateTables(ctx); err != nil {
		log.Fatal(err)
	}

	key, err := encsession.ParseKey(encsession.GenerateKey()) // yours comes from a secret manager
	if err != nil {
		log.Fatal(err)
	}
	session, err := encsession.New(store.Session("user-123"), key,
		encsession.WithTTL(24*time.Hour), encsession.WithObserver(encsession.LogDrops(slog.Default())))
	if err != nil {
		log.Fatal(err)
	}
	if err := session.AddItems(ctx, encsession.Item(`{"role":"user","content":"My passport is XZ4839201."}`)); err != nil {
		log.Fatal(err)
	}

	var row string
	if err := db.QueryRow("SELECT message_data FROM agent_messages").Scan(&row); err != nil {
		log.Fatal(err)
	}
	items, err := session.GetItems(ctx, 50)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("the file holds       %.53s…\n", row)
	fmt.Printf("the session returns  %s\n", items[0])
	// Output:
	// the file holds       {"__enc__":1,"v":1,"kid":"hkdf-v1","payload":"gAAAAAB…
	// the session returns  {"role":"user","content":"My passport is XZ4839201."}
}

// This example uses a PostgreSQL database through pgx.
func ExampleNew_postgreSQL() {
	db, err := sql.Open("pgx", os.Getenv("DATABASE_URL"))
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
	session, err := openPostgreSQL(context.Background(), db, newKey(), "user-123")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(session.SessionID())
}

func openPostgreSQL(ctx context.Context, db *sql.DB, key encsession.Key, sessionID string) (*encsession.EncryptedSession, error) {
	// db comes from sql.Open("pgx", os.Getenv("DATABASE_URL")), with import _ "github.com/jackc/pgx/v5/stdlib".
	store, err := sqlstore.New(db, sqlstore.PostgreSQL)
	if err != nil {
		return nil, err
	}
	if err := store.CreateTables(ctx); err != nil { // only missing ones; tables that Python made stay as they are
		return nil, err
	}
	return encsession.New(store.Session(sessionID), key, encsession.WithTTL(24*time.Hour),
		encsession.WithObserver(encsession.LogDrops(slog.Default())))
}

// This example goes through all sessions and seals the items of each one under
// the current key.
func ExampleStore_Sessions() {
	ctx := context.Background()
	store := newStore()
	former, current := newKey(), newKey()
	for _, id := range []string{"user-123", "user-456"} {
		session, err := encsession.New(store.Session(id), former,
			encsession.WithTTL(24*time.Hour), encsession.WithObserver(encsession.LogDrops(slog.Default())))
		if err != nil {
			log.Fatal(err)
		}
		if err := session.AddItems(ctx, encsession.Item(`{"role":"user","content":"Hello"}`)); err != nil {
			log.Fatal(err)
		}
	}

	for info, err := range store.Sessions(ctx) {
		if err != nil {
			log.Fatal(err)
		}
		session, err := encsession.New(store.Session(info.ID), encsession.Keyring{Current: current, Older: []encsession.Key{former}},
			encsession.WithTTL(24*time.Hour), encsession.WithObserver(encsession.LogDrops(slog.Default())))
		if err != nil {
			log.Fatal(err)
		}
		changed, err := session.Rekey(ctx)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(info.ID, changed)
	}
	// Output:
	// user-123 1
	// user-456 1
}

// This example gives the tables other names. That can keep two applications
// apart in one database.
func ExampleWithTables() {
	db, err := sql.Open("sqlite", ":memory:")
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
	db.SetMaxOpenConns(1) // a database in memory belongs to its connection
	store, err := sqlstore.New(db, sqlstore.SQLite, sqlstore.WithTables("support_sessions", "support_messages"))
	if err != nil {
		log.Fatal(err)
	}
	if err := store.CreateTables(context.Background()); err != nil {
		log.Fatal(err)
	}
	_, err = sqlstore.New(db, sqlstore.SQLite, sqlstore.WithTables("sessions", "messages; DROP TABLE users"))
	fmt.Println(err)
	// Output:
	// sqlstore: New: option 0: table name "messages; DROP TABLE users" is not an identifier
}

// This example replaces one item in its place, and removes another one.
func ExampleSession_RewriteItems() {
	ctx := context.Background()
	session := newStore().Session("user-123")
	first, second, third := sqlstore.Item(`{"n":1}`), sqlstore.Item(`{"n":2}`), sqlstore.Item(`{"n":3}`)
	if err := session.AddItems(ctx, first, second, third); err != nil {
		log.Fatal(err)
	}
	changed, err := session.RewriteItems(ctx, 10, func(stored []sqlstore.Item) (new []sqlstore.Item, more bool) {
		// The newest item comes first.
		return []sqlstore.Item{stored[0], nil, sqlstore.Item(`{"n":"one"}`)}, true
	})
	if err != nil {
		log.Fatal(err)
	}
	items, err := session.GetItems(ctx, 0)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%d changed: %s\n", changed, items)
	// Output:
	// 2 changed: [{"n":"one"} {"n":3}]
}

// newStore returns a store in memory.
func newStore() *sqlstore.Store {
	db, err := sql.Open("sqlite", ":memory:")
	if err != nil {
		log.Fatal(err)
	}
	db.SetMaxOpenConns(1)
	store, err := sqlstore.New(db, sqlstore.SQLite)
	if err != nil {
		log.Fatal(err)
	}
	if err := store.CreateTables(context.Background()); err != nil {
		log.Fatal(err)
	}
	return store
}

func newKey() encsession.Key {
	key, err := encsession.ParseKey(encsession.GenerateKey())
	if err != nil {
		log.Fatal(err)
	}
	return key
}
