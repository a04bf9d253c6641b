package sqlstore

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"sync"
)

// maxIdentifier is the length to which PostgreSQL cuts longer identifiers.
// MySQL takes one character more.
const maxIdentifier = 63

// tables holds the names of the tables, and fills them into statements.
type tables struct {
	schema             string // empty if the connection finds the tables by itself
	sessions, messages string
	database           database
	names              *strings.Replacer
	filled             *sync.Map // the statements that fill has made, by their texts
}

func newTables(d database, c config) tables {
	t := tables{
		schema:   c.schema,
		sessions: c.sessions,
		messages: c.messages,
		database: d,
		filled:   new(sync.Map),
	}
	t.names = strings.NewReplacer(
		"{sessions}", t.name(c.sessions),
		"{messages}", t.name(c.messages),
		// The indexes have the names that Python gives them.
		"{id index}", d.quote(cut("idx_"+c.messages+"_session_id")),
		"{time index}", d.quote(cut("idx_"+c.messages+"_session_time")),
		"{foreign key}", d.quote(cut("fk_"+c.messages)),
		// An index of the column serves the first comparison, whatever its
		// collation. The second one tells apart IDs that this collation treats
		// as equal.
		"{same ID}", "session_id = ? AND "+d.bytes("session_id")+" = ?"+d.checked(),
		"{checked}", d.checked(),
	)
	return t
}

// name returns a table's name as it is written in a statement.
func (t tables) name(table string) string {
	if t.schema == "" {
		return t.database.quote(table)
	}
	return t.database.quote(t.schema) + "." + t.database.quote(table)
}

// schemaOrNil returns the schema as a parameter of a statement. NULL stands for
// the schema of the connection.
func (t tables) schemaOrNil() any {
	if t.schema == "" {
		return nil
	}
	return t.schema
}

// cut shortens a name that is made from a table's name. Different names stay
// different.
func cut(name string) string {
	if len(name) <= maxIdentifier {
		return name
	}
	sum := sha256.Sum256([]byte(name))
	suffix := "_" + hex.EncodeToString(sum[:8])
	return name[:maxIdentifier-len(suffix)] + suffix
}

// fill makes a statement of a text. In the text, a name in braces stands for a
// table, for something that belongs to it, or for one of two conditions. Every
// parameter is a question mark. {same ID} has two parameters, both the session
// ID. It includes {checked}, which begins with AND.
//
// A text holds no values, so a Store has few of them, and fill keeps each
// statement that it has made.
func (t tables) fill(query string) string {
	if statement, ok := t.filled.Load(query); ok {
		return statement.(string)
	}
	statement := t.database.placeholders(t.names.Replace(query))
	t.filled.Store(query, statement)
	return statement
}

// exec executes statements without parameters.
func (t tables) exec(ctx context.Context, conn *sql.Conn, statements ...string) error {
	for _, statement := range statements {
		if _, err := conn.ExecContext(ctx, t.fill(statement)); err != nil {
			return err
		}
	}
	return nil
}

// CreateTables creates the two tables, and the index that reading needs, if
// they are missing. It leaves existing tables as they are, including those that
// Python made.
func (s *Store) CreateTables(ctx context.Context) error {
	if err := s.check(ctx); err != nil {
		return fmt.Errorf("sqlstore: CreateTables: %w", err)
	}
	err := s.onConnection(ctx, func(conn *sql.Conn) error {
		var missing missingTable
		if _, err := s.database.inspect(ctx, conn, s.tables); !errors.As(err, &missing) {
			// If the tables exist, err is nil: no right to create tables is
			// needed.
			return err
		}
		err := s.inTransaction(ctx, conn, func() error {
			return s.database.create(ctx, conn, s.tables)
		})
		if err == nil { // one of them may have been there, and may not fit
			_, err = s.database.inspect(ctx, conn, s.tables)
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("sqlstore: CreateTables: %w", err)
	}
	return nil
}

func isIdentifier(name string) bool {
	if name == "" || len(name) > maxIdentifier {
		return false
	}
	for i := range len(name) {
		switch c := name[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', c == '_':
		case '0' <= c && c <= '9' && i > 0:
		default:
			return false
		}
	}
	return true
}

// isName reports whether a schema may have this name.
func isName(name string) bool {
	for _, c := range []byte(name) {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '_' && c != '-' {
			return false
		}
	}
	return name != "" && len(name) <= maxIdentifier
}
