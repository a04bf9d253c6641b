package keystore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/encsession/encsession"
)

// TenantInfo describes a tenant.
type TenantInfo struct {
	Tenant      string
	Current     int64     // the number of the current key, 0 for a destroyed tenant
	DestroyedAt time.Time // zero if the tenant was not destroyed

	// Erased reports whether the tenant was destroyed so long ago that no
	// process can use its keys any more: the bound and 60 seconds have passed.
	Erased bool

	Keys []KeyInfo // in rising order of number
}

// pageSize is the number of rows that are read at a time.
const pageSize = 1000

// Tenants lists all tenants with their keys, destroyed ones too, in the
// bytewise order of their names. It does not call a wrapper. It may or may not
// list a tenant that is created meanwhile. An error ends the listing.
//
// The sessions of a tenant that is Erased may be deleted, since no process can
// add to them any more. fleet.ClearDestroyed deletes them.
func (s *Store) Tenants(ctx context.Context) iter.Seq2[TenantInfo, error] {
	return func(yield func(TenantInfo, error) bool) {
		var t tenantRows
		send := func() bool { return t.name == "" || yield(t.info(), nil) }
		for r, err := range s.allRows(ctx, "1 = 1") {
			if err != nil {
				yield(TenantInfo{}, wrapError("Tenants", "", err))
				return
			}
			if r.tenant != t.name {
				if !send() {
					return
				}
				t = tenantRows{name: r.tenant}
			}
			t.now, t.bound = r.now, r.bound
			t.rows = append(t.rows, r.row)
		}
		send()
	}
}

// tenantRows are the rows of one tenant in a listing.
type tenantRows struct {
	name string
	view
}

func (t tenantRows) info() TenantInfo {
	info := TenantInfo{Tenant: t.name}
	for _, r := range t.rows {
		info.Keys = append(info.Keys, r.info())
		if at := toTime(r.destroyed); !at.IsZero() && (info.DestroyedAt.IsZero() || at.Before(info.DestroyedAt)) {
			info.DestroyedAt = at
		}
	}
	if info.DestroyedAt.IsZero() {
		info.Current = t.rows[t.current()].number
	} else {
		info.Erased = !toTime(t.now).Before(info.DestroyedAt.Add(t.bound + margin))
	}
	return info
}

// listedRow is a row with its tenant and the database's time.
type listedRow struct {
	tenant string
	now    int64
	bound  time.Duration
	row
}

// allRows lists the rows that meet a condition, by tenant and number. It holds
// no connection while yield runs.
func (s *Store) allRows(ctx context.Context, condition string, args ...any) iter.Seq2[listedRow, error] {
	return func(yield func(listedRow, error) bool) {
		last := listedRow{}
		for {
			page, err := s.page(ctx, last, condition, args)
			if err != nil {
				yield(listedRow{}, err)
				return
			}
			for _, last = range page {
				if !yield(last, nil) {
					return
				}
			}
			if len(page) < pageSize {
				return
			}
		}
	}
}

// page returns the rows that follow a given one.
func (s *Store) page(ctx context.Context, after listedRow, condition string, args []any) (page []listedRow, err error) {
	if err := s.check(ctx, "-"); err != nil {
		return nil, err
	}
	err = s.onConn(ctx, func(c conn) error {
		rows, err := c.query(ctx, fmt.Sprintf("SELECT {now}, (SELECT value FROM {settings} WHERE name = '"+maxAgeSetting+"'), k.tenant, "+rowColumns+" FROM {keys} k "+
			"WHERE (k.tenant > ? OR k.tenant = ? AND k.number > ?) AND %s ORDER BY k.tenant, k.number LIMIT %d", condition, pageSize),
			append([]any{after.tenant, after.tenant, after.number}, args...)...)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var r listedRow
			var n nullRow
			var bound sql.NullInt64
			if err := rows.Scan(append([]any{&r.now, &bound, &r.tenant}, n.into()...)...); err != nil {
				return err
			}
			r.row, r.bound = n.row(), maxMaxAge
			if bound.Valid {
				r.bound = time.Duration(bound.Int64) * time.Microsecond
			}
			page = append(page, r)
		}
		return rows.Err()
	})
	return page, err
}

// Erasure is an entry of a ledger: a destroyed tenant.
type Erasure struct {
	Tenant      string    `json:"tenant"`
	DestroyedAt time.Time `json:"destroyed_at"`
}

// Ledger lists the destroyed tenants. Keep the list outside of the database and
// of its backups. A table that is restored from a backup brings destroyed
// tenants back, and [Store.Reapply] erases them again. Erasure can be stored as
// JSON. The ledger holds the names of tenants: if they identify somebody, so
// does the ledger.
func (s *Store) Ledger(ctx context.Context) ([]Erasure, error) {
	var ledger []Erasure
	for tenant, err := range s.Tenants(ctx) {
		if err != nil {
			return nil, fmt.Errorf("keystore: Ledger: %w", err)
		}
		if !tenant.DestroyedAt.IsZero() {
			ledger = append(ledger, Erasure{tenant.Tenant, tenant.DestroyedAt})
		}
	}
	return ledger, nil
}

// Reapply destroys every tenant of a ledger that is not destroyed, and returns
// their number. Call it after the table was restored from a backup, before any
// service works on it. The DestroyedAt of these tenants is then the time of
// Reapply. If the ledger holds an invalid name, nothing changes. After any
// other error, call it again.
func (s *Store) Reapply(ctx context.Context, ledger []Erasure) (destroyed int, err error) {
	for i, erasure := range ledger { // an invalid ledger changes nothing
		if err := s.check(ctx, erasure.Tenant); err != nil {
			return 0, fmt.Errorf("keystore: Reapply: entry %d: %w", i, err)
		}
	}
	for _, erasure := range ledger {
		v, err := s.read(ctx, erasure.Tenant)
		if err == nil && !v.erased() {
			if _, err = s.destroy(ctx, erasure.Tenant); err == nil {
				destroyed++
			}
		}
		if err != nil {
			return destroyed, wrapError("Reapply", erasure.Tenant, err)
		}
	}
	return destroyed, nil
}

// erased reports whether a tenant is destroyed and none of its rows holds a
// wrapped key.
func (v view) erased() bool {
	for _, r := range v.rows {
		if len(r.wrapped) > 0 {
			return false
		}
	}
	return errors.Is(v.judge(), encsession.ErrKeyDestroyed)
}
