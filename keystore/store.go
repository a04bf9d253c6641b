package keystore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/encsession/encsession"
)

var _ encsession.KeySource = (*Store)(nil)

// Store keeps the wrapped keys of tenants in a table. [New] makes one; the
// methods of the zero Store return errors. It implements
// [encsession.KeySource]. It is safe for concurrent use, and Stores of many
// processes may share a table.
type Store struct {
	db      *sql.DB
	dialect Dialect
	current NamedWrapper
	older   map[string]Wrapper

	tenant                   func(sessionID string) string // nil if each session is a tenant
	autoCreate               bool
	maxAge                   time.Duration // 0 without WithMaxAge
	keysTable, settingsTable string
	names                    *strings.Replacer

	mu      sync.RWMutex
	tenants map[string]*tenantKeys // a tenant that has had keys is never removed
	sweeper *time.Timer            // nil if no key is cached

	// For tests.
	skew      time.Duration      // added to the database's clock
	statement func(query string) // called before each statement; may be nil
}

// New returns a Store that uses a database. The caller opens it, with any
// driver, and closes it. The wrapper wraps new keys. New sends no statement:
// call [Store.CreateTables] next, which also checks the options against the
// bound that the database holds.
//
// It returns an error for a nil db, a Dialect that is none of the constants,
// and a nil or invalid option. It also refuses a wrapper that is nil or has no
// valid name.
func New(db *sql.DB, dialect Dialect, wrapper NamedWrapper, opts ...Option) (*Store, error) {
	s, err := newStore(db, dialect, wrapper, opts)
	return s, wrapError("New", "", err)
}

func newStore(db *sql.DB, dialect Dialect, wrapper NamedWrapper, opts []Option) (*Store, error) {
	switch {
	case db == nil:
		return nil, errors.New("db is nil")
	case dialect < SQLite || dialect > MySQL:
		return nil, fmt.Errorf("%v is not one of SQLite, PostgreSQL and MySQL", dialect)
	case isNil(wrapper):
		return nil, fmt.Errorf("wrapper %q: %w", wrapper.Name, errNoWrapper)
	}
	if err := checkName(wrapper.Name); err != nil {
		return nil, fmt.Errorf("name of the wrapper: %w", err)
	}
	s := &Store{
		db: db, dialect: dialect, current: wrapper,
		keysTable: "encsession_keys", settingsTable: "encsession_key_settings",
		older: make(map[string]Wrapper), tenants: make(map[string]*tenantKeys),
	}
	for i, opt := range opts {
		if opt == nil {
			return nil, fmt.Errorf("option %d is nil", i)
		}
		if err := opt(s); err != nil {
			return nil, fmt.Errorf("option %d: %w", i, err)
		}
	}
	if _, twice := s.older[wrapper.Name]; twice {
		return nil, fmt.Errorf("WithOlderWrappers: %q is also the name of the current wrapper: each wrapping key needs its own name", wrapper.Name)
	}
	s.names = s.newNames(s.keysTable)
	return s, nil
}

// newNames returns the replacer that puts names, and the parts that depend on
// the dialect, into statements.
func (s *Store) newNames(keysTable string) *strings.Replacer {
	return strings.NewReplacer(
		"{keys}", s.dialect.quote(keysTable),
		"{settings}", s.dialect.quote(s.settingsTable),
		"{sees changes}", s.dialect.seesChanges(),
		"{for update}", s.dialect.forUpdate(),
		"{if absent}", s.dialect.ifAbsent(),
		"{max age}", "(SELECT value FROM "+s.dialect.quote(s.settingsTable)+" WHERE name = '"+maxAgeSetting+"')",
	)
}

// check returns an error if a call cannot succeed: New has not made the Store,
// the name of the tenant is invalid, or the context has ended.
func (s *Store) check(ctx context.Context, tenant string) error {
	if s == nil || s.db == nil {
		return errors.New("this Store was not made by New")
	}
	if err := checkName(tenant); err != nil {
		return fmt.Errorf("the name of a tenant: %w", err)
	}
	return ctx.Err()
}
