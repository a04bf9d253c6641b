package keystore

import (
	"context"
	"errors"
	"fmt"
)

// maxFailures is the number of failing keys at which Rewrap gives up. A service
// that is down should not be asked ten thousand times.
const maxFailures = 10

// Rewrap wraps again, with the current wrapper, every key that another wrapper
// has wrapped. It opens these keys with the wrappers of [WithOlderWrappers]. It
// returns the number of keys that it has wrapped again.
//
// Until Rewrap has ended, every process needs both wrappers. So first give both
// to every process, the new one in WithOlderWrappers. Then make the new one the
// current one and the old one an older one. Then call Rewrap.
//
// Rewrap makes three requests for each key: to open it, to wrap it, and to open
// the result. If a key fails, Rewrap goes on to the next, and gives up at the
// tenth. It returns their errors joined. Run it again for the rest: it changes
// only the keys that are left.
//
// Before you destroy the old wrapping key, check [Store.Tenants]: every key
// that is not destroyed must name another Wrapper.
//
// Some services, such as Vault, rotate a wrapping key under one name, and wrap
// with the newest version. To leave an old version behind, give the same
// Wrapper a new name.
func (s *Store) Rewrap(ctx context.Context) (rewrapped int, err error) {
	if err := s.check(ctx, "-"); err != nil {
		return 0, wrapError("Rewrap", "", err)
	}
	var failures []error
	for r, err := range s.allRows(ctx, "k.wrapped IS NOT NULL AND k.wrapper <> ?", s.current.Name) {
		if err != nil {
			return rewrapped, wrapError("Rewrap", "", errors.Join(append(failures, err)...))
		}
		changed, err := s.rewrap(ctx, r)
		if changed {
			rewrapped++
		}
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			failures = append(failures, fmt.Errorf("tenant %q: %w", r.tenant, err))
		}
		if len(failures) == maxFailures || ctx.Err() != nil {
			break
		}
	}
	return rewrapped, wrapError("Rewrap", "", errors.Join(failures...))
}

// rewrap opens a row to verify it, and wraps its secret again. It replaces the
// row only if the row still holds the verified bytes, so it cannot undo a
// Destroy.
func (s *Store) rewrap(ctx context.Context, r listedRow) (changed bool, err error) {
	secret, err := s.unwrap(ctx, r.tenant, r.row)
	if err != nil {
		return false, err
	}
	defer clear(secret)
	wrapped, err := s.wrap(ctx, r.tenant, r.number, secret)
	if err != nil {
		return false, err
	}
	err = s.onConn(ctx, func(c conn) error {
		result, err := c.exec(ctx, "UPDATE {keys} SET wrapped = ?, wrapper = ? WHERE tenant = ? AND number = ? AND wrapped = ? AND destroyed_at IS NULL",
			wrapped, s.current.Name, r.tenant, r.number, r.wrapped)
		if err != nil {
			return err
		}
		n, err := result.RowsAffected()
		changed = n > 0
		return err
	})
	return changed, err
}
