package sqlstore

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"
)

// These limits apply to work that is tried again because it failed due to other
// clients. SQLite and the servers wait for locks by themselves, so most
// attempts take a while.
const (
	maxAttempts  = 20
	lockAttempts = 3 // after a lock timeout of the server
	maxRetryTime = 30 * time.Second
	maxDelay     = 500 * time.Millisecond // between two attempts
)

// rollbackTimeout is the longest time that a server may take for a rollback.
// After that its connection is closed, which rolls back too.
const rollbackTimeout = 5 * time.Second

func (s *Store) check(ctx context.Context) error {
	if s == nil || s.db == nil {
		return errors.New("this Store was not made by New")
	}
	return ctx.Err()
}

// onConnection calls f with a connection that is ready for use. If f fails
// because of other clients, it is called again with another connection.
func (s *Store) onConnection(ctx context.Context, f func(*sql.Conn) error) error {
	attempt := func(n int) error {
		conn, err := s.db.Conn(ctx)
		if err != nil {
			return err
		}
		defer conn.Close()
		if err := s.database.prepare(ctx, conn, n); err != nil {
			return err
		}
		return f(conn)
	}
	start := time.Now()
	for n := 1; ; n++ {
		err := attempt(n)
		if err == nil {
			return nil
		}
		most := attempts(s.database, err)
		if refused := s.database.refuse(err); refused != nil {
			return refused
		}
		if ctx.Err() != nil || most == 1 {
			return withContext(ctx, err)
		}
		if n >= most || time.Since(start) > maxRetryTime {
			return fmt.Errorf("after %d attempts: %w", n, err)
		}
		if err := sleep(ctx, delay(n)); err != nil {
			return err
		}
	}
}

// delay returns how long to wait after the nth attempt. The time is random, so
// that clients that have collided do not collide again.
func delay(n int) time.Duration {
	longest := min(maxDelay, time.Millisecond<<min(n, 10))
	return rand.N(longest)
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// inTransaction calls f in a transaction that writes. It commits if f returns
// nil, and rolls back otherwise.
//
// It does not use sql.Tx: that begins a transaction on SQLite which fails,
// instead of waiting, if another client writes between its first read and its
// first write, and it commits under the caller's context, so that a context
// that ends at the wrong moment makes an error of what has been committed.
func (s *Store) inTransaction(ctx context.Context, conn *sql.Conn, f func() error) error {
	err := s.tables.exec(ctx, conn, s.database.begin()...)
	if err == nil {
		err = f()
	}
	if err == nil {
		err = ctx.Err()
	}
	if err == nil {
		_, err = conn.ExecContext(context.WithoutCancel(ctx), "COMMIT")
		if errors.Is(err, driver.ErrBadConn) { // which would have the call tried again
			err = fmt.Errorf("the connection broke during the commit, so the change may be stored or not: %v", err)
		}
	}
	if err != nil {
		s.rollBack(ctx, conn)
	}
	return err
}

// rollBack leaves the connection without a transaction. If it cannot, it makes
// sure that nobody uses the connection again.
func (s *Store) rollBack(ctx context.Context, conn *sql.Conn) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), rollbackTimeout)
	defer cancel()
	if _, err := conn.ExecContext(ctx, "ROLLBACK"); err != nil && !s.database.isClean(ctx, conn) {
		discard(conn)
	}
}

// discard tells database/sql not to put a connection back into the pool.
func discard(conn *sql.Conn) { _ = conn.Raw(func(any) error { return driver.ErrBadConn }) }

// transaction is a connection for work on one session. The work is a single
// read, or happens in a transaction that writes.
type transaction struct {
	*sql.Conn
	tables    tables
	layout    layout
	sessionID string
}

func (t transaction) exec(ctx context.Context, query string, args ...any) (affected int64, err error) {
	result, err := t.ExecContext(ctx, t.tables.fill(query), args...)
	if err != nil {
		return 0, err
	}
	return result.RowsAffected()
}

// lock makes other writers of the session wait until the transaction ends.
func (t transaction) lock(ctx context.Context) error {
	query := t.tables.database.lock()
	if query == "" {
		return nil
	}
	// Not with Exec: in go-sql-driver/mysql 1.10.1 that waits for ever for the
	// end of a result without rows.
	var found int
	err := t.QueryRowContext(ctx, t.tables.fill(query), t.sessionID).Scan(&found)
	if errors.Is(err, sql.ErrNoRows) {
		// The session is empty: there is nothing that two writers could both
		// take.
		return nil
	}
	return err
}

// read calls f with a connection for queries that do not depend on one another.
func (s *Session) read(ctx context.Context, f func(transaction) error) error {
	return s.store.onConnection(ctx, func(conn *sql.Conn) error {
		t, err := s.open(ctx, conn)
		if err != nil {
			return err
		}
		return f(t)
	})
}

// write calls f in a transaction. If other clients were in the way, it calls f
// again in another one.
func (s *Session) write(ctx context.Context, f func(transaction) error) error {
	return s.store.onConnection(ctx, func(conn *sql.Conn) error {
		t, err := s.open(ctx, conn)
		if err != nil {
			return err
		}
		return s.store.inTransaction(ctx, conn, func() error { return f(t) })
	})
}

// open returns a transaction for the session, or an error if the tables cannot
// hold its ID.
func (s *Session) open(ctx context.Context, conn *sql.Conn) (transaction, error) {
	found, err := s.store.layout(ctx, conn)
	if err != nil {
		return transaction{}, err
	}
	for _, column := range found.ids {
		if err := column.check(s.id); err != nil {
			return transaction{}, fmt.Errorf("the database cannot hold this session ID: %w", err)
		}
	}
	return transaction{Conn: conn, tables: s.store.tables, layout: *found, sessionID: s.id}, nil
}

// layout returns how the tables were made. The Store looks at them only once.
func (s *Store) layout(ctx context.Context, conn *sql.Conn) (*layout, error) {
	if found := s.found.Load(); found != nil {
		return found, nil
	}
	found, err := s.database.inspect(ctx, conn, s.tables)
	if err != nil {
		return nil, err
	}
	s.found.Store(&found)
	return &found, nil
}
