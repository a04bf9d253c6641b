package sqlstore

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"unicode"
)

// Error numbers of MySQL and MariaDB for conflicts with other clients.
const (
	mysqlLockWaitTimeout = 1205
	mysqlDeadlock        = 1213
	mysqlRecordChanged   = 1020 // MariaDB 11 sees that another transaction has changed a row
)

const (
	mysqlStatementBinlog = 1665 // the binary log cannot hold changes under READ COMMITTED
	mysqlOutOfRange      = 1690
)

type mysql struct {
	repeatable atomic.Bool // whether the binary log wants REPEATABLE READ
}

func (*mysql) quote(identifier string) string { return "`" + identifier + "`" }

func (*mysql) placeholders(query string) string { return query }

// bytes gives the bytes in the character set of the connection. A collation
// would not do: in MySQL 5.7, the one that compares bytes ignores spaces at the
// end.
func (*mysql) bytes(column string) string {
	return "CAST(CONVERT(" + column + " USING utf8mb4) AS BINARY)"
}

// compared gives the SHA-256, in hexadecimal digits. A statement that replaces
// an item holds the new one too, and two items may be too large for a packet of
// the server.
func (d *mysql) compared() (column string, of func(Item) string) {
	return "SHA2(" + d.bytes("message_data") + ", 256)", func(item Item) string {
		return fmt.Sprintf("%x", sha256.Sum256(item))
	}
}

func (*mysql) isText(column string) string { return column + " IS NOT NULL" }

// checked compares the settings of the connection. If one is wrong, the server
// evaluates EXP(710), which is an error.
func (*mysql) checked() string {
	return " AND IF(@@character_set_client = 'utf8mb4' AND @@character_set_results = 'utf8mb4' AND " +
		"@@collation_connection LIKE 'utf8mb4%', TRUE, EXP(710))"
}

func (*mysql) upsert() string {
	return "INSERT INTO {sessions} (session_id) VALUES (?) ON DUPLICATE KEY UPDATE updated_at = CURRENT_TIMESTAMP"
}

func (*mysql) lock() string { return "SELECT 1 FROM {sessions} WHERE session_id = ? FOR UPDATE" }

// begin asks for READ COMMITTED, not for the default, REPEATABLE READ. Under
// the default, a transaction would go on seeing the state from before it got
// the lock. The default also locks gaps between rows, so that clients run into
// deadlocks.
//
// A server with binlog_format=STATEMENT takes nothing but the default. The
// store works with that too: it takes the lock first. If another client changes
// something later, the store notices that and tries again.
func (d *mysql) begin() []string {
	level := "READ COMMITTED"
	if d.repeatable.Load() {
		level = "REPEATABLE READ"
	}
	return []string{"SET TRANSACTION ISOLATION LEVEL " + level, "START TRANSACTION"}
}

func (*mysql) prepare(context.Context, *sql.Conn, int) error { return nil }

// isClean returns false: ROLLBACK fails only if the connection is broken.
func (*mysql) isClean(context.Context, *sql.Conn) bool { return false }

func (d *mysql) inspect(ctx context.Context, conn *sql.Conn, t tables) (layout, error) {
	var maxPacket int64
	var autocommit bool
	err := conn.QueryRowContext(ctx, "SELECT @@max_allowed_packet, @@autocommit WHERE TRUE"+d.checked()).
		Scan(&maxPacket, &autocommit)
	if err != nil {
		return layout{}, err
	}
	if !autocommit {
		// A connection would go on reading the state that it has seen first.
		return layout{}, fmt.Errorf("autocommit is off: add autocommit=1 to the DSN: %w", errors.ErrUnsupported)
	}
	sessions, err := d.columns(ctx, conn, t, t.sessions, "session_id")
	if err != nil {
		return layout{}, err
	}
	messages, err := d.columns(ctx, conn, t, t.messages, "session_id", "message_data")
	if err != nil {
		return layout{}, err
	}
	if err := d.checkID(ctx, conn, t); err != nil {
		return layout{}, err
	}
	byTime, err := d.byTime(ctx, conn, t)
	if err != nil {
		return layout{}, err
	}
	ahead, err := d.ahead(ctx, conn, t)
	if err != nil {
		return layout{}, err
	}
	times, err := d.times(ctx, conn, t)
	if err != nil {
		return layout{}, err
	}
	data := messages[1]
	// Besides the item, a packet holds the session ID and some bytes of the
	// protocol.
	data.maxBytes = min(data.maxBytes, max(maxPacket-4096, 1))
	return layout{
		ids:         []column{sessions[0], messages[0]},
		data:        data,
		newestFirst: "created_at DESC, id DESC",
		ahead:       ahead,
		values:      true,
		times:       times,
		// A TIMESTAMP may have been made ON UPDATE CURRENT_TIMESTAMP.
		keepTime: "created_at = created_at, ",
		parts:    []part{byTime, byID(" AND created_at IS NULL")},
	}, nil
}

