package keystore

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"time"

	"github.com/encsession/encsession"
)

// KeyInfo describes a key of a tenant. Times are by the database's clock, to
// the microsecond. The time of an event that has not happened is zero.
type KeyInfo struct {
	Number      int64  // from 1 on
	Fingerprint string // as [encsession.Key.Fingerprint] returns it
	Wrapper     string // the name of the wrapper that has wrapped it

	CreatedAt   time.Time
	ActiveAt    time.Time // zero if Rotate was interrupted
	RetiredAt   time.Time
	DestroyedAt time.Time
}

func (r row) info() KeyInfo {
	return KeyInfo{r.number, r.fingerprint, r.wrapper, toTime(r.created), toTime(r.active), toTime(r.retired), toTime(r.destroyed)}
}

// newRow makes a key and wraps it. It stores nothing.
func (s *Store) newRow(ctx context.Context, tenant string, number int64) (row, error) {
	secret := make([]byte, secretSize)
	defer clear(secret)
	rand.Read(secret) // never fails
	key, err := encsession.NewKey(secret)
	if err != nil {
		return row{}, err
	}
	wrapped, err := s.wrap(ctx, tenant, number, secret)
	return row{number: number, wrapped: wrapped, wrapper: s.current.Name, fingerprint: key.Fingerprint()}, err
}

// find returns the row with a number, if the rows give keys.
func (v view) find(number int64) (row, error) {
	if err := v.judge(); err != nil {
		return row{}, err
	}
	if number < 1 || number > int64(len(v.rows)) {
		return row{}, fmt.Errorf("there is no key %d: the tenant has the keys 1 to %d", number, len(v.rows))
	}
	return v.rows[number-1], nil
}

// Create makes the first key of a tenant. The key is active at once. Create
// returns [ErrExists] if the tenant has a key. It returns
// [encsession.ErrKeyDestroyed] if the tenant was destroyed: its name cannot be
// used again.
//
// After an error of the database or the KMS, call Create again. If it then
// returns ErrExists, the first call had succeeded.
func (s *Store) Create(ctx context.Context, tenant string) (KeyInfo, error) {
	err := s.check(ctx, tenant)
	var info KeyInfo
	if err == nil {
		info, err = s.create(ctx, tenant)
	}
	if err != nil {
		return KeyInfo{}, wrapError("Create", tenant, err)
	}
	return info, nil
}

func (s *Store) create(ctx context.Context, tenant string) (KeyInfo, error) {
	v, err := s.read(ctx, tenant)
	if err != nil {
		return KeyInfo{}, err
	}
	if err := v.judge(); err == nil {
		return KeyInfo{}, ErrExists
	} else if !errors.Is(err, ErrUnknownTenant) {
		return KeyInfo{}, err
	}
	made, err := s.newRow(ctx, tenant, 1)
	if err != nil {
		return KeyInfo{}, err
	}
	// A single statement is enough: the row is the tenant's first, and so it is
	// the lock. The rows are read back, since another process may have been
	// first. No session may ever be written under a key that is not stored.
	err = s.onConn(ctx, func(c conn) error {
		_, err := c.exec(ctx, "INSERT INTO {keys} (tenant, number, wrapped, wrapper, fingerprint, created_at, active_at) "+
			"VALUES (?, 1, ?, ?, ?, {now}, {now}){if absent}", tenant, made.wrapped, made.wrapper, made.fingerprint)
		if err == nil {
			v, err = c.read(ctx, tenant)
		}
		return err
	})
	if err != nil {
		return KeyInfo{}, err
	}
	stored, err := v.find(1)
	if err == nil && !bytes.Equal(stored.wrapped, made.wrapped) {
		err = ErrExists
	}
	return stored.info(), err
}

// Rotate makes a new key for a tenant. The tenant's newest key must have the
// expected number; otherwise Rotate returns an [ErrConflict]. So two processes
// that rotate at once make one new key.
//
// The new key becomes current in every process at the ActiveAt of the result:
// when the bound on the age of keys and 60 seconds have passed. Until then,
// Keys returns it among the older ones. So every process knows it before the
// first one seals under it.
//
// After an error, call Rotate again with the same number: it goes on from where
// it was. When the new key is current, seal the sessions again with fleet.Rekey
// and fleet.WithManagedKeys. Then [Store.Retire] the old key.
func (s *Store) Rotate(ctx context.Context, tenant string, expected int64) (KeyInfo, error) {
	err := s.check(ctx, tenant)
	var info KeyInfo
	if err == nil {
		info, err = s.rotate(ctx, tenant, expected)
	}
	if err != nil {
		return KeyInfo{}, wrapError("Rotate", tenant, err)
	}
	return info, nil
}

