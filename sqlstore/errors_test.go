package sqlstore

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"path/filepath"
	"testing"

	mysqldriver "github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"
)

// calls makes every call that uses the database. It returns the errors by the
// name of the method.
func calls(ctx context.Context, store *Store, s *Session) map[string]error {
	errs := map[string]error{"CreateTables": store.CreateTables(ctx)}
	_, errs["GetItems"] = s.GetItems(ctx, 0)
	errs["AddItems"] = s.AddItems(ctx, numbered(1, 1)...)
	_, errs["PopItem"] = s.PopItem(ctx)
	errs["ClearSession"] = s.ClearSession(ctx)
	_, errs["RewriteItems"] = s.RewriteItems(ctx, 1, func(stored []Item) ([]Item, bool) { return make([]Item, len(stored)), true })
	for _, err := range store.Sessions(ctx) {
		errs["Sessions"] = err
	}
	return errs
}

func TestNewRefuses(t *testing.T) {
	db := backends[0].open(t, ":memory:")
	for want, f := range map[string]func() (*Store, error){
		"db is nil": func() (*Store, error) { return New(nil, SQLite) },
		"Dialect(0) is not one of SQLite, PostgreSQL and MySQL":  func() (*Store, error) { return New(db, 0) },
		"Dialect(4) is not one of SQLite, PostgreSQL and MySQL":  func() (*Store, error) { return New(db, MySQL+1) },
		"Dialect(-1) is not one of SQLite, PostgreSQL and MySQL": func() (*Store, error) { return New(db, -1) },
		"option 1 is nil": func() (*Store, error) { return New(db, SQLite, WithTables("a", "b"), nil) },
	} {
		store, err := f()
		require.EqualError(t, err, "sqlstore: New: "+want)
		require.Nil(t, store)
	}
	require.Equal(t, "SQLite PostgreSQL MySQL", fmt.Sprint(SQLite, " ", PostgreSQL, " ", MySQL))
}

func TestZeroValues(t *testing.T) {
	for _, store := range []*Store{nil, {}} {
		for name, err := range calls(t.Context(), store, store.Session("s")) {
			require.EqualError(t, err, "sqlstore: "+name+": this Store was not made by New")
		}
		for _, s := range []*Session{nil, {}} {
			require.Empty(t, s.SessionID())
			for name, err := range calls(t.Context(), store, s) {
				require.ErrorContains(t, err, "sqlstore: "+name+": this S")
			}
		}
	}
}

func TestMissingTables(t *testing.T) {
	onEach(t, func(t *testing.T, b backend) {
		f := newFixture(t, b, tablesOf{ddl: []string{}})
		check := func(table string) {
			// The function calls would also call CreateTables, which makes the
			// tables.
			errs := map[string]error{}
			s := f.Session("s")
			_, errs["GetItems"] = s.GetItems(t.Context(), 0)
			errs["AddItems"] = s.AddItems(t.Context(), numbered(1, 1)...)
			_, errs["PopItem"] = s.PopItem(t.Context())
			errs["ClearSession"] = s.ClearSession(t.Context())
			for _, err := range f.Sessions(t.Context()) {
				errs["Sessions"] = err
			}
			require.Len(t, errs, 5)
			for name, err := range errs {
				require.ErrorContains(t, err, "sqlstore: "+name+": no table "+table+": call CreateTables")
			}
		}
		check(f.sessions)
		require.NoError(t, f.CreateTables(t.Context()))
		f.exec(t, "DROP TABLE {messages}")
		check(f.messages)
		require.NoError(t, f.CreateTables(t.Context()))
		add(t, f.Session("s"), numbered(1, 1)...)

		f.exec(t, "DROP TABLE {messages}") // after the Store has found it
		_, err := f.Session("s").GetItems(t.Context(), 0)
		require.ErrorContains(t, err, "sqlstore: GetItems: ")
		require.ErrorContains(t, err, f.messages)
	})
}

