package keystore

import (
	"context"
	"errors"
	"fmt"
)

// maxFailures is after how many keys that fail Rewrap gives up: a service that
// is down should not be asked ten thousand times.
const maxFailures = 10

// Rewrap wraps every key again that is not wrapped by the current wrapper, and
// tells how many. It needs the others in WithOlderWrappers, and so does every
// process until it has ended: first deploy the new wrapper everywhere, with the
// old one as an older one, then call Rewrap.
//
// It asks for each key three times: to open it, to wrap it, and to open what it
// has wrapped. It goes on past up to ten keys that fail, and returns their
// errors joined. Run it again for the rest; it changes only what is left.
//
// The services that rotate a wrapping key under one name, such as Vault, wrap
// with the newest version. To leave an old version behind, give the same
// Wrapper a new name.
func (s *Store) Rewrap(ctx context.Context) (rewrapped int, err error) {
	var failures []error
	for r, err := range s.allRowsToRewrap(ctx) {
		if err != nil {
			return rewrapped, wrapError("Rewrap", "", errors.Join(append(failures, err)...))
		}
		changed, err := s.rewrap(ctx, r)
		if err != nil {
			failures = append(failures, fmt.Errorf("tenant %q: %w", r.tenant, err))
		}
		if len(failures) == maxFailures || ctx.Err() != nil {
			break
		}
		if changed {
			rewrapped++
		}
	}
	return rewrapped, wrapError("Rewrap", "", errors.Join(failures...))
}

func (s *Store) allRowsToRewrap(ctx context.Context) func(func(listedRow, error) bool) {
	return func(yield func(listedRow, error) bool) {
		if err := s.check(ctx, "-"); err != nil {
			yield(listedRow{}, err)
			return
		}
		s.allRows(ctx, "k.wrapped IS NOT NULL AND k.wrapper <> ?", s.current.Name)(yield)
	}
}

// rewrap verifies a row before it replaces it, and replaces it only if it still
// holds what was verified: a Destroy meanwhile must stay.
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
