package sqlstore

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"
)

// fakeServer is a driver whose statements do nothing. They succeed, unless fail
// returns an error for them.
type fakeServer struct {
	fail       func(statement string) error
	statements []string
	row        []driver.Value // found by every query
	opened     int
	closed     int
}

func (f *fakeServer) Connect(context.Context) (driver.Conn, error) {
	f.opened++
	return &fakeConn{f}, nil
}

func (f *fakeServer) Driver() driver.Driver { return nil }

type fakeConn struct{ server *fakeServer }

func (c *fakeConn) Prepare(string) (driver.Stmt, error) { return nil, errors.New("not prepared") }
func (c *fakeConn) Begin() (driver.Tx, error)           { return nil, errors.New("not begun") }
func (c *fakeConn) Close() error                        { c.server.closed++; return nil }

func (c *fakeConn) ExecContext(_ context.Context, query string, _ []driver.NamedValue) (driver.Result, error) {
	statement, _, _ := strings.Cut(query, " ")
	c.server.statements = append(c.server.statements, statement)
	if err := c.server.fail(statement); err != nil {
		return nil, err
	}
	return driver.RowsAffected(1), nil
}

func (c *fakeConn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	if _, err := c.ExecContext(ctx, query, args); err != nil {
		return nil, err
	}
	return &fakeRows{c.server.row}, nil
}

// fakeRows holds one row, or none.
type fakeRows struct{ row []driver.Value }

func (r *fakeRows) Columns() []string { return make([]string, len(r.row)) }
func (r *fakeRows) Close() error      { return nil }

func (r *fakeRows) Next(values []driver.Value) error {
	if r.row == nil {
		return io.EOF
	}
	copy(values, r.row)
	r.row = nil
	return nil
}

// onFakeServer calls f with a session in a store that need not look for its
// tables. It runs in a bubble with a clock of its own.
func onFakeServer(t *testing.T, fail func(statement string) error, f func(*testing.T, *fakeServer, *Session)) {
	synctest.Test(t, func(t *testing.T) {
		server := &fakeServer{fail: fail}
		db := sql.OpenDB(server)
		defer db.Close()
		store, err := New(db, PostgreSQL)
		require.NoError(t, err)
		store.found.Store(&layout{ids: []column{{}}})
		f(t, server, store.Session("s"))
	})
}

func TestRetriesAreBounded(t *testing.T) {
	conflict := &pgconn.PgError{Code: "40001", Message: "could not serialize access"}
	fail := func(statement string) error {
		if statement == "COMMIT" {
			return conflict
		}
		return nil
	}
	onFakeServer(t, fail, func(t *testing.T, server *fakeServer, s *Session) {
		start := time.Now()
		err := s.AddItems(t.Context(), numbered(1, 1)...)
		require.ErrorIs(t, err, conflict)
		require.ErrorContains(t, err, "sqlstore: AddItems: after 20 attempts: ")
		require.Less(t, time.Since(start), maxAttempts*maxDelay)
		require.Len(t, server.statements, maxAttempts*5)
		require.Equal(t, []string{"BEGIN", "INSERT", "INSERT", "COMMIT", "ROLLBACK"}, server.statements[:5])
		require.Equal(t, 1, server.opened)
	})
	onFakeServer(t, fail, func(t *testing.T, server *fakeServer, s *Session) {
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		require.ErrorIs(t, s.AddItems(ctx, numbered(1, 1)...), context.DeadlineExceeded)
	})
}

// TestCommitIsNotRetried has a driver say that the connection is bad after it has
// sent COMMIT, as lib/pq does. Nobody knows whether the items are stored.
func TestCommitIsNotRetried(t *testing.T) {
	onFakeServer(t, func(statement string) error {
		if statement == "COMMIT" {
			return driver.ErrBadConn
		}
		return nil
	}, func(t *testing.T, server *fakeServer, s *Session) {
		require.ErrorContains(t, s.AddItems(t.Context(), numbered(1, 1)...), "the connection broke during the commit")
		require.Len(t, slices.DeleteFunc(server.statements, func(s string) bool { return s != "COMMIT" }), 1)
	})
}