func TestClosedDB(t *testing.T) {
	onEach(t, func(t *testing.T, b backend) {
		f := newFixture(t, b, ours)
		db, err := sql.Open(b.driver, f.dsnText)
		require.NoError(t, err)
		store, err := New(db, b.dialect, WithTables(f.sessions, f.messages))
		require.NoError(t, err)
		add(t, store.Session("s"), numbered(1, 1)...)
		require.NoError(t, db.Close())
		for name, err := range calls(t.Context(), store, store.Session("s")) {
			require.ErrorContains(t, err, "sqlstore: "+name+": sql: database is closed")
		}
		requireItems(t, f.Session("s"), numbered(1, 1)...)
	})
}

func TestContextIsDone(t *testing.T) {
	onEach(t, func(t *testing.T, b backend) {
		f := newFixture(t, b, ours)
		add(t, f.Session("s"), numbered(1, 2)...)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		for name, err := range calls(ctx, f.Store, f.Session("s")) {
			require.ErrorIs(t, err, context.Canceled, name)
			require.ErrorContains(t, err, "sqlstore: "+name+": ")
		}
		requireItems(t, f.Session("s"), numbered(1, 2)...)
	})
}

func TestReadOnlyFile(t *testing.T) {
	onEach(t, func(t *testing.T, b backend) {
		f := newFixture(t, b, ours)
		add(t, f.Session("s"), numbered(1, 2)...)
		db := b.open(t, "file:"+f.dsnText+"?mode=ro")
		store, err := New(db, SQLite, WithTables(f.sessions, f.messages))
		require.NoError(t, err)
		errs := calls(t.Context(), store, store.Session("s"))
		for _, name := range []string{"GetItems", "Sessions", "CreateTables"} {
			require.NoError(t, errs[name], name)
		}
		for _, name := range []string{"AddItems", "PopItem", "ClearSession", "RewriteItems"} {
			require.ErrorContains(t, errs[name], "sqlstore: "+name+": ")
			require.ErrorContains(t, errs[name], "readonly")
		}
		requireItems(t, store.Session("s"), numbered(1, 2)...)

		// This file was never switched to WAL mode, and has no tables.
		path := filepath.Join(t.TempDir(), "rollback.db")
		_, err = b.open(t, path).Exec("CREATE TABLE x (y)")
		require.NoError(t, err)
		store, err = New(b.open(t, "file:"+path+"?mode=ro"), SQLite)
		require.NoError(t, err)
		require.ErrorContains(t, store.CreateTables(t.Context()), "readonly")
		_, err = store.Session("s").GetItems(t.Context(), 0)
		require.ErrorContains(t, err, "call CreateTables")
	}, SQLite)
}

func TestNotADatabase(t *testing.T) {
	onEach(t, func(t *testing.T, b backend) {
		store, err := New(b.open(t, "errors_test.go"), SQLite)
		require.NoError(t, err)
		for name, err := range calls(t.Context(), store, store.Session("s")) {
			require.ErrorContains(t, err, "sqlstore: "+name+": ")
			require.ErrorContains(t, err, "file is not a database")
		}
	}, SQLite)
}

func TestFullDisk(t *testing.T) {
	onEach(t, func(t *testing.T, b backend) {
		f := newFixture(t, b, ours)
		f.db.SetMaxOpenConns(1)
		s := f.Session("s")
		add(t, s, numbered(1, 100)...)
		pages := f.count(t, "PRAGMA page_count")
		f.exec(t, fmt.Sprintf("PRAGMA max_page_count = %d", pages+2))
		err := s.AddItems(t.Context(), numbered(1, 5000)...)
		require.ErrorContains(t, err, "sqlstore: AddItems: ")
		require.ErrorContains(t, err, "database or disk is full")
		requireItems(t, s, numbered(1, 100)...)
		_, err = s.RewriteItems(t.Context(), 1, func([]Item) ([]Item, bool) {
			return []Item{Item(`"` + fmt.Sprintf("%0100000d", 1) + `"`)}, true
		})
		require.ErrorContains(t, err, "database or disk is full")
		requireItems(t, s, numbered(1, 100)...)
		require.Equal(t, `{"n": 100}`, string(pop(t, s)))
		f.exec(t, "PRAGMA max_page_count = 1000000")
		add(t, s, numbered(1, 5000)...)
	}, SQLite)
}

