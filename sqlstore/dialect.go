package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
)

// Dialect is the kind of database that a Store works on.
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

// database is what differs between the databases. Every SQL text may hold the names of tables.fill.
type database interface {
	// quote returns an identifier as it stands in a statement.
	quote(identifier string) string

	// placeholders turns the question marks of a statement into this database's placeholders.
	placeholders(query string) string

	// bytes returns an expression for the bytes of a text column, to be compared without the column's
	// collation.
	bytes(column string) string

	// isText returns a condition that is true where a column holds text, which is the only thing that an ID can be. Found
	// tables may hold NULL, and in SQLite values of any type.
	isText(column string) string

	// checked returns a condition, with AND before it, that makes an error of the
	// statement if the connection would change text on its way. Nothing else can be
	// sure of every connection of a pool. It is empty if no connection can.
	checked() string

	// upsert returns the statement that inserts a row into {sessions}, or else sets updated_at of the row
	// there. To the end of the transaction it keeps other writers of the session waiting.
	upsert() string

	// lock returns a statement that keeps other writers of the session waiting without changing anything, or
	// nothing where begin does that already.
	lock() string

	// begin returns the statements that begin a transaction that writes.
	begin() []string

	// prepare makes a connection that comes from the pool ready for use.
	prepare(ctx context.Context, conn *sql.Conn) error

	// isClean reports whether a connection on which ROLLBACK has failed has no transaction open.
	isClean(ctx context.Context, conn *sql.Conn) bool

	// inspect finds out how the tables were made. It returns a missingTable for a table that is not there.
	inspect(ctx context.Context, conn *sql.Conn, t tables) (layout, error)

	// create makes the tables that are missing, in a transaction where the database can.
	create(ctx context.Context, conn *sql.Conn, t tables) error

	// attempts returns how often a call may be tried at most that gets this error: 1
	// if trying again does not help, more if the error is about other clients or
	// mends itself. The transaction has been or can be rolled back.
	attempts(err error) int

	// refuse returns an error that wraps errors.ErrUnsupported, and says which
	// parameter helps, if err means that the connection cannot work as it is. Else
	// it returns nil.
	refuse(err error) error
}

// layout is how found tables were made, as far as it matters here.
type layout struct {
	ids         []column // session_id of both tables
	data        column   // message_data
	newestFirst string   // the ORDER BY terms that give messages as Python orders them, backwards
	ahead       string   // a condition for the newest message: a new one, with the default time, would sort before it; empty if time does not matter
	values      bool     // whether only VALUES can be inserted with all lengths of text, and not what a SELECT gives
	times       string   // two expressions for the times of a session, in microseconds since 1970
	parts       []part   // the messages of a session, newest first
	keepTime    string   // what must stand in SET so that an UPDATE leaves created_at alone
}

// part is a part of the messages of a session. Messages without a time, which
// found tables may hold, are a part by themselves: comparing NULL to anything
// gives nothing.
type part struct {
	hint        string // which index to read them through, if the database must be told
	before      string // a statement to execute before a query on this part, if any
	after       string // and one that undoes it
	where       string // the condition for this part
	newestFirst string // its ORDER BY terms
	byID        bool   // whether these are the id alone
	created     string // an expression for created_at that behind takes
	behind      func(created any, id int64) (condition string, args []any)
}

// byID orders a part by the id.
func byID(where string) part {
	return part{where: where, newestFirst: "id DESC", byID: true, created: "NULL", behind: func(_ any, id int64) (string, []any) {
		return " AND id < ?", []any{id}
	}}
}

// byTime orders a part by time, then id. What created gives is a parameter that
// the database compares to created_at, in the form of an expression for it.
func byTime(where, created, parameter string) part {
	return part{where: where, newestFirst: "created_at DESC, id DESC", created: created, behind: func(created any, id int64) (string, []any) {
		return " AND (created_at, id) < (" + parameter + ", ?)", []any{created, id}
	}}
}

// missingTable is the error for a table that is not there.
type missingTable string

func (name missingTable) Error() string {
	return fmt.Sprintf("no table %s: call CreateTables, or check which database is open", string(name))
}

// missingColumn is the error for a column that is not there.
type missingColumn struct{ table, column string }

func (c missingColumn) Error() string {
	return fmt.Sprintf("table %s has no column %s: %v", c.table, c.column, errors.ErrUnsupported)
}

func (missingColumn) Unwrap() error { return errors.ErrUnsupported }

// sessionTimes returns the expressions for the times of a session. expression gives
// one for a column, or NULL if it has no times or is missing.
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

// unfitID is the error for messages whose IDs are no integers.
func unfitID(table, typ string) error {
	return fmt.Errorf("column id of table %s has type %s: it must be the primary key, and an integer: %w", table, typ, errors.ErrUnsupported)
}
