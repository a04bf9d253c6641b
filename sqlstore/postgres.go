package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
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

// bytes asks for the collation "C". Every database has it, and in it equal
// means the same bytes.
func (postgres) bytes(column string) string { return column + ` COLLATE "C"` }

func (d postgres) compared() (column string, of func(Item) string) {
	return d.bytes("message_data"), func(item Item) string { return string(item) }
}

func (postgres) isText(column string) string { return column + " IS NOT NULL" }

// checked makes the statement fail if the client_encoding is not UTF8: it casts
// the name of the encoding to a boolean. The server evaluates this once in a
// statement, and before it looks for rows.
func (postgres) checked() string {
	return " AND CASE current_setting('client_encoding') WHEN 'UTF8' THEN TRUE ELSE CAST('" + postgresEncoding +
		"' || current_setting('client_encoding') AS BOOLEAN) END"
}

const postgresEncoding = "encsession: the client_encoding is "

func (postgres) upsert() string {
	return "INSERT INTO {sessions} (session_id) VALUES (?) " +
		"ON CONFLICT (session_id) DO UPDATE SET updated_at = CURRENT_TIMESTAMP"
}

func (postgres) lock() string { return "SELECT 1 FROM {sessions} WHERE session_id = ? FOR UPDATE" }

// begin asks for the isolation level in which each statement sees everything
// that was committed before it, whatever the default of the database is. The
// store locks the session's row first, and must see the latest state when it
// reads afterwards.
func (postgres) begin() []string { return []string{"BEGIN ISOLATION LEVEL READ COMMITTED"} }

func (postgres) prepare(context.Context, *sql.Conn, int) error { return nil }

// isClean returns false: ROLLBACK fails only if the connection is broken.
func (postgres) isClean(context.Context, *sql.Conn) bool { return false }

func (d postgres) inspect(ctx context.Context, conn *sql.Conn, t tables) (layout, error) {
	sessions, err := d.columns(ctx, conn, t, t.sessions, "session_id")
	if err != nil {
		return layout{}, err
	}
	messages, err := d.columns(ctx, conn, t, t.messages, "session_id", "message_data")
	if err != nil {
		return layout{}, err
	}
	id, err := d.attribute(ctx, conn, t, t.messages, "id")
	if err == nil && !slices.Contains([]string{"smallint", "integer", "bigint"}, id.typ) {
		err = unfitID(t.messages, id.typ)
	}
	if err != nil {
		return layout{}, err
	}
	created, err := d.attribute(ctx, conn, t, t.messages, "created_at")
	if err != nil {
		return layout{}, err
	}
	times, err := d.times(ctx, conn, t)
	if err != nil {
		return layout{}, err
	}
	parameter := "CAST(? AS " + created.typ + ")"
	parts := []part{byTime("", postgresTime, parameter)}
	if !created.notNull { // PostgreSQL puts NULL first here
		parts = []part{byID(" AND created_at IS NULL"), byTime(" AND created_at IS NOT NULL", postgresTime, parameter)}
	}
	return layout{
		ids:         []column{sessions[0], messages[0]},
		data:        messages[1],
		newestFirst: "created_at DESC, id DESC",
		ahead:       created.ahead(),
		times:       times,
		parts:       parts,
	}, nil
}

// attribute describes a column that holds no text.
type attribute struct {
	typ     string // as a statement names it
	value   string // the expression of its default; empty if it has none
	notNull bool
}

func (postgres) attribute(ctx context.Context, conn *sql.Conn, t tables, table, name string) (a attribute, err error) {
	err = conn.QueryRowContext(ctx, `
		SELECT format_type(attribute.atttypid, attribute.atttypmod), COALESCE(pg_get_expr(value.adbin, value.adrelid), ''),
			attribute.attnotnull
		FROM pg_catalog.pg_attribute AS attribute LEFT JOIN pg_catalog.pg_attrdef AS value
			ON value.adrelid = attribute.attrelid AND value.adnum = attribute.attnum
		WHERE attribute.attrelid = to_regclass($1) AND attribute.attname = $2 AND NOT attribute.attisdropped`,
		t.name(table), name).Scan(&a.typ, &a.value, &a.notNull)
	if errors.Is(err, sql.ErrNoRows) {
		err = missingColumn{table, name}
	}
	return a, err
}

// ahead returns the condition of layout.ahead. It compares created_at to its
// default, whether that is the local time or the time in UTC. NULL is the
// newest time of all.
func (a attribute) ahead() string {
	if a.value == "" {
		return "FALSE"
	}
	value := a.value
	if strings.ContainsAny(value, "?{") { // tables.fill would change it
		value = "CURRENT_TIMESTAMP"
	}
	value = "CAST(" + value + " AS " + a.typ + ")"
	if a.notNull {
		return "created_at > " + value
	}
	return "created_at > " + value + " OR created_at IS NULL AND " + value + " IS NOT NULL"
}