// TestPasswordIsNotInErrors uses servers that cannot be reached.
func TestPasswordIsNotInErrors(t *testing.T) {
	for _, b := range backends {
		dsn := map[Dialect]string{
			PostgreSQL: "postgres://user:top-secret@127.0.0.1:1/db?sslmode=disable",
			MySQL:      "user:top-secret@tcp(127.0.0.1:1)/db",
		}[b.dialect]
		if dsn == "" {
			continue
		}
		store, err := New(b.open(t, dsn), b.dialect)
		require.NoError(t, err)
		for name, err := range calls(t.Context(), store, store.Session("s")) {
			require.ErrorContains(t, err, "sqlstore: "+name+": ")
			require.NotContains(t, err.Error(), "top-secret")
		}
	}
}

// TestAttempts recognises errors as the drivers give them, even if they are
// wrapped.
func TestAttempts(t *testing.T) {
	for _, test := range []struct {
		database database
		err      error
		want     int
	}{
		{postgres{}, &pgconn.PgError{Code: "40001"}, 20},
		{postgres{}, &pgconn.PgError{Code: "40P01"}, 20},
		{postgres{}, &pgconn.PgError{Code: "55P03"}, 3},
		{postgres{}, &pgconn.PgError{Code: "0A000"}, 2},
		{postgres{}, &pgconn.PgError{Code: "57014"}, 1},
		{postgres{}, &pgconn.PgError{Code: "23505"}, 1},
		{postgres{}, driver.ErrBadConn, 20},
		{new(mysql), &mysqldriver.MySQLError{Number: 1213}, 20},
		{new(mysql), &mysqldriver.MySQLError{Number: 1020}, 20},
		{new(mysql), &mysqldriver.MySQLError{Number: 1205}, 3},
		{new(mysql), &mysqldriver.MySQLError{Number: 1665}, 2},
		{new(mysql), &mysqldriver.MySQLError{Number: 1146}, 1},
		{new(mysql), errTaken, 20},
		{new(mysql), errors.New("Error 1213"), 1},
		{new(mysql), context.Canceled, 1},
		{new(sqlite), sqliteError{5}, 20},
		{new(sqlite), sqliteError{6}, 20},
		{new(sqlite), sqliteError{517}, 20},
		{new(sqlite), sqliteError{13}, 1},
		{new(sqlite), typedSQLiteError{5}, 20},
		{new(sqlite), typedSQLiteError{13}, 1},
		{new(sqlite), struct{ error }{sqliteError{5}}, 1}, // not a chain
		{new(sqlite), errors.New("database is locked"), 1},
	} {
		for _, err := range []error{test.err, fmt.Errorf("wrapped: %w", test.err)} {
			require.Equal(t, test.want, attempts(test.database, err), "%T: %v", test.database, err)
		}
	}
}

type sqliteError struct{ code int }

// typedSQLiteError gives its code in a type of its own, as ncruces/go-sqlite3
// does.
type typedSQLiteError struct{ code sqliteCodeType }

type sqliteCodeType uint8

func (typedSQLiteError) Error() string          { return "error" }
func (e typedSQLiteError) Code() sqliteCodeType { return e.code }

func (sqliteError) Error() string { return "error" }
func (e sqliteError) Code() int   { return e.code }

// TestLockedFile checks that the error of a locked file, as the driver gives
// it, is one after which a call is tried again.
func TestLockedFile(t *testing.T) {
	onEach(t, func(t *testing.T, b backend) {
		f := newFixture(t, b, ours)
		conn, err := f.db.Conn(t.Context())
		require.NoError(t, err)
		defer conn.Close()
		_, err = conn.ExecContext(t.Context(), "BEGIN IMMEDIATE")
		require.NoError(t, err)
		other, err := f.db.Conn(t.Context())
		require.NoError(t, err)
		defer other.Close()
		_, err = other.ExecContext(t.Context(), "PRAGMA busy_timeout = 1")
		require.NoError(t, err)
		_, err = other.ExecContext(t.Context(), "BEGIN IMMEDIATE")
		require.Error(t, err)
		require.Greater(t, f.database.attempts(err), 1, "%T: %v", err, err)
	}, SQLite)
}
