package sqlstore

import (
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
)

// Item is one item of a conversation: a JSON text in UTF-8. It is the same type
// as [encsession.Item].
type Item = json.RawMessage

// Store keeps sessions in two tables of a database. [New] makes one; the zero
// Store returns errors. A Store is safe for concurrent use. Several Stores, in
// one or in many processes, may share a database.
type Store struct {
	db       *sql.DB
	database database
	tables   tables

	// found says how the tables were made. It is nil until the first call that
	// finds them.
	found atomic.Pointer[layout]
}

// New returns a Store on a database that the caller has opened with a driver of
// its choice. The caller also closes it. New does not use the database:
// [Store.CreateTables] creates the tables if they are missing.
//
// New refuses a nil db, a Dialect that is none of the constants, and a nil or
// invalid option.
func New(db *sql.DB, dialect Dialect, opts ...Option) (*Store, error) {
	s, err := newStore(db, dialect, opts)
	if err != nil {
		return nil, fmt.Errorf("sqlstore: New: %w", err)
	}
	return s, nil
}

func newStore(db *sql.DB, dialect Dialect, opts []Option) (*Store, error) {
	if db == nil {
		return nil, errors.New("db is nil")
	}
	c := config{dialect: dialect, sessions: "agent_sessions", messages: "agent_messages"}
	for i, opt := range opts {
		if opt == nil {
			return nil, fmt.Errorf("option %d is nil", i)
		}
		if err := opt(&c); err != nil {
			return nil, fmt.Errorf("option %d: %w", i, err)
		}
	}
	s := &Store{db: db}
	switch dialect {
	case SQLite:
		lite := &sqlite{db: db}
		lite.modeIsSet.Store(c.withoutWAL)
		s.database = lite
	case PostgreSQL:
		s.database = postgres{}
	case MySQL:
		s.database = new(mysql)
	default:
		return nil, fmt.Errorf("%v is not one of SQLite, PostgreSQL and MySQL", dialect)
	}
	s.tables = newTables(s.database, c)
	return s, nil
}

// Session returns a handle on the session with this ID. Sessions need not be
// created: one without items is empty. If the database cannot hold the ID, the
// methods of the handle return an error.
func (s *Store) Session(sessionID string) *Session {
	return &Session{store: s, id: sessionID}
}

// Option is an option of [New]. If two options set the same thing, the later
// one counts. A nil Option is an error.
type Option func(*config) error

type config struct {
	dialect            Dialect
	schema             string
	sessions, messages string
	withoutWAL         bool
}

// WithTables names the tables. Without it they are agent_sessions and
// agent_messages, as in Python. The names must differ by more than case. Each
// must be an identifier: at most 63 letters, digits and underscores of ASCII,
// not starting with a digit.
//
// Without [WithSchema], the statements name no schema. The connection then
// finds the tables by itself: in PostgreSQL, by its search_path.
func WithTables(sessions, messages string) Option {
	return func(c *config) error {
		for _, name := range []string{sessions, messages} {
			if !isIdentifier(name) {
				return fmt.Errorf("table name %q is not an identifier", name)
			}
		}
		if strings.EqualFold(sessions, messages) {
			return fmt.Errorf("both tables have the name %q", messages)
		}
		c.sessions, c.messages = sessions, messages
		return nil
	}
}

// WithSchema names the schema of the tables in PostgreSQL, and the database
// that holds them in MySQL. The schema must exist. Poolers do not pass on a
// search_path, so behind a pooler this option is needed for tables outside the
// role's own schema.
//
// The name has at most 63 letters, digits, underscores and hyphens of ASCII.
// SQLite has no schemas, so the option is an error there.
func WithSchema(name string) Option {
	return func(c *config) error {
		if c.dialect == SQLite {
			return errors.New("SQLite has no schemas")
		}
		if !isName(name) {
			return fmt.Errorf("schema %q is not a name of at most %d letters, digits, underscores and hyphens", name, maxIdentifier)
		}
		c.schema = name
		return nil
	}
}

// WithoutWAL leaves the journal mode of a SQLite file as it is. Network file
// systems need it, because they cannot have WAL. Readers and writers then wait
// for one another. With other databases the option is an error.
func WithoutWAL() Option {
	return func(c *config) error {
		if c.dialect != SQLite {
			return fmt.Errorf("%v has no journal mode", c.dialect)
		}
		c.withoutWAL = true
		return nil
	}
}
