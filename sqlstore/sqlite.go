package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync/atomic"
)

// sqliteBusyTimeout is the least number of milliseconds that a connection waits
// for the lock of another one, if the attempt before has failed. It is that of
// Python.
const sqliteBusyTimeout = 5000

// Result codes of SQLite, without the extension in their upper bits.
const (
	sqliteBusy   = 5
	sqliteLocked = 6 // a table is locked in a cache that connections share
)

type sqlite struct {
	db *sql.DB // to see how many connections the pool may have
	// modeIsSet is true if the journal mode needs no setting: it is WAL, the
	// file cannot have WAL, or the mode must be left alone.
	modeIsSet atomic.Bool
}

func (*sqlite) quote(identifier string) string { return `"` + identifier + `"` }

func (*sqlite) placeholders(query string) string { return query }

// bytes also makes text of a BLOB, which found tables may hold.
func (*sqlite) bytes(column string) string { return "CAST(" + column + " AS TEXT) COLLATE BINARY" }

func (d *sqlite) compared() (column string, of func(Item) string) {
	return d.bytes("message_data"), func(item Item) string { return string(item) }
}

func (*sqlite) isText(column string) string { return "typeof(" + column + ") = 'text'" }

func (*sqlite) checked() string { return "" }

func (*sqlite) upsert() string {
	return "INSERT INTO {sessions} (session_id) VALUES (?) " +
		"ON CONFLICT (session_id) DO UPDATE SET updated_at = CURRENT_TIMESTAMP"
}

func (*sqlite) lock() string { return "" }

// begin takes the lock of the database. A plain BEGIN would take it at the
// first write. That write fails at once if another client has written since the
// first read.
func (*sqlite) begin() []string { return []string{"BEGIN IMMEDIATE"} }

// prepare sets WAL mode, which belongs to the file, once. The busy timeout
// belongs to the connection. prepare sets it if another client may have been in
// the way of the attempt before. So most calls need no extra statement.
func (d *sqlite) prepare(ctx context.Context, conn *sql.Conn, attempt int) error {
	if attempt == 1 && d.modeIsSet.Load() {
		return nil
	}
	var timeout int
	if err := conn.QueryRowContext(ctx, "PRAGMA busy_timeout").Scan(&timeout); err != nil {
		return err
	}
	if timeout < sqliteBusyTimeout {
		if _, err := conn.ExecContext(ctx, fmt.Sprintf("PRAGMA busy_timeout = %d", sqliteBusyTimeout)); err != nil {
			return err
		}
	}
	if d.modeIsSet.Load() {
		return nil
	}
	var mode string
	err := conn.QueryRowContext(ctx, "PRAGMA journal_mode = WAL").Scan(&mode)
	if d.attempts(err) > 1 || ctx.Err() != nil {
		// Another client is in the way, and SQLite does not always wait for it
		// here.
		return err
	}
	// A file that is read-only or not a database cannot be switched. Reading it
	// may still work. If not, the error of the read is clearer.
	d.modeIsSet.Store(err == nil)
	return nil
}

// isClean begins a transaction, which fails inside another one. A connection
// must not be thrown away without need: a database in memory would go with it.
func (*sqlite) isClean(ctx context.Context, conn *sql.Conn) bool {
	if _, err := conn.ExecContext(ctx, "BEGIN"); err != nil {
		return false
	}
	_, err := conn.ExecContext(ctx, "ROLLBACK")
	return err == nil
}

func (d *sqlite) inspect(ctx context.Context, conn *sql.Conn, t tables) (layout, error) {
	if err := d.checkFile(ctx, conn); err != nil {
		return layout{}, err
	}
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
		// SQLite replaces some characters on their way to UTF-16, which could
		// make two session IDs one.
		return layout{}, fmt.Errorf("the database is encoded in %s, not UTF-8: %w", encoding, errors.ErrUnsupported)
	}
	for _, column := range []struct{ table, name string }{
		{t.sessions, "session_id"}, {t.messages, "session_id"}, {t.messages, "message_data"},
	} {
		if err := d.keepsText(ctx, conn, column.table, column.name); err != nil {
			return layout{}, err
		}
	}
	if err := d.checkID(ctx, conn, t.messages); err != nil {
		return layout{}, err
	}
	if err := d.checkBranches(ctx, conn, t.messages); err != nil {
		return layout{}, err
	}
	times, err := d.times(ctx, conn, t.sessions)
	if err != nil {
		return layout{}, err
	}
	found := layout{ids: []column{{}}, times: times, newestFirst: "id DESC", reserves: true, parts: []part{byID("")}}
	isByTime, err := d.isByTime(ctx, conn, t.messages)
	if isByTime {
		found.newestFirst = "created_at DESC, id DESC"
		// Drivers would make a time.Time of a bare column, because of its
		// declared type.
		found.parts = []part{byTime(" AND created_at IS NOT NULL", "+created_at", "?"), byID(" AND created_at IS NULL")}
		found.ahead, err = d.ahead(ctx, conn, t.messages)
	}
	return found, err
}

// checkFile refuses a database without a file if the pool may have several
// connections: each of them would have a database of its own.
func (d *sqlite) checkFile(ctx context.Context, conn *sql.Conn) error {
	if d.db.Stats().MaxOpenConnections == 1 {
		return nil
	}
	var file string
	err := conn.QueryRowContext(ctx, "SELECT file FROM pragma_database_list WHERE name = 'main'").Scan(&file)
	if err == nil && file == "" {
		return fmt.Errorf("the database has no file, and so belongs to one connection: give the DSN of a file, or call db.SetMaxOpenConns(1): %w", errors.ErrUnsupported)
	}
	return err
}

