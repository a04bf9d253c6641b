// Package sqlstore keeps the conversations of AI agents in SQLite, PostgreSQL, MySQL or MariaDB, over
// database/sql. Its tables are those of the OpenAI Agents SDK for Python, so that Go and Python services can
// work on one database.
//
//	db, err := sql.Open("sqlite", "conversations.db") // import _ "modernc.org/sqlite"
//	store, err := sqlstore.New(db, sqlstore.SQLite)
//	err = store.CreateTables(ctx)
//	session, err := encsession.New(store.Session("user-123"), key)
//
// A [Session] of this package implements Session and Rewriter of github.com/encsession/encsession, which puts the
// encryption round it. By itself it stores what it is given, readable for everyone who can read the database.
//
// # Drivers
//
// The caller brings the driver; this package imports none. It is tested with
//
//	SQLite      modernc.org/sqlite              "conversations.db"
//	            github.com/mattn/go-sqlite3     "conversations.db"
//	PostgreSQL  github.com/jackc/pgx/v5/stdlib  "postgres://user:password@host/database"
//	MySQL       github.com/go-sql-driver/mysql  "user:password@tcp(host:3306)/database"
//
// A DSN needs no parameters, unless it is named here. MariaDB goes by the dialect
// [MySQL].
//
//	PgBouncer in transaction mode    default_query_exec_mode=exec (or cache_describe)
//	PostgreSQL, not in UTF-8         client_encoding=UTF8
//	MySQL, another character set     charset=utf8mb4
//	mattn/go-sqlite3                 _synchronous=FULL, so that a power loss costs nothing
//
// Each statement checks the character set of its connection, as a connection that
// changes text could make two session IDs one. If it is another one, or if a pooler
// keeps no prepared statements, the call returns errors.ErrUnsupported and names
// the parameter.
//
// # Order and time
//
// The column created_at is left to its default, as Python leaves it. In PostgreSQL
// and MySQL messages are ordered by created_at, then id, as Python's
// SQLAlchemySession orders them. In SQLite they are ordered by id, as its
// SQLiteSession does, unless the index says that the tables are those of a
// SQLAlchemySession. So Go and Python see one order, whoever has written an item.
//
// Writers of one session wait for one another: a batch is never mixed with another
// one, and comes after all that the session holds. If the newest message is ahead
// of the clock, because its client has another time zone or the clock was set back,
// a new one copies its time. Python does not do this: what it adds then sorts
// before. Give all clients one time zone, best UTC. PostgreSQL stores local time,
// so that Python's order breaks every autumn in any zone with daylight saving.
//
// # Isolation
//
// Session IDs are compared byte for byte, whatever the collation of the tables is that were found. Where that
// collation takes two IDs for equal, such as alice and Alice in most MySQL databases, the two share one row of
// the sessions table, which holds nothing but times, but no message; ClearSession of one leaves the other's
// messages. Python tells such IDs apart no better than the collation does. Tables that CreateTables makes
// compare byte for byte.
//
// An ID or item that the database cannot hold is an error, before anything is written: U+0000 in an ID in
// PostgreSQL, more characters than the column has (255 in MySQL), characters that its character set lacks.
//
// # SQLite
//
// Every connection gets a busy timeout of at least 5 seconds, and the file is switched to WAL mode by the first
// call, even one that reads, whatever the DSN says and however many connections the pool has; where locks are
// held for longer, calls are tried again for half a minute. A file that nothing may change is opened with
// "mode=ro" in its DSN. A database in memory belongs to one connection: give the pool just one, with
// db.SetMaxOpenConns(1), and set neither a lifetime nor an idle time of connections.
//
// Deleting a row, or replacing what it holds, does not wipe the old bytes from the file: SQLite leaves them in
// free space until that is used again, and in the -wal file until a checkpoint. "PRAGMA secure_delete = ON",
// which belongs to the connection, overwrites them; VACUUM rebuilds the file without what was deleted before,
// and "PRAGMA wal_checkpoint(TRUNCATE)" empties the -wal file. None of this reaches copies and backups.
//
// By the default of synchronous, a power loss costs nothing with
// modernc.org/sqlite (FULL). With mattn/go-sqlite3 (NORMAL) it can cost the newest
// items, but never the file.
//
// File systems of networks cannot have WAL: [WithoutWAL] leaves the mode as it is.
//
// The database of an AdvancedSQLiteSession of Python is refused: that class shows
// only messages that are in a table of its own.
//
// # Servers
//
// Calls are tried again after these errors, for half a minute at most. They have
// changed nothing.
//
//	a deadlock, a serialisation failure     PostgreSQL 40001, 40P01; MySQL 1213, 1020   19 more times
//	a locked file                           SQLite BUSY, LOCKED                         19 more times
//	a connection that has long been broken  driver.ErrBadConn                           19 more times
//	a lock timeout of the server            PostgreSQL 55P03; MySQL 1205                twice more
//	a column whose type has changed         PostgreSQL 0A000                            once more
//
// A statement timeout is the error of the call. If a trigger or a rule swallows
// rows, AddItems and ClearSession return an error and change nothing.
//
// Tables must be in a storage engine with transactions. MySQL may keep a binary log
// in any format. [WithSchema] names the schema of the tables, which a pooler does
// not pass on.
package sqlstore