func TestOtherErrorsAreNotRetried(t *testing.T) {
	broken := errors.New("connection reset by peer")
	for _, bad := range []string{"BEGIN", "INSERT", "COMMIT"} {
		onFakeServer(t, func(statement string) error {
			if statement == bad {
				return broken
			}
			return nil
		}, func(t *testing.T, server *fakeServer, s *Session) {
			require.ErrorIs(t, s.AddItems(t.Context(), numbered(1, 1)...), broken)
			require.Equal(t, "ROLLBACK", server.statements[len(server.statements)-1])
			require.Zero(t, server.closed)
		})
	}
}

// TestBrokenConnectionIsNotUsedAgain has a transaction that may still be open
// on its connection.
func TestBrokenConnectionIsNotUsedAgain(t *testing.T) {
	onFakeServer(t, func(statement string) error {
		if statement == "INSERT" || statement == "ROLLBACK" {
			return errors.New("connection reset by peer")
		}
		return nil
	}, func(t *testing.T, server *fakeServer, s *Session) {
		require.Error(t, s.AddItems(t.Context(), numbered(1, 1)...))
		require.Equal(t, 1, server.closed)
	})
}

// TestStaleConnection has connections in the pool that the server closed long
// ago.
func TestStaleConnection(t *testing.T) {
	stale := 3
	onFakeServer(t, func(string) error {
		if stale > 0 {
			stale--
			return driver.ErrBadConn
		}
		return nil
	}, func(t *testing.T, server *fakeServer, s *Session) {
		require.NoError(t, s.AddItems(t.Context(), numbered(1, 1)...))
		require.Equal(t, server.opened-1, server.closed)
	})
}

func TestBatches(t *testing.T) {
	sizes := func(rows []int) (lengths []int) {
		for batch := range batches(rows, func(size int) int { return size }) {
			lengths = append(lengths, len(batch))
		}
		return lengths
	}
	require.Empty(t, sizes(nil))
	require.Equal(t, []int{50, 50, 1}, sizes(make([]int, 101)))
	require.Equal(t, []int{1, 2, 1}, sizes([]int{maxBatchBytes + 1, maxBatchBytes / 2, maxBatchBytes / 2, 1}))
	require.Equal(t, "?, ?, ?", list("?", 3))
}

// TestWhatIsTriedAgain checks the table in the documentation, on each server. A
// trigger gives the error the given number of times, and then lets the row
// pass.
func TestWhatIsTriedAgain(t *testing.T) {
	onEach(t, func(t *testing.T, b backend) {
		for _, test := range map[Dialect][]struct {
			code     string
			attempts int
		}{
			PostgreSQL: {{"40001", 20}, {"40P01", 20}, {"55P03", 3}, {"0A000", 2}, {"57014", 1}, {"23505", 1}},
			MySQL:      {{"1213", 20}, {"1020", 20}, {"1205", 3}, {"1969", 1}, {"3024", 1}, {"1062", 1}},
		}[b.dialect] {
			f := newFixture(t, b, ours)
			f.failFirst(t, test.code)
			count := map[Dialect]string{PostgreSQL: "SELECT last_value FROM ", MySQL: "SELECT COUNT(*) FROM "}[b.dialect] + f.sessions + "_tries"
			s := f.Session("s")
			f.failures(t, test.attempts-1)
			require.NoError(t, s.AddItems(t.Context(), numbered(1, 2)...), test.code)
			requireItems(t, s, numbered(1, 2)...)

			f.failures(t, 1000)
			err := s.AddItems(t.Context(), numbered(3, 4)...)
			require.Error(t, err)
			if test.attempts > 1 {
				require.ErrorContains(t, err, fmt.Sprintf("after %d attempts: ", test.attempts))
			}
			require.Equal(t, test.attempts, f.count(t, count), test.code)
			requireItems(t, s, numbered(1, 2)...)
		}
	}, PostgreSQL, MySQL)
}

