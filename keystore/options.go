package keystore

import (
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"
)

// Option is an option of [New]. If two options set the same thing, the later
// one counts. The nil Option is an error.
type Option func(*Store) error

// DefaultMaxAge is the longest time for which a Store uses a key without asking
// for it again, unless [WithMaxAge] sets another.
const DefaultMaxAge = 5 * time.Minute

const (
	minMaxAge = time.Second
	maxMaxAge = 24 * time.Hour
)

// WithMaxAge sets how long this Store uses a key before it asks the database
// and the KMS again: from 1 second to 24 hours. Without this option, it is the
// shorter of [DefaultMaxAge] and the bound that the database holds.
//
// CreateTables of the first Store stores this value as the bound for all
// Stores, since Rotate and Destroy rely on it. If the value of a Store exceeds
// the bound, its methods return an error, except Tenants, Ledger and Rewrap.
//
// A long bound means a long wait after Rotate and Destroy. A short one means
// more requests to the KMS.
func WithMaxAge(d time.Duration) Option {
	return func(s *Store) error {
		if d < minMaxAge || d > maxMaxAge {
			return fmt.Errorf("WithMaxAge: %v is not from %v to %v", d, minMaxAge, maxMaxAge)
		}
		s.maxAge = d
		return nil
	}
}

// WithTenant sets the func that returns the tenant of a session. Without it,
// each session is a tenant of its own, named by the session ID. The func must
// be quick and safe for concurrent use. It must always return the same tenant
// for a session.
func WithTenant(tenant func(sessionID string) string) Option {
	return func(s *Store) error {
		if tenant == nil {
			return errors.New("WithTenant: func is nil")
		}
		s.tenant = tenant
		return nil
	}
}

// WithAutoCreate makes Keys create a key for a tenant that has none. Without
// it, such a tenant is an [ErrUnknownTenant]. With it, a lost table or a
// mistyped tenant silently gets new keys, which can read nothing old.
func WithAutoCreate() Option {
	return func(s *Store) error { s.autoCreate = true; return nil }
}

// WithOlderWrappers gives earlier wrappers, by name. The Store uses them to
// open keys that they have wrapped. [Store.Rewrap] wraps such keys again with
// the current wrapper. Several of these options add up.
func WithOlderWrappers(older map[string]Wrapper) Option {
	return func(s *Store) error {
		for name, wrapper := range older {
			if err := checkName(name); err != nil {
				return fmt.Errorf("WithOlderWrappers: name %q: %w", name, err)
			}
			if isNil(wrapper) {
				return fmt.Errorf("WithOlderWrappers: name %q: %w", name, errNoWrapper)
			}
			s.older[name] = wrapper
		}
		return nil
	}
}

// WithTables sets the names of the two tables. The defaults are encsession_keys
// and encsession_key_settings. The names must differ by more than case. Each
// must be an identifier: at most 63 letters, digits and underscores of ASCII,
// not starting with a digit. The connection must find the tables without a
// schema: in PostgreSQL, by its search_path.
func WithTables(keys, settings string) Option {
	return func(s *Store) error {
		for _, name := range []string{keys, settings} {
			if !isIdentifier(name) {
				return fmt.Errorf("WithTables: %q is not an identifier", name)
			}
		}
		if strings.EqualFold(keys, settings) {
			return fmt.Errorf("WithTables: both tables have the name %q", settings)
		}
		s.keysTable, s.settingsTable = keys, settings
		return nil
	}
}

// maxIdentifier is the length to which PostgreSQL cuts longer identifiers.
const maxIdentifier = 63

func isIdentifier(name string) bool {
	for i, c := range []byte(name) {
		letter := 'a' <= c|0x20 && c|0x20 <= 'z' || c == '_'
		if !letter && (c < '0' || c > '9' || i == 0) {
			return false
		}
	}
	return name != "" && len(name) <= maxIdentifier
}

// maxName is the size of a column for names in MySQL, in bytes. Without strict
// mode, MySQL would cut longer names.
const maxName = 255

// checkName refuses the name of a tenant or of a wrapper if some database could
// not store it as it is.
func checkName(name string) error {
	switch {
	case name == "":
		return errors.New("it is empty")
	case len(name) > maxName:
		return fmt.Errorf("it has %d bytes, and at most %d can be stored", len(name), maxName)
	case !utf8.ValidString(name):
		return errors.New("it is not UTF-8")
	case strings.ContainsRune(name, 0):
		return errors.New("it holds U+0000")
	}
	return nil
}
