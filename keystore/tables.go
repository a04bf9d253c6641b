package keystore

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/encsession/encsession"
)

// maxAgeSetting is the row of the settings that holds the bound: how long, in
// microseconds, any process may use a key without asking for it again.
const maxAgeSetting = "max_age"

// errBound is for a Store that could use keys for longer than others count on.
var errBound = errors.New("the bound on the age of keys does not fit")

// row is a row of the table. Times are microseconds since 1970 by the database's
// clock, and 0 if they are NULL.
type row struct {
	number                              int64
	wrapped                             []byte
	wrapper, fingerprint                string
	created, active, retired, destroyed int64
}

// view is what one statement has seen of a tenant.
type view struct {
	now   int64         // by the database's clock
	bound time.Duration // that of the settings
	rows  []row         // by number, rising
}

// newest returns the row with the highest number. There is one.
func (v view) newest() row { return v.rows[len(v.rows)-1] }

// current returns the index of the current key: the newest that is active. The
// first key needs no time, since nobody had another before. A current key that
// has a retired_at is current all the same: Retire never sets it, so it was set
// by hand, or the database's clock was set back.
func (v view) current() int {
	for i := len(v.rows) - 1; i > 0; i-- {
		if active := v.rows[i].active; active != 0 && active <= v.now {
			return i
		}
	}
	return 0
}

// judge refuses rows that give no keys. One destroyed row makes the tenant
// destroyed, for good: there is no state that could be flipped back.
func (v view) judge() error {
	if len(v.rows) == 0 {
		return ErrUnknownTenant
	}
	for _, r := range v.rows {
		if r.destroyed != 0 {
			return fmt.Errorf("destroyed at %s: %w", toTime(r.destroyed).Format(time.RFC3339), encsession.ErrKeyDestroyed)
		}
	}
	for i, r := range v.rows {
		if want := int64(i + 1); r.number != want {
			return altered(want, "it was deleted or renumbered")
		}
		if len(r.wrapped) == 0 {
			return altered(r.number, "it holds nothing, and is not destroyed")
		}
	}
	return nil
}

// conn is a connection that is ready for use. Every statement goes through exec
// or query.
type conn struct {
	*sql.Conn
	store *Store
}

func (c conn) exec(ctx context.Context, query string, args ...any) (sql.Result, error) {
	return c.ExecContext(ctx, c.store.fill(query), args...)
}

func (c conn) query(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	return c.QueryContext(ctx, c.store.fill(query), args...)
}

// fill makes a statement of a text in which what depends on database or Store
// stands in braces, and every parameter is a question mark. It does so right
// before the statement is executed, since it may hold the time.
func (s *Store) fill(query string) string {
	if s.statement != nil {
		s.statement(query)
	}
	query = s.names.Replace(query)
	return s.dialect.placeholders(strings.ReplaceAll(query, "{now}", s.dialect.now(s.skew)))
}

// onConn calls f with a connection.
func (s *Store) onConn(ctx context.Context, f func(conn) error) error {
	c, err := s.db.Conn(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	if s.dialect == SQLite {
		if err := prepareSQLite(ctx, c); err != nil {
			return err
		}
	}
	return f(conn{c, s})
}

// busyTimeout is how many milliseconds SQLite waits for another client's lock,
// at least.
const busyTimeout = 5000

// prepareSQLite sets what belongs to a connection, each time, since nobody sees
// whether the pool has just opened it. With secure_delete, SQLite overwrites
// what a Destroy or Rewrap leaves behind in the file.
func prepareSQLite(ctx context.Context, c *sql.Conn) error {
	var timeout int
	if err := c.QueryRowContext(ctx, "PRAGMA busy_timeout").Scan(&timeout); err != nil {
		return err
	}
	if timeout < busyTimeout {
		if _, err := c.ExecContext(ctx, fmt.Sprintf("PRAGMA busy_timeout = %d", busyTimeout)); err != nil {
			return err
		}
	}
	_, err := c.ExecContext(ctx, "PRAGMA secure_delete = ON")
	return err
}

// How long the end of a transaction may take, which is not the caller's to
// cancel.
const endTimeout = 10 * time.Second

// inTransaction calls f in a transaction. It commits if f returns nil, and rolls
// back otherwise. It does not use sql.Tx, which on SQLite begins transactions
// that fail instead of waiting, and whose commit ends with the caller's context.
//
// No transaction waits for a KMS: one that is slow would hold up everybody.
func (s *Store) inTransaction(ctx context.Context, f func(conn) error) error {
	return s.onConn(ctx, func(c conn) error {
		done := false
		defer func() {
			if !done {
				c.rollBack(ctx)
			}
		}()
		for _, statement := range s.dialect.begin() {
			if _, err := c.exec(ctx, statement); err != nil {
				return err
			}
		}
		if err := f(c); err != nil {
			return err
		}
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), endTimeout)
		defer cancel()
		_, err := c.exec(end, "COMMIT")
		done = err == nil
		return err
	})
}

// rollBack leaves the connection without a transaction, or else makes sure that
// nobody uses it again.
func (c conn) rollBack(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), endTimeout)
	defer cancel()
	if _, err := c.exec(ctx, "ROLLBACK"); err != nil {
		_ = c.Raw(func(any) error { return driver.ErrBadConn })
	}
}

