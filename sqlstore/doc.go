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
// A DSN needs no parameters. MariaDB goes by the dialect [MySQL], and the connection's character set must be
// utf8mb4, which is what that driver uses unless it is told otherwise.
//
// # Order and time
//
// The column created_at is left to its default, as Python leaves it. In PostgreSQL and MySQL messages are
// ordered by created_at, then id, as Python's SQLAlchemySession orders them; in SQLite by id, as its
// SQLiteSession does, unless the tables are those of a SQLAlchemySession. So Go and Python see one order,
// whoever has written an item.
//
// Writers of one session wait for one another: a batch is never mixed with another one, and what is added after
// another AddItems has returned comes after its items. Where two calls overlap, either may come first:
// PostgreSQL gives a transaction the time of its beginning, which may be before that of a transaction it has
// waited for. Where the server's clock is set back, new items sort before older ones, until it has caught up,
// in Python too; PostgreSQL stores local time, so that this happens every autumn unless its time zone is UTC
// and every client leaves it at that.
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
// # Servers
//
// Transactions that a server ends because of a deadlock, a serialisation failure or a lock that was not to be
// had are tried again, a bounded number of times. Tables must be in a storage engine with transactions.
package sqlstore
