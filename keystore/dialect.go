package keystore

import (
	"fmt"
	"strconv"
	"strings"
	"time"
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

// quote quotes an identifier for use in a statement.
func (d Dialect) quote(identifier string) string {
	if d == MySQL {
		return "`" + identifier + "`"
	}
	return `"` + identifier + `"`
}

// placeholders replaces the question marks of a statement with the placeholders
// of the database.
func (d Dialect) placeholders(query string) string {
	if d != PostgreSQL {
		return query
	}
	var b strings.Builder
	for i, part := range strings.Split(query, "?") {
		if i > 0 {
			b.WriteString("$" + strconv.Itoa(i))
		}
		b.WriteString(part)
	}
	return b.String()
}

// now returns an expression for the database's time plus skew, in microseconds
// since 1970. SQLite has no clock of its own. Its clients are on one machine,
// and share its clock.
func (d Dialect) now(skew time.Duration) string {
	var now string
	switch d {
	case SQLite:
		return strconv.FormatInt(time.Now().Add(skew).UnixMicro(), 10)
	case PostgreSQL:
		// Not now(), which is the time at which the transaction began.
		now = "CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS BIGINT)"
	case MySQL:
		// Not a function of local time, which repeats an hour when summer time
		// ends.
		now = "TIMESTAMPDIFF(MICROSECOND, '1970-01-01 00:00:00', UTC_TIMESTAMP(6))"
	}
	if skew != 0 {
		now = fmt.Sprintf("(%s + %d)", now, skew.Microseconds())
	}
	return now
}

// seesChanges returns a condition. It is true if every statement on the
// connection sees the changes that others have committed. On MySQL with
// autocommit off, a connection would keep seeing the state of its first read,
// and a destroyed key would live for ever.
func (d Dialect) seesChanges() string {
	if d == MySQL {
		return "@@autocommit"
	}
	return "1"
}

// begin returns the statements that begin a transaction for writing.
func (d Dialect) begin() []string {
	switch d {
	case SQLite:
		// After a plain BEGIN, the first write would fail if another client had
		// written since the first read.
		return []string{"BEGIN IMMEDIATE"}
	case PostgreSQL:
		// The rows are read after the lock. So each statement must see
		// everything that was committed before it. The default of the database
		// may be another level.
		return []string{"BEGIN ISOLATION LEVEL READ COMMITTED"}
	}
	return []string{"SET TRANSACTION ISOLATION LEVEL READ COMMITTED", "START TRANSACTION"}
}

// forUpdate returns the end of a query that locks the rows it reads. SQLite
// needs none, since BEGIN IMMEDIATE has locked the whole database.
func (d Dialect) forUpdate() string {
	if d == SQLite {
		return ""
	}
	return " FOR UPDATE"
}

// ifAbsent returns the end of an INSERT that does nothing if the row exists.
func (d Dialect) ifAbsent() string {
	if d == MySQL {
		return " ON DUPLICATE KEY UPDATE number = number"
	}
	return " ON CONFLICT DO NOTHING"
}

// ddl returns the statements that create the missing tables. Names of tenants
// and wrappers are compared bytewise, and times are integers. So neither
// collations nor time zones matter.
func (d Dialect) ddl() []string {
	name, text, blob, options := "TEXT", "TEXT", "BLOB", ""
	switch d {
	case PostgreSQL:
		name, blob = `TEXT COLLATE "C"`, "BYTEA"
	case MySQL:
		name, text, options = "VARBINARY(255)", "VARCHAR(16) CHARACTER SET ascii", " ENGINE = InnoDB"
	}
	return []string{
		"CREATE TABLE IF NOT EXISTS {keys} (tenant " + name + " NOT NULL, number BIGINT NOT NULL, wrapped " + blob + ", wrapper " + name + " NOT NULL, " +
			"fingerprint " + text + " NOT NULL, created_at BIGINT NOT NULL, active_at BIGINT, retired_at BIGINT, destroyed_at BIGINT, " +
			"PRIMARY KEY (tenant, number))" + options,
		"CREATE TABLE IF NOT EXISTS {settings} (name " + name + " NOT NULL PRIMARY KEY, value BIGINT NOT NULL)" + options,
	}
}