// byTime returns the part of the messages that have a time. They are read
// through the index of the time, if there is one. Without the hint, MariaDB
// would use that index only to find the session. For each page, it would then
// read all rows from the newest one on.
func (*mysql) byTime(ctx context.Context, conn *sql.Conn, t tables) (part, error) {
	const query = `
		SELECT index_name FROM information_schema.statistics
		WHERE table_schema = COALESCE(?, DATABASE()) AND table_name = ? AND index_type = 'BTREE'
		GROUP BY index_name
		HAVING SUM(seq_in_index = 1 AND column_name = 'session_id') = 1 AND SUM(seq_in_index = 2 AND column_name = 'created_at') = 1
		ORDER BY index_name LIMIT 1`
	byTime := byTime(" AND created_at IS NOT NULL", "CAST(created_at AS CHAR)", "?")
	// In other zones, two times of an autumn night are the same text.
	byTime.before = "SET @encsession_zone = @@time_zone, time_zone = '+00:00'"
	byTime.after = "SET time_zone = @encsession_zone"
	// A comparison of rows would not go through the index.
	byTime.behind = func(created any, id int64) (string, []any) {
		return " AND (created_at < ? OR created_at = ? AND id < ?)", []any{created, created, id}
	}
	var index string
	err := conn.QueryRowContext(ctx, query, t.schemaOrNil(), t.messages).Scan(&index)
	if errors.Is(err, sql.ErrNoRows) {
		return byTime, nil
	}
	byTime.hint = " FORCE INDEX (`" + strings.ReplaceAll(index, "`", "``") + "`)"
	return byTime, err
}

// checkID refuses IDs that are not integers: they would sort in another order,
// and errors would quote them.
func (d *mysql) checkID(ctx context.Context, conn *sql.Conn, t tables) error {
	typ, _, err := d.column(ctx, conn, t, t.messages, "id")
	if err == nil && !slices.Contains([]string{"tinyint", "smallint", "mediumint", "int", "bigint"}, typ) {
		return unfitID(t.messages, typ)
	}
	return err
}

// mysqlClock matches the defaults of created_at that can be compared to it.
var mysqlClock = regexp.MustCompile(`(?i)^(current_timestamp|utc_timestamp)(\([0-6]?\))?$`)

// ahead returns the condition of layout.ahead, which compares created_at to the
// clock. A TIMESTAMP is compared without a time zone: in the hour of autumn
// that comes twice, one local time stands for two moments. A DATETIME is a
// local time and nothing else, so it is compared as such.
func (d *mysql) ahead(ctx context.Context, conn *sql.Conn, t tables) (string, error) {
	typ, value, err := d.column(ctx, conn, t, t.messages, "created_at")
	if err != nil {
		return "", err
	}
	switch {
	case !value.Valid || strings.EqualFold(value.String, "NULL"):
		// NULL sorts before all times.
		return "created_at IS NOT NULL", nil
	case typ == "timestamp":
		return "UNIX_TIMESTAMP(created_at) > UNIX_TIMESTAMP()", nil
	case mysqlClock.MatchString(value.String):
		return "created_at > " + value.String, nil
	}
	return "created_at > CURRENT_TIMESTAMP", nil
}

// times returns the expressions for the times of a session. UNIX_TIMESTAMP
// gives 0 for a time that it does not know.
func (d *mysql) times(ctx context.Context, conn *sql.Conn, t tables) (string, error) {
	return sessionTimes(func(column string) (string, error) {
		typ, _, err := d.column(ctx, conn, t, t.sessions, column)
		if err != nil || typ != "timestamp" && typ != "datetime" {
			return "NULL", err
		}
		return "NULLIF(CAST(UNIX_TIMESTAMP(" + column + ") * 1000000 AS SIGNED), 0)", nil
	})
}

// column returns the type of a column and its default.
func (*mysql) column(ctx context.Context, conn *sql.Conn, t tables, table, name string) (typ string, value sql.NullString, err error) {
	err = conn.QueryRowContext(ctx, `
		SELECT LOWER(data_type), column_default FROM information_schema.columns
		WHERE table_schema = COALESCE(?, DATABASE()) AND table_name = ? AND column_name = ?`,
		t.schemaOrNil(), table, name).Scan(&typ, &value)
	if errors.Is(err, sql.ErrNoRows) {
		err = missingColumn{table, name}
	}
	return typ, value, err
}

