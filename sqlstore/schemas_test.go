package sqlstore

import "fmt"

// These are the tables as the Python SDK makes them.

var bySQLiteSession = tablesOf{name: "SQLiteSession", ddl: []string{
	`CREATE TABLE {sessions} (
		session_id TEXT PRIMARY KEY,
		created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP,
		updated_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP
	)`,
	`CREATE TABLE {messages} (
		id INTEGER PRIMARY KEY AUTOINCREMENT,
		session_id TEXT NOT NULL,
		message_data TEXT NOT NULL,
		created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP,
		FOREIGN KEY (session_id) REFERENCES {sessions} (session_id) ON DELETE CASCADE
	)`,
	"CREATE INDEX {id index} ON {messages} (session_id, id)",
}}

var bySQLAlchemyOnSQLite = tablesOf{name: "SQLAlchemySession", ddl: []string{
	`CREATE TABLE {sessions} (
		session_id VARCHAR NOT NULL,
		created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP NOT NULL,
		updated_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP NOT NULL,
		PRIMARY KEY (session_id)
	)`,
	`CREATE TABLE {messages} (
		id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
		session_id VARCHAR NOT NULL,
		message_data TEXT NOT NULL,
		created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP NOT NULL,
		FOREIGN KEY(session_id) REFERENCES {sessions} (session_id) ON DELETE CASCADE
	)`,
	"CREATE INDEX {time index} ON {messages} (session_id, created_at)",
}}

var bySQLAlchemyOnPostgres = tablesOf{name: "SQLAlchemySession", ddl: []string{
	`CREATE TABLE {sessions} (
		session_id VARCHAR NOT NULL,
		created_at TIMESTAMP WITHOUT TIME ZONE DEFAULT CURRENT_TIMESTAMP NOT NULL,
		updated_at TIMESTAMP WITHOUT TIME ZONE DEFAULT CURRENT_TIMESTAMP NOT NULL,
		PRIMARY KEY (session_id)
	)`,
	`CREATE TABLE {messages} (
		id SERIAL NOT NULL,
		session_id VARCHAR NOT NULL,
		message_data TEXT NOT NULL,
		created_at TIMESTAMP WITHOUT TIME ZONE DEFAULT CURRENT_TIMESTAMP NOT NULL,
		PRIMARY KEY (id),
		FOREIGN KEY(session_id) REFERENCES {sessions} (session_id) ON DELETE CASCADE
	)`,
	"CREATE INDEX {time index} ON {messages} (session_id, created_at)",
}}

// forSQLAlchemyOnMySQL returns the tables that somebody makes for Python, with
// a character set and a collation.
func forSQLAlchemyOnMySQL(charset, collation string) tablesOf {
	options := fmt.Sprintf(" ENGINE = InnoDB DEFAULT CHARACTER SET %s COLLATE %s", charset, collation)
	return tablesOf{name: collation, ddl: []string{
		`CREATE TABLE {sessions} (
			session_id VARCHAR(255) NOT NULL,
			created_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP,
			updated_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP,
			PRIMARY KEY (session_id)
		)` + options,
		`CREATE TABLE {messages} (
			id INTEGER NOT NULL AUTO_INCREMENT,
			session_id VARCHAR(255) NOT NULL,
			message_data LONGTEXT NOT NULL,
			created_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP,
			PRIMARY KEY (id),
			FOREIGN KEY(session_id) REFERENCES {sessions} (session_id) ON DELETE CASCADE
		)` + options,
		"CREATE INDEX {time index} ON {messages} (session_id, created_at)",
	}}
}

// madeByPython has the tables of Python that the backends of a dialect may
// find.
var madeByPython = map[Dialect][]tablesOf{
	SQLite:     {bySQLiteSession, bySQLAlchemyOnSQLite},
	PostgreSQL: {bySQLAlchemyOnPostgres},
	MySQL: {
		inGeneralCI,
		forSQLAlchemyOnMySQL("utf8mb4", "utf8mb4_unicode_ci"),
		inLatin1,
	},
}

var inGeneralCI = forSQLAlchemyOnMySQL("utf8mb4", "utf8mb4_general_ci")

// inLatin1 are tables that hold envelopes, but not every item as it is.
var inLatin1 = forSQLAlchemyOnMySQL("latin1", "latin1_swedish_ci")
