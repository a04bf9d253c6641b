// Quickstart keeps an agent's conversation in a SQLite file, encrypted, and
// shows rows of the file beside the items that the session returns. It reads
// the rows with plain SQL, not through the library. Then it reads and writes
// under a wrong key, and lets the conversation expire. The file is in a new
// temporary folder, which stays.
package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"time"

	"github.com/encsession/encsession"
	"github.com/encsession/encsession/examples/internal/sample"
	"github.com/encsession/encsession/examples/internal/show"
	"github.com/encsession/encsession/sqlstore"
	_ "modernc.org/sqlite" // a driver that needs no C compiler
)

func main() {
	folder, err := os.MkdirTemp("", "encsession-quickstart-")
	if err == nil {
		err = run(os.Stdout, folder)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "quickstart:", err)
		os.Exit(1)
	}
}

const databaseName = "conversations.db"

func run(w io.Writer, folder string) error {
	ctx := context.Background()
	file := filepath.Join(folder, databaseName)
	db, err := sql.Open("sqlite", file)
	if err != nil {
		return err
	}
	defer db.Close()
	store, err := openSession(ctx, db, "user-123")
	if err != nil {
		return err
	}
	key, err := newKey()
	if err != nil {
		return err
	}
	if err := addAndShow(ctx, w, db, store, key); err != nil {
		return err
	}
	if err := tryWrongKey(ctx, w, store, key); err != nil {
		return err
	}
	if err := expire(ctx, w, store, key); err != nil {
		return err
	}
	fmt.Fprintf(w, "\nLook: sqlite3 %s 'select * from agent_messages'\n", file)
	return nil
}

// openSession returns the session of the database, which stores items as they
// are: nothing is encrypted yet.
func openSession(ctx context.Context, db *sql.DB, sessionID string) (encsession.Session, error) {
	store, err := sqlstore.New(db, sqlstore.SQLite)
	if err != nil {
		return nil, err
	}
	if err := store.CreateTables(ctx); err != nil {
		return nil, err
	}
	return store.Session(sessionID), nil
}

// newKey makes a key for this run. A service generates its key once, keeps it
// in a secret manager, and parses it at every start.
func newKey() (encsession.Key, error) {
	return encsession.ParseKey(encsession.GenerateKey())
}

// open wraps the store in an EncryptedSession, whose observer counts the items
// that reads leave out. A service would rather log them, with LogDrops.
func open(store encsession.Session, key encsession.Key, ttl time.Duration) (*encsession.EncryptedSession, drops, error) {
	left := drops{}
	session, err := encsession.New(store, key,
		encsession.WithTTL(ttl),
		encsession.WithObserver(left.observe))
	return session, left, err
}

func addAndShow(ctx context.Context, w io.Writer, db *sql.DB, store encsession.Session, key encsession.Key) error {
	session, _, err := open(store, key, time.Hour)
	if err != nil {
		return err
	}
	if err := session.AddItems(ctx, sample.Conversation()...); err != nil {
		return err
	}
	rows, err := show.Rows(ctx, db)
	if err != nil {
		return err
	}
	items, err := session.GetItems(ctx, 0)
	if err != nil {
		return err
	}
	if len(rows) != len(items) {
		return fmt.Errorf("the file holds %d rows, the session returns %d items", len(rows), len(items))
	}

	fmt.Fprintf(w, "1. A conversation of %d items in the session %q of a new SQLite file: the first %d\n",
		len(items), session.SessionID(), rowsShown)
	fmt.Fprintln(w, compare(rows[:rowsShown], items[:rowsShown]))
	return nil
}

func tryWrongKey(ctx context.Context, w io.Writer, store encsession.Session, key encsession.Key) error {
	fmt.Fprintln(w, "\n2. The same file under a wrong key")
	wrongKey, err := newKey()
	if err != nil {
		return err
	}
	if err := showRead(ctx, w, "Wrong key", store, wrongKey, time.Hour); err != nil {
		return err
	}
	if err := showPop(ctx, w, store, wrongKey); err != nil {
		return err
	}
	if err := showAdd(ctx, w, store, wrongKey); err != nil {
		return err
	}
	if err := showStored(ctx, w, store); err != nil {
		return err
	}
	return showRead(ctx, w, "Right key", store, key, time.Hour)
}

func expire(ctx context.Context, w io.Writer, store encsession.Session, key encsession.Key) error {
	fmt.Fprintln(w, "\n3. The same file under the right key, 2 seconds later")
	time.Sleep(2 * time.Second) // age is counted in whole seconds: after a shorter sleep it may still be one
	if err := showRead(ctx, w, "TTL of 1s", store, key, time.Second); err != nil {
		return err
	}
	if err := showRead(ctx, w, "NoExpiry", store, key, encsession.NoExpiry); err != nil {
		return err
	}
	showLine(w, "So", "a TTL hides items, and deletes none. Purge does.")
	return nil
}

// showRead shows how many items a reader gets, whether they are the whole
// conversation, and how many it does not get.
func showRead(ctx context.Context, w io.Writer, who string, store encsession.Session, key encsession.Key, ttl time.Duration) error {
	session, left, err := open(store, key, ttl)
	if err != nil {
		return err
	}
	items, err := session.GetItems(ctx, 0)
	if err != nil {
		return err
	}
	line := fmt.Sprintf("reads %d items", len(items))
	if reflect.DeepEqual(items, sample.Conversation()) {
		line += ", byte for byte as they were added"
	}
	for reason, count := range left {
		line += fmt.Sprintf(", leaves out %d (%v)", count, reason)
	}
	showLine(w, who, line)
	return nil
}

func showPop(ctx context.Context, w io.Writer, store encsession.Session, key encsession.Key) error {
	session, _, err := open(store, key, time.Hour)
	if err != nil {
		return err
	}
	item, err := session.PopItem(ctx)
	if err != nil {
		return err
	}
	result := "gets nothing"
	if item != nil {
		result = "gets an item"
	}
	showLine(w, "Its pop", result)
	return nil
}

// showAdd shows that nothing is stored under a key that does not fit the
// history.
func showAdd(ctx context.Context, w io.Writer, store encsession.Session, key encsession.Key) error {
	session, _, err := open(store, key, time.Hour)
	if err != nil {
		return err
	}
	err = session.AddItems(ctx, sample.Conversation()[0])
	if !errors.Is(err, encsession.ErrUndecryptable) {
		return fmt.Errorf("an add under a wrong key is not refused: %w", err)
	}
	showLine(w, "Its add", "is refused: "+err.Error())
	return nil
}

// showStored shows how many items the file holds, readable or not.
func showStored(ctx context.Context, w io.Writer, store encsession.Session) error {
	stored, err := store.GetItems(ctx, 0)
	if err != nil {
		return err
	}
	showLine(w, "The file", fmt.Sprintf("still holds %d items", len(stored)))
	return nil
}

// drops counts the items that reads leave out, by the reason.
type drops map[error]int

// observe is told of every call. It needs no lock, since this program works in
// one goroutine.
func (d drops) observe(_ context.Context, e encsession.Event) {
	for _, reason := range []error{
		encsession.ErrExpired, encsession.ErrFuture, encsession.ErrUndecryptable,
		encsession.ErrMalformed, encsession.ErrPlaintext,
	} {
		if n := e.Dropped(reason); n > 0 {
			d[reason] += n
		}
	}
}