// times returns the expressions for the times of a session. Local times are in
// the zone of the client.
func (d postgres) times(ctx context.Context, conn *sql.Conn, t tables) (string, error) {
	return sessionTimes(func(column string) (string, error) {
		a, err := d.attribute(ctx, conn, t, t.sessions, column)
		if err != nil || !strings.HasPrefix(a.typ, "timestamp") {
			return "CAST(NULL AS BIGINT)", err
		}
		return fmt.Sprintf("CASE WHEN isfinite(%[1]s) THEN CAST(extract(epoch FROM CAST(%[1]s AS timestamptz)) * 1000000 AS BIGINT) END", column), nil
	})
}

// postgresTime gives a time as text in full. The text means the same on every
// connection, because JSON has no DateStyle.
const postgresTime = "to_json(created_at) #>> '{}'"

// columns describes columns of a table. It accepts only types for which, under
// a bytewise collation, equal means the same bytes. That is not so for citext
// or CHAR(n).
func (d postgres) columns(ctx context.Context, conn *sql.Conn, t tables, table string, names ...string) ([]column, error) {
	const query = `
		SELECT type.typname, attribute.atttypmod
		FROM pg_catalog.pg_attribute AS attribute JOIN pg_catalog.pg_type AS type ON type.oid = attribute.atttypid
		WHERE attribute.attrelid = to_regclass($1) AND attribute.attname = $2 AND NOT attribute.attisdropped`
	var exists bool // asked first: another client may be creating the table
	err := conn.QueryRowContext(ctx, "SELECT to_regclass($1) IS NOT NULL", t.name(table)).Scan(&exists)
	if err == nil && !exists {
		err = missingTable(table)
	}
	if err != nil {
		return nil, err
	}
	var columns []column
	for _, name := range names {
		var typ string
		var modifier int64
		err := conn.QueryRowContext(ctx, query, t.name(table), name).Scan(&typ, &modifier)
		switch {
		case errors.Is(err, sql.ErrNoRows):
			return nil, missingColumn{table, name}
		case err != nil:
			return nil, err
		case typ != "varchar" && typ != "text":
			return nil, fmt.Errorf("column %s of table %s has type %s, not varchar or text: %w",
				name, table, typ, errors.ErrUnsupported)
		}
		// The modifier of VARCHAR(n) is n + 4, and -1 if there is no limit.
		columns = append(columns, column{
			maxChars: max(modifier-4, 0),
			holds:    func(r rune) bool { return r != 0 },
			charset:  "PostgreSQL",
		})
	}
	return columns, nil
}

// create takes a lock first: CREATE TABLE IF NOT EXISTS fails if another client
// creates the same table meanwhile.
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
	err = conn.QueryRowContext(ctx, "SELECT to_regclass($1) IS NOT NULL", t.name(t.messages)).Scan(&exists)
	if exists || err != nil {
		return err
	}
	// Python's index ends at created_at. Rows of one transaction have the same
	// created_at, so they are sorted after they are read. With the id in the
	// index, a read takes only the rows that it returns, however many have the
	// same time.
	return t.exec(ctx, conn, `CREATE TABLE {messages} (
	id BIGSERIAL NOT NULL PRIMARY KEY,
	session_id VARCHAR NOT NULL REFERENCES {sessions} (session_id) ON DELETE CASCADE,
	message_data TEXT NOT NULL,
	created_at TIMESTAMP WITHOUT TIME ZONE DEFAULT CURRENT_TIMESTAMP NOT NULL
)`,
		"CREATE INDEX {time index} ON {messages} (session_id, created_at, id)")
}

func (postgres) attempts(err error) int {
	switch sqlState(err) {
	case "40001", "40P01": // serialization_failure, deadlock_detected
		return maxAttempts
	case "55P03": // lock_not_available: a lock_timeout
		return lockAttempts
	case "0A000":
		// A statement was prepared before the type of a column changed; the
		// driver prepares it again.
		return 2
	}
	return 1
}

func (postgres) refuse(err error) error {
	switch state := sqlState(err); {
	case state == "22P02" && strings.Contains(err.Error(), postgresEncoding):
		return fmt.Errorf("the connection's client_encoding is not UTF8: add client_encoding=UTF8 to the DSN: %w", errors.ErrUnsupported)
	case state == "42P05" || state == "26000":
		return fmt.Errorf("a pooler keeps no prepared statements for this connection: add default_query_exec_mode=exec to the DSN: %w: %w",
			errors.ErrUnsupported, err)
	}
	return nil
}

// sqlState returns the code of the server's error. Both pgx and lib/pq have a
// method for it.
func sqlState(err error) string {
	if state := interface{ SQLState() string }(nil); errors.As(err, &state) {
		return state.SQLState()
	}
	return ""
}