// columns describes columns of a table. It refuses tables without transactions,
// and types of text that lose spaces at the end.
func (*mysql) columns(ctx context.Context, conn *sql.Conn, t tables, table string, names ...string) ([]column, error) {
	const query = `
		SELECT columns.data_type, columns.character_maximum_length, columns.character_octet_length,
			COALESCE(columns.character_set_name, ''), COALESCE(engines.transactions, ''), COALESCE(tables.engine, '')
		FROM information_schema.columns AS columns
		JOIN information_schema.tables AS tables USING (table_schema, table_name)
		LEFT JOIN information_schema.engines AS engines ON engines.engine = tables.engine
		WHERE columns.table_schema = COALESCE(?, DATABASE()) AND columns.table_name = ? AND columns.column_name = ?`
	var exists bool // asked first: another client may be creating the table
	err := conn.QueryRowContext(ctx, "SELECT COUNT(*) > 0 FROM information_schema.tables WHERE table_schema = COALESCE(?, DATABASE()) AND table_name = ?",
		t.schemaOrNil(), table).Scan(&exists)
	if err == nil && !exists {
		err = missingTable(table)
	}
	if err != nil {
		return nil, err
	}
	var columns []column
	for _, name := range names {
		var typ, charset, transactions, engine string
		var maxChars, maxBytes sql.NullInt64
		err := conn.QueryRowContext(ctx, query, t.schemaOrNil(), table, name).
			Scan(&typ, &maxChars, &maxBytes, &charset, &transactions, &engine)
		switch {
		case errors.Is(err, sql.ErrNoRows):
			return nil, missingColumn{table, name}
		case err != nil:
			return nil, err
		case transactions == "NO":
			return nil, fmt.Errorf("table %s has engine %s, which has no transactions: %w",
				table, engine, errors.ErrUnsupported)
		case !slices.Contains([]string{"varchar", "text", "mediumtext", "longtext"}, strings.ToLower(typ)):
			return nil, fmt.Errorf("column %s of table %s has type %s, not VARCHAR or a type of TEXT: %w",
				name, table, typ, errors.ErrUnsupported)
		}
		columns = append(columns, column{
			maxChars: maxChars.Int64,
			maxBytes: maxBytes.Int64,
			holds:    mysqlRepertoire(charset),
			charset:  charset,
		})
	}
	return columns, nil
}

// mysqlRepertoire returns a function that reports whether a character set
// surely holds a character. It returns nil if the set holds all.
func mysqlRepertoire(charset string) func(rune) bool {
	switch charset {
	case "utf8mb4":
		return nil
	case "utf8mb3", "utf8":
		return func(r rune) bool { return r <= 0xffff }
	}
	return func(r rune) bool { return r <= unicode.MaxASCII }
}

func (d *mysql) create(ctx context.Context, conn *sql.Conn, t tables) error {
	collation, err := d.collation(ctx, conn)
	if err != nil {
		return err
	}
	options := ") ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE " + collation
	return t.exec(ctx, conn, `CREATE TABLE IF NOT EXISTS {sessions} (
	session_id VARCHAR(255) NOT NULL PRIMARY KEY,
	created_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP,
	updated_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP
`+options,
		// InnoDB adds the id to the index.
		`CREATE TABLE IF NOT EXISTS {messages} (
	id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
	session_id VARCHAR(255) NOT NULL,
	message_data LONGTEXT NOT NULL,
	created_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP,
	INDEX {time index} (session_id, created_at),
	CONSTRAINT {foreign key} FOREIGN KEY (session_id) REFERENCES {sessions} (session_id) ON DELETE CASCADE
`+options)
}

// collation returns the server's bytewise collation that does not ignore spaces
// at the end: that of MariaDB or of MySQL 8. MySQL 5.7 has none. There, two IDs
// that differ only by such spaces share their row in {sessions}.
func (*mysql) collation(ctx context.Context, conn *sql.Conn) (string, error) {
	var name string
	err := conn.QueryRowContext(ctx, `
		SELECT collation_name FROM information_schema.collations
		WHERE collation_name IN ('utf8mb4_nopad_bin', 'utf8mb4_0900_bin')
		ORDER BY collation_name DESC LIMIT 1`).Scan(&name)
	if errors.Is(err, sql.ErrNoRows) {
		return "utf8mb4_bin", nil
	}
	return name, err
}

func (d *mysql) attempts(err error) int {
	switch number, _ := intField(err, "Number"); number {
	case mysqlDeadlock, mysqlRecordChanged:
		return maxAttempts
	case mysqlLockWaitTimeout:
		return lockAttempts
	case mysqlStatementBinlog:
		d.repeatable.Store(true)
		return 2
	}
	return 1
}

func (*mysql) refuse(err error) error {
	if number, _ := intField(err, "Number"); number != mysqlOutOfRange || !strings.Contains(err.Error(), "exp(710)") {
		return nil
	}
	return fmt.Errorf("the connection's character set is not utf8mb4: add charset=utf8mb4 to the DSN, and set no other "+
		"character_set_client, character_set_results or collation_connection: %w", errors.ErrUnsupported)
}