// failFirst has the messages table give an error for the first rows. Rows of
// transactions that are rolled back count too.
func (f *fixture) failFirst(t *testing.T, code string) {
	fill := strings.NewReplacer("NUMBER", code, "tries", f.sessions+"_tries", "bound", f.sessions+"_bound", "FUNCTION refuse", "FUNCTION "+f.sessions+"_refuse")
	var create, drop []string
	if f.dialect == PostgreSQL {
		create = []string{
			"CREATE SEQUENCE tries", "CREATE SEQUENCE bound MINVALUE 0",
			"CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN IF nextval(''tries'') <= (SELECT last_value FROM bound) THEN RAISE EXCEPTION ''refused'' USING ERRCODE = ''NUMBER''; END IF; RETURN NULL; END'",
			"CREATE TRIGGER refuse BEFORE INSERT ON {messages} FOR EACH STATEMENT EXECUTE FUNCTION refuse()",
		}
		drop = []string{"DROP FUNCTION refuse CASCADE", "DROP SEQUENCE bound", "DROP SEQUENCE tries"}
	} else {
		create = []string{
			"CREATE TABLE tries (n INTEGER) ENGINE = MyISAM", "CREATE TABLE bound (n INTEGER) ENGINE = MyISAM", "INSERT INTO bound VALUES (0)",
			`CREATE TRIGGER {messages}_refuse BEFORE INSERT ON {messages} FOR EACH ROW BEGIN
				IF NEW.message_data IN ('{"n": 1}', '{"n": 3}') THEN
					INSERT INTO tries VALUES (1);
					IF (SELECT COUNT(*) FROM tries) <= (SELECT n FROM bound) THEN
						SIGNAL SQLSTATE '45000' SET MYSQL_ERRNO = NUMBER, MESSAGE_TEXT = 'refused';
					END IF;
				END IF;
			END`,
		}
		create[3] = strings.ReplaceAll(create[3], "{messages}_refuse", f.messages+"_refuse")
		drop = []string{"DROP TABLE tries", "DROP TABLE bound"}
	}
	for _, statement := range create {
		f.exec(t, fill.Replace(statement))
	}
	t.Cleanup(func() {
		for _, statement := range drop {
			f.exec(t, fill.Replace(statement))
		}
	})
}

// failures sets how many of the next attempts fail.
func (f *fixture) failures(t *testing.T, n int) {
	if f.dialect == PostgreSQL {
		f.exec(t, fmt.Sprintf("SELECT setval('%s_tries', 1, false), setval('%s_bound', %d)", f.sessions, f.sessions, n))
		return
	}
	f.exec(t, "DELETE FROM "+f.sessions+"_tries")
	f.exec(t, fmt.Sprintf("UPDATE %s_bound SET n = %d", f.sessions, n))
}

// TestLockTimeouts waits for another client longer than the server allows.
func TestLockTimeouts(t *testing.T) {
	onEach(t, func(t *testing.T, b backend) {
		f := newFixture(t, b, ours)
		add(t, f.Session("s"), numbered(1, 1)...)
		parameter := map[Dialect]string{PostgreSQL: "lock_timeout=300", MySQL: "innodb_lock_wait_timeout=1"}[b.dialect]
		s := f.in(t, parameter).Session("s")
		hold := func() *sql.Tx {
			other, err := f.db.Begin()
			require.NoError(t, err)
			_, err = other.Exec(f.tables.fill("UPDATE {sessions} SET updated_at = '2020-01-01 00:00:00'"))
			require.NoError(t, err)
			return other
		}
		other := hold()
		require.ErrorContains(t, s.AddItems(t.Context(), numbered(2, 2)...), "after 3 attempts: ")
		require.NoError(t, other.Rollback())
		other = hold()
		time.AfterFunc(450*time.Millisecond, func() { _ = other.Rollback() })
		add(t, s, numbered(2, 2)...)
		requireItems(t, s, numbered(1, 2)...)
	}, PostgreSQL, MySQL)
}

