package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
)

// Dialect is the kind of database that a [Store] works on.
type Dialect int

// The dialects.
const (
	SQLite     Dialect = iota + 1 // SQLite 3.24 or later
	PostgreSQL                    // PostgreSQL 12 or later
	MySQL                         // MySQL 5.7 or later, MariaDB 10.3 or later
)

// String returns the name of the database.
func (d Dialect) String() string {
	switch d {
	case SQLite:
		return "SQLite"
	case PostgreSQL:
		return "PostgreSQL"
	case MySQL:
		return "MySQL"
	}
	return fmt.Sprintf("Dialect(%d)", int(d))
}

// database holds the differences between the databases. Every SQL text may
// contain the names of tables.fill.
type database interface {
	// quote returns an identifier as it is written in a statement.
	quote(identifier string) string

	// placeholders turns the question marks of a statement into this database's
	// placeholders.
	placeholders(query string) string

	// bytes returns an expression for the bytes of a text column. It is
	// compared without the column's collation.
	bytes(column string) string

	// compared returns an expression for the bytes of an item in its column, or
	// for a digest of them, and a func that gives the same of an item in Go.
	compared() (column string, of func(Item) string)

	// isText returns a condition that is true if a column holds text, the only
	// thing that an ID can be. Found tables may hold NULL, and in SQLite values
	// of any type.
	isText(column string) string

	// checked returns a condition, with AND before it. It makes the statement
	// fail if the connection would change text on its way. Only a check within
	// the statement covers every connection of a pool. The condition is empty
	// if no connection can change text.
	checked() string

	// upsert returns the statement that inserts a row into {sessions}, or sets
	// updated_at if the row exists. It keeps other writers of the session
	// waiting until the transaction ends.
	upsert() string

	// lock returns a statement that keeps other writers of the session waiting
	// without changing anything. It is empty if begin keeps them waiting
	// already.
	lock() string

	// begin returns the statements that begin a write transaction.
	begin() []string

	// prepare makes a connection that comes from the pool ready for an attempt.
	// The first attempt of a call is 1.
	prepare(ctx context.Context, conn *sql.Conn, attempt int) error

	// isClean reports whether the connection has no transaction open after a
	// ROLLBACK on it has failed.
	isClean(ctx context.Context, conn *sql.Conn) bool

	// inspect finds out how the tables were made. It returns a missingTable if
	// a table does not exist.
	inspect(ctx context.Context, conn *sql.Conn, t tables) (layout, error)

	// create creates the missing tables, in a transaction if the database can
	// do that.
	create(ctx context.Context, conn *sql.Conn, t tables) error

	// attempts returns how many times, at most, a call that gets this error may
	// be tried. It is 1 if another attempt does not help. It is more if other
	// clients caused the error, or if it goes away by itself. In that case the
	// transaction has been rolled back, or can be.
	attempts(err error) int

	// refuse returns an error if err means that the connection cannot work as
	// it is. Its error wraps errors.ErrUnsupported and says which parameter
	// helps. Otherwise refuse returns nil.
	refuse(err error) error
}

// layout describes how found tables were made, as far as it matters here.
type layout struct {
	ids  []column // session_id of both tables
	data column   // message_data
	// newestFirst holds the ORDER BY terms for messages in Python's order,
	// newest first.
	newestFirst string
	// ahead is a condition on the newest message: a new message with the
	// default time would sort before it. It is empty if time does not matter.
	ahead string
	// reserves is true if some IDs above the highest one must stay free.
	reserves bool
	// values is true if texts must be inserted by VALUES alone, since a SELECT
	// may limit their length.
	values bool
	// times holds two expressions for the times of a session, in microseconds
	// since 1970.
	times string
	// parts are the messages of a session, newest first.
	parts []part
	// keepTime is a text that an UPDATE must have after SET, so that it leaves
	// created_at alone.
	keepTime string
}

// part is a part of the messages of a session. Found tables may hold messages
// without a time. Those are a part by themselves, because comparing anything to
// NULL gives NULL.
type part struct {
	hint        string // the index to read through, if the database must be told
	before      string // a statement to execute before a query on this part, if any
	after       string // the statement that undoes before
	where       string // the condition for this part
	newestFirst string // its ORDER BY terms
	byID        bool   // whether newestFirst is the id alone
	created     string // an expression for created_at; behind takes its value
	// behind returns the condition for the rows behind one with these values.
	behind func(created any, id int64) (condition string, args []any)
}

// byID returns a part that is ordered by the id.
func byID(where string) part {
	return part{where: where, newestFirst: "id DESC", byID: true, created: "NULL", behind: func(_ any, id int64) (string, []any) {
		return " AND id < ?", []any{id}
	}}
}

// byTime returns a part that is ordered by time, then id. created is an
// expression for created_at. parameter is an expression with a question mark
// for a value of created; the database compares it to created_at.
func byTime(where, created, parameter string) part {
	return part{where: where, newestFirst: "created_at DESC, id DESC", created: created, behind: func(created any, id int64) (string, []any) {
		return " AND (created_at, id) < (" + parameter + ", ?)", []any{created, id}
	}}
}

// missingTable is the error for a table that does not exist.
type missingTable string

func (name missingTable) Error() string {
	return fmt.Sprintf("no table %s: call CreateTables, or check the database, the schema and the names of the tables", string(name))
}

// missingColumn is the error for a column that does not exist.
type missingColumn struct{ table, column string }

func (c missingColumn) Error() string {
	return fmt.Sprintf("table %s has no column %s: %v", c.table, c.column, errors.ErrUnsupported)
}

func (missingColumn) Unwrap() error { return errors.ErrUnsupported }

// sessionTimes returns two SQL expressions for the times of a session. It calls
// expression for each column. If the column is missing or holds no times, that
// function returns NULL.
func sessionTimes(expression func(column string) (string, error)) (string, error) {
	var times []string
	for _, column := range []string{"created_at", "updated_at"} {
		text, err := expression(column)
		if _, missing := errors.AsType[missingColumn](err); err != nil && !missing {
			return "", err
		}
		times = append(times, text)
	}
	return strings.Join(times, ", "), nil
}

// unfitID is the error for messages whose IDs are not integers.
func unfitID(table, typ string) error {
	return fmt.Errorf("column id of table %s has type %s: it must be the primary key, and an integer: %w", table, typ, errors.ErrUnsupported)
}
