package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

type postgres struct{}

func (postgres) quote(identifier string) string { return `"` + identifier + `"` }

func (postgres) placeholders(query string) string {
	var b strings.Builder
	for n := 1; ; n++ {
		before, after, found := strings.Cut(query, "?")
		b.WriteString(before)
		if !found {
			return b.String()
		}
		b.WriteString("$" + strconv.Itoa(n))
		query = after
	}
}

// bytes asks for the one collation that every database has in which equal means the same bytes.
func (postgres) bytes(column string) string { return column + ` COLLATE "C"` }

func (postgres) isText(column string) string { return column + " IS NOT NULL" }

func (postgres) upsert() string {
	return "INSERT INTO {sessions} (session_id) VALUES (?) " +
		"ON CONFLICT (session_id) DO UPDATE SET updated_at = CURRENT_TIMESTAMP"
}

func (postgres) lock() string { return "SELECT 1 FROM {sessions} WHERE session_id = ? FOR UPDATE" }

// begin asks for the isolation in which each statement sees what was committed before it, whatever the default
// of the database is: what matters is read after the session's row has been locked.
func (postgres) begin() []string { return []string{"BEGIN ISOLATION LEVEL READ COMMITTED"} }

func (postgres) prepare(context.Context, *sql.Conn) error { return nil }

// isClean is false: ROLLBACK fails only where the connection is broken.
func (postgres) isClean(context.Context, *sql.Conn) bool { return false }

func (d postgres) inspect(ctx context.Context, conn *sql.Conn, t tables) (layout, error) {
	sessions, err := d.columns(ctx, conn, t.sessions, "session_id")
	if err != nil {
		return layout{}, err
	}
	messages, err := d.columns(ctx, conn, t.messages, "session_id", "message_data")
	if err != nil {
		return layout{}, err
	}
	hasTimes, err := d.hasTimes(ctx, conn, t.messages)
	if err != nil {
		return layout{}, err
	}
	parts := []part{byTime("", postgresTime)}
	if !hasTimes { // NULL comes first here
		parts = []part{byID(" AND created_at IS NULL"), byTime(" AND created_at IS NOT NULL", postgresTime)}
	}
	return layout{
		ids:         []column{sessions[0], messages[0]},
		data:        messages[1],
		newestFirst: "created_at DESC, id DESC",
		parts:       parts,
	}, nil
}

// hasTimes reports whether each message surely has a time.
func (d postgres) hasTimes(ctx context.Context, conn *sql.Conn, messages string) (notNull bool, err error) {
	err = conn.QueryRowContext(ctx, "SELECT COALESCE(bool_or(attnotnull), false) FROM pg_catalog.pg_attribute "+
		"WHERE attrelid = to_regclass($1) AND attname = 'created_at'", d.quote(messages)).Scan(&notNull)
	return notNull, err
}

// postgresTime gives a time as text in full, which means the same on every
// connection: JSON has no DateStyle.
const postgresTime = "to_json(created_at) #>> '{}'"

// columns describes columns of a table. It accepts only the types in which, under a bytewise collation, equal
// means the same bytes: that is not so for citext or CHAR(n).
func (d postgres) columns(ctx context.Context, conn *sql.Conn, table string, names ...string) ([]column, error) {
	const query = `
		SELECT type.typname, attribute.atttypmod
		FROM pg_catalog.pg_attribute AS attribute JOIN pg_catalog.pg_type AS type ON type.oid = attribute.atttypid
		WHERE attribute.attrelid = to_regclass($1) AND attribute.attname = $2 AND NOT attribute.attisdropped`
	var columns []column
	for _, name := range names {
		var typ string
		var modifier int64
		err := conn.QueryRowContext(ctx, query, d.quote(table), name).Scan(&typ, &modifier)
		switch {
		case errors.Is(err, sql.ErrNoRows):
			return nil, missingTable(table)
		case err != nil:
			return nil, err
		case typ != "varchar" && typ != "text":
			return nil, fmt.Errorf("column %s of table %s has type %s, not varchar or text: %w",
				name, table, typ, errors.ErrUnsupported)
		}
		// The modifier of VARCHAR(n) is n + 4, and -1 where there is no limit.
		columns = append(columns, column{
			maxChars: max(modifier-4, 0),
			holds:    func(r rune) bool { return r != 0 },
			charset:  "PostgreSQL",
		})
	}
	return columns, nil
}

// create takes a lock first: CREATE TABLE IF NOT EXISTS fails where another client creates the same table
// meanwhile.
func (postgres) create(ctx context.Context, conn *sql.Conn, t tables) error {
	err := t.exec(ctx, conn,
		"SELECT pg_advisory_xact_lock(hashtext('encsession/sqlstore'))",
		`CREATE TABLE IF NOT EXISTS {sessions} (
	session_id VARCHAR NOT NULL PRIMARY KEY,
	created_at TIMESTAMP WITHOUT TIME ZONE DEFAULT CURRENT_TIMESTAMP NOT NULL,
	updated_at TIMESTAMP WITHOUT TIME ZONE DEFAULT CURRENT_TIMESTAMP NOT NULL
)`)
	if err != nil {
		return err
	}
	var exists bool
	err = conn.QueryRowContext(ctx, "SELECT to_regclass($1) IS NOT NULL", t.database.quote(t.messages)).Scan(&exists)
	if exists || err != nil {
		return err
	}
	// Python's index ends at created_at, so that rows of one transaction, which have one created_at, are sorted
	// after they are read. With the id in it, however many they are, a read takes only what it returns.
	return t.exec(ctx, conn, `CREATE TABLE {messages} (
	id SERIAL NOT NULL PRIMARY KEY,
	session_id VARCHAR NOT NULL REFERENCES {sessions} (session_id) ON DELETE CASCADE,
	message_data TEXT NOT NULL,
	created_at TIMESTAMP WITHOUT TIME ZONE DEFAULT CURRENT_TIMESTAMP NOT NULL
)`,
		"CREATE INDEX {time index} ON {messages} (session_id, created_at, id)")
}

func (postgres) transient(err error) bool {
	var state interface{ SQLState() string } // both pgx and lib/pq have it
	if !errors.As(err, &state) {
		return false
	}
	switch state.SQLState() {
	case "40001", "40P01": // serialization_failure, deadlock_detected
		return true
	}
	return false
}
