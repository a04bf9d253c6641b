package sqlstore

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"reflect"
	"time"
)

// errTaken means that rows which a transaction had read were gone when it
// wanted to change them. A client that does not lock the session, such as one
// in Python, was faster, or a trigger or a rule kept the rows. The transaction
// is rolled back and tried again.
var errTaken = errors.New("another client keeps changing the session, or a trigger or a rule keeps its rows")

// withContext makes sure that errors.Is finds the error of the context if the
// driver stopped because of it. A driver may notice that a deadline is over
// before the context does.
func withContext(ctx context.Context, err error) error {
	cause := ctx.Err()
	if deadline, ok := ctx.Deadline(); cause == nil && ok && !time.Now().Before(deadline) {
		cause = context.DeadlineExceeded
	}
	if err == nil || cause == nil || errors.Is(err, cause) {
		return err
	}
	return fmt.Errorf("%w: %w", cause, err)
}

// attempts returns how many times, at most, a call that gets an error may be
// tried. If that is more than 1, the call has changed nothing.
func attempts(d database, err error) int {
	// A driver returns ErrBadConn for a connection that broke before anything
	// was sent. An example is one that lay in the pool while the server was
	// restarted.
	if errors.Is(err, errTaken) || errors.Is(err, driver.ErrBadConn) {
		return maxAttempts
	}
	return d.attempts(err)
}

// intField returns the integer in an exported field of an error in err's chain.
// The drivers of MySQL and mattn/go-sqlite3 give their error codes in a field,
// and an interface can only name methods. Importing those drivers would force
// them on every user. The text of an error is no promise, but an exported field
// is.
func intField(err error, name string) (int, bool) {
	for ; err != nil; err = errors.Unwrap(err) {
		v := reflect.Indirect(reflect.ValueOf(err))
		if v.Kind() != reflect.Struct {
			continue
		}
		switch field := v.FieldByName(name); {
		case !field.IsValid():
		case field.CanInt():
			return int(field.Int()), true
		case field.CanUint():
			return int(field.Uint()), true
		}
	}
	return 0, false
}
