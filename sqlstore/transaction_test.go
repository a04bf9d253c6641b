package sqlstore

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"
)

// fakeServer is a driver whose statements succeed and do nothing, but for those that fail.
type fakeServer struct {
	fail       func(statement string) error
	statements []string
	row        []driver.Value // that every query finds
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

// fakeRows is one row, or none.
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

// onFakeServer calls f with a session in a store that need not look for its tables, in a bubble with a clock of
// its own.
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

// TestBrokenConnectionIsNotUsedAgain has a transaction that may still be open on its connection.
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

// TestStaleConnection finds connections in the pool that the server has closed long ago.
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
	require.Equal(t, []int{150, 150, 1}, sizes(make([]int, 301)))
	require.Equal(t, []int{1, 2, 1}, sizes([]int{maxBatchBytes + 1, maxBatchBytes / 2, maxBatchBytes / 2, 1}))
	require.Equal(t, "?, ?, ?", list("?", 3))
}
