package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
)

// sqliteBusyTimeout is how many milliseconds a connection waits for another one's lock, at least, as in Python.
const sqliteBusyTimeout = 5000

// Result codes of SQLite, without the extension in their upper bits.
const (
	sqliteBusy   = 5
	sqliteLocked = 6 // a table in a cache that connections share
)

type sqlite struct {
	hasWAL atomic.Bool // or as much of it as this database can have
}

func (*sqlite) quote(identifier string) string { return `"` + identifier + `"` }

func (*sqlite) placeholders(query string) string { return query }

// bytes makes text of a BLOB too, which found tables may hold.
func (*sqlite) bytes(column string) string { return "CAST(" + column + " AS TEXT) COLLATE BINARY" }

func (*sqlite) isText(column string) string { return "typeof(" + column + ") = 'text'" }

func (*sqlite) upsert() string {
	return "INSERT INTO {sessions} (session_id) VALUES (?) " +
		"ON CONFLICT (session_id) DO UPDATE SET updated_at = CURRENT_TIMESTAMP"
}

func (*sqlite) lock() string { return "" }

// begin takes the lock of the database. A plain BEGIN would take it at the first write, and where another
// client has written since the first read, that fails at once.
func (*sqlite) begin() []string { return []string{"BEGIN IMMEDIATE"} }

// prepare sets the busy timeout, which belongs to the connection, each time: whether the pool has just opened
// it cannot be seen. WAL mode belongs to the file, so that it is set once.
func (d *sqlite) prepare(ctx context.Context, conn *sql.Conn) error {
	var timeout int
	if err := conn.QueryRowContext(ctx, "PRAGMA busy_timeout").Scan(&timeout); err != nil {
		return err
	}
	if timeout < sqliteBusyTimeout {
		if _, err := conn.ExecContext(ctx, fmt.Sprintf("PRAGMA busy_timeout = %d", sqliteBusyTimeout)); err != nil {
			return err
		}
	}
	if d.hasWAL.Load() {
		return nil
	}
	var mode string
	err := conn.QueryRowContext(ctx, "PRAGMA journal_mode = WAL").Scan(&mode)
	if d.transient(err) || ctx.Err() != nil {
		return err // another client is in the way, and SQLite does not always wait for it here
	}
	// A file that is read-only, or is no database, cannot be switched: reading one may work all the same, and
	// where it does not, its error is the clearer one.
	d.hasWAL.Store(err == nil)
	return nil
}

// isClean finds out by beginning a transaction, which fails inside another one. It matters that a connection is not
// thrown away without need: the database in memory would go with it.
func (*sqlite) isClean(ctx context.Context, conn *sql.Conn) bool {
	if _, err := conn.ExecContext(ctx, "BEGIN"); err != nil {
		return false
	}
	_, err := conn.ExecContext(ctx, "ROLLBACK")
	return err == nil
}

func (d *sqlite) inspect(ctx context.Context, conn *sql.Conn, t tables) (layout, error) {
	for _, table := range []string{t.sessions, t.messages} {
		exists, err := d.exists(ctx, conn, table)
		if err != nil {
			return layout{}, err
		}
		if !exists {
			return layout{}, missingTable(table)
		}
	}
	var encoding string
	if err := conn.QueryRowContext(ctx, "PRAGMA encoding").Scan(&encoding); err != nil {
		return layout{}, err
	}
	if encoding != "UTF-8" {
		// SQLite replaces some characters on their way to UTF-16, which could make two session IDs one.
		return layout{}, fmt.Errorf("the database is encoded in %s, not UTF-8: %w", encoding, errors.ErrUnsupported)
	}
	for _, column := range []struct{ table, name string }{
		{t.sessions, "session_id"}, {t.messages, "session_id"}, {t.messages, "message_data"},
	} {
		if err := d.keepsText(ctx, conn, column.table, column.name); err != nil {
			return layout{}, err
		}
	}
	newestFirst, err := d.order(ctx, conn, t.messages)
	if err != nil {
		return layout{}, err
	}
	parts := []part{byID("")}
	if newestFirst != "id DESC" {
		// A bare column would have drivers make a time.Time of it, by its declared type.
		parts = []part{byTime(" AND created_at IS NOT NULL", "+created_at"), byID(" AND created_at IS NULL")}
	}
	return layout{ids: []column{{}}, newestFirst: newestFirst, parts: parts}, nil
}

