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

// maxAgeSetting is the name of the setting that holds the bound: how long any
// process may use a key without asking for it again, in microseconds.
const maxAgeSetting = "max_age"

// errBound is for a bound that is missing or out of range, and for a Store that
// could use keys for longer than the bound.
var errBound = errors.New("the bound on the age of keys is missing, invalid or exceeded")

// row is a row of the table. Times are microseconds since 1970 by the
// database's clock. They are 0 for NULL.
type row struct {
	number                              int64
	wrapped                             []byte
	wrapper, fingerprint                string
	created, active, retired, destroyed int64
}

// view is the state of a tenant, as one statement has read it.
type view struct {
	now   int64         // by the database's clock
	bound time.Duration // as the settings hold it
	rows  []row         // in rising order of number
}

// newest returns the row with the highest number. The view must have a row.
func (v view) newest() row { return v.rows[len(v.rows)-1] }

// current returns the index of the current key: the newest one that is active.
// The first key counts as active at any time, since no key came before it.
//
// A retired key can be current. Retire never causes this: somebody has set
// retired_at by hand, or the database's clock was set back.
func (v view) current() int {
	for i := len(v.rows) - 1; i > 0; i-- {
		if active := v.rows[i].active; active != 0 && active <= v.now {
			return i
		}
	}
	return 0
}

// judge returns an error if the rows give no keys. As long as one row is
// destroyed, the tenant is destroyed, whatever the other rows hold.
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
// or query, which call fill.
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

// fill replaces the parts of a statement that depend on the database or the
// Store. They stand in braces, such as {keys}. Every parameter is a question
// mark. The result may hold the time, so the statement must be executed at
// once.
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

// busyTimeout is the least number of milliseconds for which SQLite waits for
// another client's lock.
const busyTimeout = 5000

// prepareSQLite applies the settings of a connection. It does so each time,
// since nobody can see whether the pool has just opened the connection. With
// secure_delete, SQLite overwrites the bytes that Destroy and Rewrap leave
// behind in the file.
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

// endTimeout is how long the COMMIT or ROLLBACK of a transaction may take. The
// caller cannot cancel it.
const endTimeout = 10 * time.Second

// inTransaction calls f in a transaction. It commits if f returns nil, and
// rolls back otherwise. It does not use sql.Tx, which on SQLite begins
// transactions that fail instead of waiting, and whose commit ends with the
// caller's context.
//
// No transaction may wait for a KMS: a slow one would hold up everybody.
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

// rollBack ends the transaction. If it cannot, it makes sure that nobody uses
// the connection again.
func (c conn) rollBack(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), endTimeout)
	defer cancel()
	if _, err := c.exec(ctx, "ROLLBACK"); err != nil {
		_ = c.Raw(func(any) error { return driver.ErrBadConn })
	}
}

// lock makes other calls that rotate, retire or destroy the tenant wait until
// this transaction ends. They all lock the tenant's first row before they read.
// Create does not call lock, since it inserts that row in one statement.
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

// lockAndRead locks a tenant, and then reads its rows. No other call can
// rotate, retire or destroy the tenant until this transaction ends.
func (c conn) lockAndRead(ctx context.Context, tenant string) (view, error) {
	if err := c.lock(ctx, tenant); err != nil {
		return view{}, err
	}
	return c.read(ctx, tenant)
}

// rowColumns are the columns of a row, in the order of nullRow.into.
const rowColumns = "k.number, k.wrapped, k.wrapper, k.fingerprint, k.created_at, k.active_at, k.retired_at, k.destroyed_at"

// nullRow receives a row of a query. All of it is NULL if the tenant has no
// row.
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

// read reads the bound and all rows of a tenant, in one statement. It returns
// an error if the bound is missing or out of range, and if this Store could use
// keys for longer. It refuses a connection that would not see changes.
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
		var now int64 // that of the first row is the earliest
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
		return view{}, fmt.Errorf("autocommit is off, so this connection would not see that a key was destroyed: turn it on in the DSN: %w", errors.ErrUnsupported)
	case v.bound < minMaxAge || v.bound > maxMaxAge:
		return view{}, fmt.Errorf("%w: table %s holds %v, which is not from %v to %v", errBound, c.store.settingsTable, v.bound, minMaxAge, maxMaxAge)
	case c.store.maxAge > v.bound:
		return view{}, fmt.Errorf("%w: WithMaxAge(%v) exceeds the bound of %v in table %s, on which Rotate and Destroy rely",
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
// on the age of keys: WithMaxAge, or DefaultMaxAge. If tables and bound exist,
// it leaves them as they are, and needs no right to create tables. It returns
// an error if this Store's WithMaxAge exceeds the bound.
//
// To raise the bound, update the row max_age of the settings table, in
// microseconds. To lower it, first give every process the lower WithMaxAge.
// Then wait for as long as the old bound, and update the row.
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

// toTime converts a time of the database. NULL gives the zero Time.
func toTime(microseconds int64) time.Time {
	if microseconds == 0 {
		return time.Time{}
	}
	return time.UnixMicro(microseconds).UTC()
}
