// Package sqlstore keeps the conversations of AI agents in SQLite, PostgreSQL,
// MySQL or MariaDB, over database/sql. It uses the tables of the OpenAI Agents
// SDK for Python, so Go and Python services can work on one database.
//
//	db, err := sql.Open("sqlite", "conversations.db") // import _ "modernc.org/sqlite"
//	store, err := sqlstore.New(db, sqlstore.SQLite)
//	err = store.CreateTables(ctx)
//	session, err := encsession.New(store.Session("user-123"), key, encsession.WithTTL(24*time.Hour),
//		encsession.WithObserver(encsession.LogDrops(slog.Default())))
//
// A [Session] implements [encsession.Session] and [encsession.Rewriter].
// [encsession.New] wraps it in encryption. By itself, a Session stores items as
// they are given: everyone who can read the database can read them.
//
// # Drivers
//
// The caller brings the driver; this package imports none. It is tested with
// these drivers:
//
//	SQLite      modernc.org/sqlite              "conversations.db"
//	            github.com/mattn/go-sqlite3     "conversations.db"
//	PostgreSQL  github.com/jackc/pgx/v5/stdlib  "postgres://user:password@host/database"
//	MySQL       github.com/go-sql-driver/mysql  "user:password@tcp(host:3306)/database"
//
// A DSN needs no parameters, except in the cases below. MariaDB uses the
// dialect [MySQL].
//
//	PgBouncer in transaction mode    default_query_exec_mode=exec (or cache_describe)
//	PostgreSQL, not in UTF-8         client_encoding=UTF8
//	MySQL, another character set     charset=utf8mb4
//	mattn/go-sqlite3                 _synchronous=FULL, so that a power loss costs nothing
//
// Each call that reads or writes messages checks the character set of its
// connection. A connection that changes text could make two session IDs one. If
// the character set is another one, or if a pooler keeps no prepared
// statements, the call fails. Its error wraps [errors.ErrUnsupported] and names
// the parameter.
//
// # Order and time
//
// The column created_at is left to its default, as Python leaves it. In
// PostgreSQL and MySQL, messages are ordered by created_at, then id, as
// Python's SQLAlchemySession orders them. In SQLite they are ordered by id, as
// Python's SQLiteSession orders them. If the index says that SQLAlchemySession
// made the SQLite tables, its order is used there too. So Go and Python see one
// order, whoever has written an item.
//
// Writers of one session wait for one another. A batch is never mixed with
// another one, and comes after everything that the session holds. The newest
// message may be ahead of the clock, because its client has another time zone
// or the clock was set back. A new message then copies its time. Python does
// not do this, so the items that it adds then sort before that message. Give
// all clients one time zone, best UTC. PostgreSQL stores local time, so
// Python's order breaks every autumn in any zone with daylight saving.
//
// # Isolation
//
// Session IDs are compared byte for byte, whatever the collation of the tables
// is. The collation of found tables may treat two IDs as equal, such as alice
// and Alice in most MySQL databases. The two IDs then share one row of the
// sessions table, which holds nothing but times. They share no messages:
// ClearSession of one leaves the other's messages. Python cannot tell such IDs
// apart. Tables that CreateTables makes compare byte for byte, except that
// MySQL 5.7 ignores spaces at the end.
//
// An ID or item that the database cannot hold is an error, before anything is
// written. Examples are U+0000 in an ID in PostgreSQL, more characters than the
// column has (255 in MySQL), and characters that its character set lacks.
//
// # SQLite
//
// If another client holds a lock, a call waits for it with a busy timeout of at
// least 5 seconds, and is tried again for half a minute. The first call
// switches the file to WAL mode, even if that call only reads. Both happen
// whatever the DSN says and however many connections the pool has.
//
// If nothing may change the file, put "mode=ro" into its DSN. A database in
// memory belongs to one connection: give the pool just one, with
// db.SetMaxOpenConns(1), and set neither a lifetime nor an idle time of
// connections.
//
// Deleting or replacing a row does not wipe the old bytes from the file. SQLite
// leaves them in free space until that is used again, and in the -wal file
// until a checkpoint. These statements help:
//
//   - "PRAGMA secure_delete = ON" overwrites the bytes. Each connection has its
//     own setting.
//   - VACUUM rebuilds the file without the bytes that were deleted before.
//   - "PRAGMA wal_checkpoint(TRUNCATE)" empties the -wal file.
//
// None of them reaches copies and backups.
//
// A power loss costs nothing with modernc.org/sqlite, whose default of
// synchronous is FULL. With mattn/go-sqlite3 (NORMAL) it can cost the newest
// items, but never the file.
//
// A file on a network file system cannot have WAL mode. Use [WithoutWAL] there.
//
// The database of a Python AdvancedSQLiteSession is refused. That class shows a
// message only if it also has a row in another table.
//
// # Servers
//
// A call is tried again after these errors, for half a minute at most. They
// have changed nothing.
//
//	a deadlock, a serialisation failure     PostgreSQL 40001, 40P01; MySQL 1213, 1020   19 more times
//	a locked file                           SQLite BUSY, LOCKED                         19 more times
//	a connection that has long been broken  driver.ErrBadConn                           19 more times
//	a lock timeout of the server            PostgreSQL 55P03; MySQL 1205                twice more
//	a column whose type has changed         PostgreSQL 0A000                            once more
//
// A statement timeout is the error of the call: it is not tried again. If a
// trigger or a rule swallows rows, AddItems and ClearSession return an error
// and change nothing.
//
// Tables must be in a storage engine with transactions. MySQL may keep a binary
// log in any format. [WithSchema] names the schema of the tables: a pooler does
// not pass on the search_path.
package sqlstore