func (*sqlite) exists(ctx context.Context, conn *sql.Conn, table string) (bool, error) {
	var columns int
	err := conn.QueryRowContext(ctx, "SELECT COUNT(*) FROM pragma_table_info(?)", table).Scan(&columns)
	return columns > 0, err
}

// keepsText makes sure that a column keeps text as it is. SQLite turns text that looks like a number into one where the
// declared type of the column says so, by the rules of section 3.1 of its "Datatypes": the IDs 7 and 007 would be one.
func (*sqlite) keepsText(ctx context.Context, conn *sql.Conn, table, column string) error {
	var declared string
	err := conn.QueryRowContext(ctx, "SELECT upper(type) FROM pragma_table_info(?) WHERE name = ?", table, column).Scan(&declared)
	if errors.Is(err, sql.ErrNoRows) {
		return fmt.Errorf("table %s has no column %s: %w", table, column, errors.ErrUnsupported)
	}
	if err != nil {
		return err
	}
	has := func(part string) bool { return strings.Contains(declared, part) }
	text := has("CHAR") || has("CLOB") || has("TEXT")
	if !has("INT") && (text || declared == "" || has("BLOB")) {
		return nil
	}
	return fmt.Errorf("column %s of table %s has type %s, which does not keep text as it is: %w",
		column, table, declared, errors.ErrUnsupported)
}

// order tells by the index whose table it is. SQLiteSession of Python orders by id and has an index
// (session_id, id), as our own tables have. SQLAlchemySession orders by created_at, then id, and has an index
// (session_id, created_at), to which SQLite adds the id. The orders differ only where the clock has been set
// back.
func (*sqlite) order(ctx context.Context, conn *sql.Conn, messages string) (newestFirst string, err error) {
	const query = `
		SELECT COUNT(CASE second.name WHEN 'id' THEN 1 END), COUNT(CASE second.name WHEN 'created_at' THEN 1 END)
		FROM pragma_index_list(?) AS list
		JOIN pragma_index_info(list.name) AS first ON first.seqno = 0 AND first.name = 'session_id'
		JOIN pragma_index_info(list.name) AS second ON second.seqno = 1
		WHERE NOT list.partial`
	var byID, byTime int
	if err := conn.QueryRowContext(ctx, query, messages).Scan(&byID, &byTime); err != nil {
		return "", err
	}
	if byID == 0 && byTime > 0 {
		return "created_at DESC, id DESC", nil
	}
	return "id DESC", nil
}

func (d *sqlite) create(ctx context.Context, conn *sql.Conn, t tables) error {
	err := t.exec(ctx, conn, `CREATE TABLE IF NOT EXISTS {sessions} (
	session_id TEXT PRIMARY KEY,
	created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP,
	updated_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP
)`)
	if err != nil {
		return err
	}
	if exists, err := d.exists(ctx, conn, t.messages); exists || err != nil {
		return err
	}
	return t.exec(ctx, conn, `CREATE TABLE {messages} (
	id INTEGER PRIMARY KEY AUTOINCREMENT,
	session_id TEXT NOT NULL,
	message_data TEXT NOT NULL,
	created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP,
	FOREIGN KEY (session_id) REFERENCES {sessions} (session_id) ON DELETE CASCADE
)`,
		"CREATE INDEX {id index} ON {messages} (session_id, id)")
}

func (*sqlite) transient(err error) bool {
	code, ok := sqliteCode(err)
	return ok && (code&0xff == sqliteBusy || code&0xff == sqliteLocked)
}

// sqliteCode returns SQLite's result code: modernc.org/sqlite gives it by a method, mattn/go-sqlite3 in a field.
func sqliteCode(err error) (int, bool) {
	if coder := interface{ Code() int }(nil); errors.As(err, &coder) {
		return coder.Code(), true
	}
	return intField(err, "Code")
}