func (s *Store) rotate(ctx context.Context, tenant string, expected int64) (KeyInfo, error) {
	v, err := s.read(ctx, tenant)
	if err == nil {
		err = v.judge()
	}
	if err != nil {
		return KeyInfo{}, err
	}
	number := expected + 1
	if newest := v.newest(); newest.number == number && newest.active == 0 {
		// Another Rotate was killed between its two steps, or is between them
		// now. Its key must open.
		secret, err := s.unwrap(ctx, tenant, newest)
		if err != nil {
			return KeyInfo{}, err
		}
		clear(secret)
	} else if err := s.addRow(ctx, tenant, v, expected); err != nil {
		return KeyInfo{}, err
	}

	// The second step is a statement of its own, which the database begins after
	// others could see the row. If one transaction did both steps, its commit
	// could be held up. By then the time that it stores would be near or past,
	// and the key would be in use before all processes know it.
	err = s.onConn(ctx, func(c conn) error {
		_, err := c.exec(ctx, "UPDATE {keys} SET active_at = {now} + ? + {max age} "+
			"WHERE tenant = ? AND number = ? AND active_at IS NULL AND destroyed_at IS NULL", margin.Microseconds(), tenant, number)
		if err == nil {
			v, err = c.read(ctx, tenant)
		}
		return err
	})
	if err != nil {
		return KeyInfo{}, err
	}
	s.forget(tenant)
	stored, err := v.find(number)
	return stored.info(), err
}

// addRow stores a new key, which is not active yet.
func (s *Store) addRow(ctx context.Context, tenant string, v view, expected int64) error {
	conflict := func(v view) error {
		if newest := v.newest().number; newest != expected {
			return fmt.Errorf("%w: it is key %d, not %d", ErrConflict, newest, expected)
		}
		return nil
	}
	if err := conflict(v); err != nil {
		return err
	}
	made, err := s.newRow(ctx, tenant, expected+1)
	if err != nil {
		return err
	}
	return s.inTransaction(ctx, func(c conn) error {
		v, err := c.lockAndRead(ctx, tenant)
		if err == nil {
			err = v.judge()
		}
		if err == nil {
			err = conflict(v)
		}
		if err == nil {
			_, err = c.exec(ctx, "INSERT INTO {keys} (tenant, number, wrapped, wrapper, fingerprint, created_at) VALUES (?, ?, ?, ?, ?, {now})",
				tenant, made.number, made.wrapped, made.wrapper, made.fingerprint)
		}
		return err
	})
}

// Retire takes a key out of the keyrings that Keys returns. This holds in every
// process when the bound on the age of keys has passed. Reads then drop the
// items that are still sealed under the key, so first rekey and audit all
// sessions of the tenant. The wrapped key is kept, and [Store.Unretire] takes
// it back.
//
// Retire returns an [ErrInUse] unless a newer key has been active for 60
// seconds.
func (s *Store) Retire(ctx context.Context, tenant string, number int64) error {
	return s.setRetired(ctx, "Retire", tenant, number, "COALESCE(retired_at, {now})", func(v view) error {
		for _, r := range v.rows[number:] {
			if r.active != 0 && r.active <= v.now-margin.Microseconds() {
				return nil
			}
		}
		return fmt.Errorf("key %d: %w: no newer key has been active for %v", number, ErrInUse, margin)
	})
}

// Unretire takes back a [Store.Retire].
func (s *Store) Unretire(ctx context.Context, tenant string, number int64) error {
	return s.setRetired(ctx, "Unretire", tenant, number, "NULL", func(view) error { return nil })
}

func (s *Store) setRetired(ctx context.Context, method, tenant string, number int64, value string, allowed func(view) error) error {
	err := s.check(ctx, tenant)
	if err == nil {
		err = s.inTransaction(ctx, func(c conn) error {
			v, err := c.lockAndRead(ctx, tenant)
			if err == nil {
				_, err = v.find(number)
			}
			if err == nil {
				err = allowed(v)
			}
			if err == nil {
				_, err = c.exec(ctx, "UPDATE {keys} SET retired_at = "+value+" WHERE tenant = ? AND number = ?", tenant, number)
			}
			return err
		})
	}
	if err == nil {
		s.forget(tenant)
	}
	return wrapError(method, tenant, err)
}

