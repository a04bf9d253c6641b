package keystore

import (
	"errors"
	"fmt"

	"github.com/encsession/encsession"
)

// The errors that callers test for with [errors.Is]. For a destroyed tenant,
// methods return [encsession.ErrKeyDestroyed]. Errors of the database and of a
// [Wrapper] are wrapped as they are. They are outages, and say nothing about a
// key.
var (
	// ErrUnknownTenant is returned for a tenant that has no key. [Store.Create]
	// makes one. If the tenant should have keys, the Store works on the wrong
	// database or schema, or its table was lost.
	ErrUnknownTenant = errors.New("tenant is unknown")

	// ErrExists is returned by Create for a tenant that has a key.
	ErrExists = errors.New("tenant has a key already")

	// ErrConflict is returned by Rotate if the newest key is not the expected
	// one: for example, because another process has rotated.
	ErrConflict = errors.New("newest key is not the expected one")

	// ErrInUse is returned by Retire if a process may still seal under the key.
	ErrInUse = errors.New("key is still in use")

	// ErrAltered is returned for rows that the methods of Store cannot have
	// stored. They were altered, copied, renumbered or deleted.
	ErrAltered = errors.New("row was altered")
)

// wrapError adds the method and the tenant to an error.
func wrapError(method, tenant string, err error) error {
	switch {
	case err == nil:
		return nil
	case tenant == "":
		return fmt.Errorf("keystore: %s: %w", method, err)
	}
	return fmt.Errorf("keystore: %s: tenant %q: %w", method, tenant, err)
}

// final reports whether an error means that the keys in memory must not be used
// any more. Any other error says only that the keys cannot be read now.
func final(err error) bool {
	for _, reason := range []error{encsession.ErrKeyDestroyed, ErrUnknownTenant, ErrAltered, errBound} {
		if errors.Is(err, reason) {
			return true
		}
	}
	return false
}