// TestChangedColumns changes the type of a column after statements have been
// prepared for it.
func TestChangedColumns(t *testing.T) {
	onEach(t, func(t *testing.T, b backend) {
		f := newFixture(t, b, ours)
		for _, dsn := range []string{f.dsnText, withParameter(f.dsnText, "default_query_exec_mode=cache_describe"), withParameter(f.dsnText, "default_query_exec_mode=exec")} {
			store, err := New(b.open(t, dsn), b.dialect, WithTables(f.sessions, f.messages))
			require.NoError(t, err)
			s := store.Session("s")
			for i, typ := range []string{"VARCHAR(1000)", "TEXT", "VARCHAR"} {
				require.NoError(t, s.ClearSession(t.Context()))
				add(t, s, numbered(1, 4)...)
				requireItems(t, s, numbered(1, 4)...)
				pop(t, s)
				f.exec(t, "ALTER TABLE {messages} ALTER COLUMN message_data TYPE "+typ)
				if i == 1 {
					require.Equal(t, `{"n": 3}`, string(pop(t, s)))
					continue
				}
				requireItems(t, s, numbered(1, 3)...)
			}
		}
	}, PostgreSQL)
}

// TestPgBouncer uses a pooler. Without the parameter that the documentation
// names, calls are refused. With either value of it, they work.
func TestPgBouncer(t *testing.T) {
	b := backend{name: "pgbouncer", dialect: PostgreSQL, driver: "pgx", dsnEnv: "ENCSESSION_PGBOUNCER_DSN"}
	f := newFixture(t, b, ours)
	bare := strings.Replace(f.dsnText, "&default_query_exec_mode=exec", "", 1)
	require.NotEqual(t, f.dsnText, bare)
	var errs []error
	// These clients come one after the other, and prepare the same statements
	// under the same names.
	for range 40 {
		store, err := New(b.open(t, bare), PostgreSQL, WithTables(f.sessions, f.messages))
		require.NoError(t, err)
		if err := store.Session("s").AddItems(t.Context(), numbered(1, 1)...); err != nil {
			errs = append(errs, err)
		}
	}
	require.NotEmpty(t, errs, "this pooler does not show what this test is about")
	for _, err := range errs {
		require.ErrorIs(t, err, errors.ErrUnsupported)
		require.ErrorContains(t, err, "add default_query_exec_mode=exec to the DSN")
	}
	require.NoError(t, f.Session("s").ClearSession(t.Context()))
	for _, mode := range []string{"exec", "cache_describe"} {
		var group sync.WaitGroup
		for client := range 4 {
			group.Go(func() {
				db, err := sql.Open("pgx", bare+"&default_query_exec_mode="+mode)
				if err != nil {
					t.Error(err)
					return
				}
				defer db.Close()
				store, err := New(db, PostgreSQL, WithTables(f.sessions, f.messages))
				if err != nil {
					t.Error(err)
					return
				}
				s := store.Session(fmt.Sprint(mode, client))
				for n := range 20 {
					if err := s.AddItems(t.Context(), numbered(n, n)...); err != nil {
						t.Error(err)
					}
					if _, err := s.GetItems(t.Context(), 3); err != nil {
						t.Error(err)
					}
				}
			})
		}
		group.Wait()
		for client := range 4 {
			requireItems(t, f.Session(fmt.Sprint(mode, client)), numbered(0, 19)...)
		}
	}
}

// TestStatementBinlog writes to a server whose binary log holds statements.
func TestStatementBinlog(t *testing.T) {
	onEach(t, func(t *testing.T, b backend) {
		f := newFixture(t, b, ours)
		if f.count(t, "SELECT @@log_bin") == 0 {
			t.Skip("the server keeps no binary log")
		}
		add(t, f.Session("s"), numbered(1, 4)...)
		store := f.in(t, "binlog_format=STATEMENT")
		s := store.Session("s")
		require.Equal(t, `{"n": 4}`, string(pop(t, s)))
		add(t, s, numbered(4, 300)...)
		require.Equal(t, 300, rewrite(t, s, 10, each(negative)))
		requireItems(t, s, func() (items []Item) {
			for n := 1; n <= 300; n++ {
				items = append(items, numbered(-n, -n)...)
			}
			return items
		}()...)
		var group sync.WaitGroup
		for writer := range 4 {
			group.Go(func() {
				for n := range 10 {
					if err := s.AddItems(t.Context(), numbered(1000*writer+n, 1000*writer+n)...); err != nil {
						t.Error(err)
					}
					if _, err := s.PopItem(t.Context()); err != nil {
						t.Error(err)
					}
				}
			})
		}
		group.Wait()
		require.NoError(t, s.ClearSession(t.Context()))
		requireItems(t, f.Session("s"))
	}, MySQL)
}