// Destroy erases all keys of a tenant, for good. Items that were sealed under
// them can never be read again, and every call that asks for the keys gets an
// [encsession.ErrKeyDestroyed]. An unknown tenant is destroyed too, so that
// nobody can create it afterwards. If the tenant is destroyed already, nothing
// changes.
//
// Destroy returns the time from which this holds in every process, by the
// database's clock. Until then, a process may use keys that it has in memory. A
// call that has its keys already may end later. After an error the keys may be
// erased or not: call Destroy again.
//
// Destroy erases only the rows of this table. A backup of the table still opens
// as long as its wrapping key exists; docs/keys.md describes the remedies.
// Record [Store.Ledger] outside of the database, for [Store.Reapply].
func (s *Store) Destroy(ctx context.Context, tenant string) (time.Time, error) {
	err := s.check(ctx, tenant)
	var from time.Time
	if err == nil {
		from, err = s.destroy(ctx, tenant)
	}
	return from, wrapError("Destroy", tenant, err)
}

func (s *Store) destroy(ctx context.Context, tenant string) (from time.Time, err error) {
	if _, err := s.read(ctx, tenant); err != nil { // such as a bound that does not fit
		return time.Time{}, err
	}
	err = s.inTransaction(ctx, func(c conn) error {
		// For an unknown tenant, this row is the tombstone. Then the lock is
		// taken. A Rotate under way has added its row by then, or finds the
		// tenant destroyed.
		_, err := c.exec(ctx, "INSERT INTO {keys} (tenant, number, wrapper, fingerprint, created_at, destroyed_at) VALUES (?, 1, '', '', {now}, {now}){if absent}", tenant)
		if err == nil {
			err = c.lock(ctx, tenant)
		}
		if err == nil {
			_, err = c.exec(ctx, "UPDATE {keys} SET wrapped = NULL, destroyed_at = COALESCE(destroyed_at, {now}) WHERE tenant = ?", tenant)
		}
		return err
	})
	if err != nil {
		return time.Time{}, err
	}
	// The time is taken after the commit, which may have been held up.
	err = s.onConn(ctx, func(c conn) error {
		if s.dialect == SQLite {
			// The write-ahead log may still hold the old row. If another client
			// is in the way, SQLite empties the log later.
			if _, err := c.exec(ctx, "PRAGMA wal_checkpoint(TRUNCATE)"); err != nil && ctx.Err() != nil {
				return err
			}
		}
		v, err := c.read(ctx, tenant)
		if err != nil {
			return err
		}
		from = toTime(v.now).Add(v.bound)
		err = v.judge()
		if !errors.Is(err, encsession.ErrKeyDestroyed) {
			return fmt.Errorf("rows of the tenant changed at the same time (%v): destroy it again", err)
		}
		t := s.tenantKeys(tenant)
		t.destroyed.Store(&err)
		t.cached.Store(nil)
		return nil
	})
	return from, err
}

// ExportKey returns a key of a tenant as text. It is for a Python service that
// works on sessions of the tenant: EncryptedSession of the OpenAI Agents SDK
// for Python reads it, and so does [encsession.ParseKey].
//
// No other method knows of this copy. Destroy does not reach it, and whoever
// has it can read everything that was sealed under the key. Python works with
// one key at a time; docs/keys.md describes a rotation with Python.
func (s *Store) ExportKey(ctx context.Context, tenant string, number int64) (string, error) {
	err := s.check(ctx, tenant)
	var key string
	if err == nil {
		key, err = s.exportKey(ctx, tenant, number)
	}
	return key, wrapError("ExportKey", tenant, err)
}

func (s *Store) exportKey(ctx context.Context, tenant string, number int64) (string, error) {
	v, err := s.read(ctx, tenant)
	if err != nil {
		return "", err
	}
	r, err := v.find(number)
	if err != nil {
		return "", err
	}
	secret, err := s.unwrap(ctx, tenant, r)
	defer clear(secret)
	return base64.URLEncoding.EncodeToString(secret), err
}
