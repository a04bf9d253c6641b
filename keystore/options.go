package keystore

import (
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"
)

// Option is an option of [New]. If two options set the same thing, the later one
// counts. The nil Option is an error.
type Option func(*Store) error

// DefaultMaxAge is how long a Store uses a key without asking for it again,
// unless [WithMaxAge] says otherwise.
const DefaultMaxAge = 5 * time.Minute

const (
	minMaxAge = time.Second
	maxMaxAge = 24 * time.Hour
)

// WithMaxAge sets how long this Store uses a key without asking database and KMS
// for it again: from 1 second to 24 hours. The default is DefaultMaxAge, or the
// bound that the database holds if that is shorter.
//
// CreateTables stores the first Store's value as the bound for all. Every method
// refuses to work if WithMaxAge exceeds the bound: Rotate and Destroy count on
// it. A long one costs time after Rotate and Destroy, a short one costs requests
// to the KMS.
func WithMaxAge(d time.Duration) Option {
	return func(s *Store) error {
		if d < minMaxAge || d > maxMaxAge {
			return fmt.Errorf("WithMaxAge: %v is not from %v to %v", d, minMaxAge, maxMaxAge)
		}
		s.maxAge = d
		return nil
	}
}

// WithTenant sets the func that names the tenant of a session. Without it, each
// session is a tenant of its own, named by its ID. The func must be safe for
// concurrent use, quick, and give the same tenant for a session for ever.
func WithTenant(tenant func(sessionID string) string) Option {
	return func(s *Store) error {
		if tenant == nil {
			return errors.New("WithTenant: func is nil")
		}
		s.tenant = tenant
		return nil
	}
}

// WithAutoCreate makes Keys create a key for a tenant that has none. Without it
// such a tenant is an [ErrUnknownTenant]. With it, a lost table or a mistyped
// tenant gets new keys without a word, under which nothing old can be read.
func WithAutoCreate() Option {
	return func(s *Store) error { s.autoCreate = true; return nil }
}

// WithOlderWrappers gives the wrappers, by name, of keys that were wrapped before
// the current wrapper came. [Store.Rewrap] moves such keys to the current one.
// Several of these options add up.
func WithOlderWrappers(older map[string]Wrapper) Option {
	return func(s *Store) error {
		for name, wrapper := range older {
			if err := checkName(name); err != nil {
				return fmt.Errorf("WithOlderWrappers: name %q: %w", name, err)
			}
			if wrapper == nil {
				return fmt.Errorf("WithOlderWrappers: name %q: %w", name, errNoWrapper)
			}
			s.older[name] = wrapper
		}
		return nil
	}
}

// WithTables names the tables, which otherwise are encsession_keys and
// encsession_key_settings. The names must differ by more than case. Each must be
// an identifier: at most 63 letters, digits and underscores of ASCII, not
// starting with a digit. The tables are found as the connection finds tables
// without a schema: in PostgreSQL, by its search_path.
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

// maxIdentifier is the length that PostgreSQL cuts longer identifiers to.
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

// maxName is what a column of MySQL holds. Without strict mode, it would cut
// longer names.
const maxName = 255

// checkName refuses a tenant or the name of a wrapper that some database could
// not store as it is.
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