// checkID makes sure that the ID of a message is SQLite's rowid. A column that
// is not the rowid may hold anything.
func (*sqlite) checkID(ctx context.Context, conn *sql.Conn, messages string) error {
	var declared string
	var keys int
	err := conn.QueryRowContext(ctx, `
		SELECT upper(type), (SELECT COUNT(*) FROM pragma_table_info(?1) WHERE pk > 0) FROM pragma_table_info(?1)
		WHERE name = 'id' AND pk > 0`, messages).Scan(&declared, &keys)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return fmt.Errorf("column id of table %s is not the primary key: it must be, and an integer: %w", messages, errors.ErrUnsupported)
	case err == nil && (declared != "INTEGER" || keys != 1):
		return unfitID(messages, declared)
	}
	return err
}

// checkBranches refuses the database of a Python AdvancedSQLiteSession. That
// class shows a message only if it also has a row in another table.
func (*sqlite) checkBranches(ctx context.Context, conn *sql.Conn, messages string) error {
	var tables int
	err := conn.QueryRowContext(ctx, `SELECT COUNT(*) FROM pragma_foreign_key_list('message_structure') AS keys
		WHERE keys."table" = ? COLLATE NOCASE`, messages).Scan(&tables)
	if err != nil || tables == 0 {
		return err
	}
	return fmt.Errorf("the table message_structure belongs to an AdvancedSQLiteSession of Python, which keeps branches "+
		"there that this package does not support: use separate databases for Go and Python: %w", errors.ErrUnsupported)
}

// ahead returns the condition of layout.ahead, which compares created_at to its
// default. NULL is the oldest time.
func (*sqlite) ahead(ctx context.Context, conn *sql.Conn, messages string) (string, error) {
	var value sql.NullString
	err := conn.QueryRowContext(ctx, "SELECT dflt_value FROM pragma_table_info(?) WHERE name = 'created_at'", messages).Scan(&value)
	if !value.Valid || strings.ContainsAny(value.String, "?{") {
		return "created_at IS NOT NULL", err
	}
	return fmt.Sprintf("created_at IS NOT NULL AND COALESCE(created_at > (%s), TRUE)", value.String), err
}

// times returns the expressions for the times of a session, which are text in
// UTC.
func (*sqlite) times(ctx context.Context, conn *sql.Conn, sessions string) (string, error) {
	return sessionTimes(func(column string) (string, error) {
		var columns int
		err := conn.QueryRowContext(ctx, "SELECT COUNT(*) FROM pragma_table_info(?) WHERE name = ?", sessions, column).Scan(&columns)
		if err != nil || columns == 0 {
			return "NULL", err
		}
		return fmt.Sprintf("CASE typeof(%[1]s) WHEN 'text' THEN CAST(strftime('%%s', %[1]s) AS INTEGER) * 1000000 END", column), nil
	})
}

func (*sqlite) exists(ctx context.Context, conn *sql.Conn, table string) (bool, error) {
	var columns int
	err := conn.QueryRowContext(ctx, "SELECT COUNT(*) FROM pragma_table_info(?)", table).Scan(&columns)
	return columns > 0, err
}

// keepsText makes sure that a column keeps text as it is. For some declared
// types, SQLite turns text that looks like a number into a number: see section
// 3.1 of its "Datatypes". The IDs 7 and 007 would be one.
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

// isByTime reports whether SQLAlchemySession of Python made the table, which it
// tells by the index. Otherwise SQLiteSession or this package made it.
//
//   - SQLiteSession orders by id. It has an index on (session_id, id), as our
//     own tables have. If an SDK before 0.6.4 made it, the index has the same
//     name and is on (session_id, created_at).
//   - SQLAlchemySession orders by created_at, then id. It has an index of
//     another name on (session_id, created_at), to which SQLite adds the id.
//
// The two orders differ only if the clock has been set back.
func (*sqlite) isByTime(ctx context.Context, conn *sql.Conn, messages string) (bool, error) {
	const query = `
		SELECT COUNT(CASE second.name WHEN 'id' THEN 1 END),
			COUNT(CASE WHEN second.name = 'created_at' AND list.name = ?2 COLLATE NOCASE THEN 1 END)
		FROM pragma_index_list(?1) AS list
		JOIN pragma_index_info(list.name) AS first ON first.seqno = 0 AND first.name = 'session_id'
		JOIN pragma_index_info(list.name) AS second ON second.seqno = 1
		WHERE NOT list.partial`
	var byID, byTime int
	err := conn.QueryRowContext(ctx, query, messages, "idx_"+messages+"_session_time").Scan(&byID, &byTime)
	return byID == 0 && byTime > 0, err
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

func (*sqlite) attempts(err error) int {
	if code := sqliteCode(err) & 0xff; code == sqliteBusy || code == sqliteLocked {
		return maxAttempts
	}
	return 1
}

// sqliteCode returns SQLite's result code, or 0. mattn/go-sqlite3 gives it in a
// field; modernc.org/sqlite and ncruces/go-sqlite3 give it by a method. The
// method of ncruces/go-sqlite3 returns a type of its own.
func sqliteCode(err error) int {
	for e := err; e != nil; e = errors.Unwrap(e) {
		method := reflect.ValueOf(e).MethodByName("Code")
		if !method.IsValid() || method.Type().NumIn() != 0 || method.Type().NumOut() != 1 {
			continue
		}
		switch code := method.Call(nil)[0]; {
		case code.CanInt():
			return int(code.Int())
		case code.CanUint():
			return int(code.Uint())
		}
	}
	code, _ := intField(err, "Code")
	return code
}

func (*sqlite) refuse(error) error { return nil }