// lock makes others that create, rotate, retire or destroy wait until the
// transaction ends. They all lock the tenant's first row before they look.
func (c conn) lock(ctx context.Context, tenant string) error {
	rows, err := c.query(ctx, "SELECT number FROM {keys} WHERE tenant = ? ORDER BY number LIMIT 1{for update}", tenant)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
	}
	return rows.Err()
}

// rowColumns are the columns of a row, as scanRow takes them.
const rowColumns = "k.number, k.wrapped, k.wrapper, k.fingerprint, k.created_at, k.active_at, k.retired_at, k.destroyed_at"

// nullRow is where a row is scanned, which may be missing.
type nullRow struct {
	number, created, active, retired, destroyed sql.NullInt64
	wrapper, fingerprint                        sql.NullString
	wrapped                                     []byte
}

func (n *nullRow) into() []any {
	return []any{&n.number, &n.wrapped, &n.wrapper, &n.fingerprint, &n.created, &n.active, &n.retired, &n.destroyed}
}

func (n *nullRow) row() row {
	return row{n.number.Int64, n.wrapped, n.wrapper.String, n.fingerprint.String,
		n.created.Int64, n.active.Int64, n.retired.Int64, n.destroyed.Int64}
}

// read returns what there is of a tenant, in one statement. It refuses to go on
// if this Store could use keys for longer than the bound allows.
func (c conn) read(ctx context.Context, tenant string) (view, error) {
	rows, err := c.query(ctx, "SELECT {now}, {sees changes}, s.value, "+rowColumns+
		" FROM {settings} s LEFT JOIN {keys} k ON k.tenant = ? WHERE s.name = '"+maxAgeSetting+"' ORDER BY k.number", tenant)
	if err != nil {
		return view{}, err
	}
	defer rows.Close()
	var v view
	var bound, seesChanges int64
	for first := true; rows.Next(); first = false {
		var now int64 // the first row's is the earliest
		var n nullRow
		if err := rows.Scan(append([]any{&now, &seesChanges, &bound}, n.into()...)...); err != nil {
			return view{}, err
		}
		if first {
			v.now = now
		}
		if n.number.Valid {
			v.rows = append(v.rows, n.row())
		}
	}
	if err := rows.Err(); err != nil {
		return view{}, err
	}
	v.bound = time.Duration(bound) * time.Microsecond
	switch {
	case v.now == 0:
		return view{}, fmt.Errorf("%w: table %s holds none; CreateTables stores one", errBound, c.store.settingsTable)
	case seesChanges == 0:
		return view{}, fmt.Errorf("autocommit is off, so this connection would not see that a key was destroyed: set it on in the DSN: %w", errors.ErrUnsupported)
	case v.bound < minMaxAge || v.bound > maxMaxAge:
		return view{}, fmt.Errorf("%w: table %s holds %v, which is not from %v to %v", errBound, c.store.settingsTable, v.bound, minMaxAge, maxMaxAge)
	case c.store.maxAge > v.bound:
		return view{}, fmt.Errorf("%w: WithMaxAge(%v) exceeds the %v that table %s holds, on which Rotate and Destroy of all processes count",
			errBound, c.store.maxAge, v.bound, c.store.settingsTable)
	}
	return v, nil
}

func (s *Store) read(ctx context.Context, tenant string) (v view, err error) {
	err = s.onConn(ctx, func(c conn) error {
		v, err = c.read(ctx, tenant)
		return err
	})
	return v, err
}

// CreateTables creates the two tables if they are missing, and stores the bound
// on the age of keys: WithMaxAge, or DefaultMaxAge. It leaves tables and bound
// as they are if they are there, and then needs no right to create any. It
// returns an error if this Store's WithMaxAge exceeds the bound.
//
// To raise the bound, update the row max_age of the settings, in microseconds.
// To lower it, first give every process the lower WithMaxAge, wait for as long
// as the old bound, then update the row.
func (s *Store) CreateTables(ctx context.Context) error {
	const anyTenant = "-"
	err := s.check(ctx, anyTenant)
	if err == nil {
		if _, err = s.read(ctx, anyTenant); err != nil && ctx.Err() == nil {
			err = s.createTables(ctx)
			if err == nil {
				_, err = s.read(ctx, anyTenant)
			}
		}
	}
	return wrapError("CreateTables", "", err)
}

func (s *Store) createTables(ctx context.Context) error {
	maxAge := s.maxAge
	if maxAge == 0 {
		maxAge = DefaultMaxAge
	}
	return s.inTransaction(ctx, func(c conn) error {
		if s.dialect == PostgreSQL { // two CREATE TABLE IF NOT EXISTS at once fail there
			if _, err := c.exec(ctx, "SELECT pg_advisory_xact_lock(hashtext('encsession/keystore'))"); err != nil {
				return err
			}
		}
		for _, statement := range s.dialect.ddl() {
			if _, err := c.exec(ctx, statement); err != nil {
				return err
			}
		}
		insert := "INSERT INTO {settings} (name, value) VALUES ('" + maxAgeSetting + "', ?) ON CONFLICT DO NOTHING"
		if s.dialect == MySQL {
			insert = "INSERT IGNORE INTO {settings} (name, value) VALUES ('" + maxAgeSetting + "', ?)"
		}
		_, err := c.exec(ctx, insert, maxAge.Microseconds())
		return err
	})
}

// toTime returns a time of the database, and the zero Time for NULL.
func toTime(microseconds int64) time.Time {
	if microseconds == 0 {
		return time.Time{}
	}
	return time.UnixMicro(microseconds).UTC()
}
