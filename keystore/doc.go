// Package keystore keeps a master key for each tenant in a SQL table, wrapped by
// a key management service (KMS), and erases it on demand.
//
// # The keys
//
//	wrapping key      in the KMS; never leaves it
//	  └ tenant's key  in the table, wrapped; in memory for a few minutes
//	      └ session's key   derived by encsession; seals the items
//
// A [Store] is an [encsession.KeySource], so a session looks its keys up at each
// call:
//
//	keys, err := keystore.New(db, keystore.PostgreSQL,
//		keystore.NamedWrapper{Name: "kms-2026", Wrapper: keeper}, // a *secrets.Keeper of gocloud.dev
//		keystore.WithTenant(func(sessionID string) string { tenant, _, _ := strings.Cut(sessionID, "/"); return tenant }))
//	err = keys.CreateTables(ctx)
//	session, err := encsession.New(store.Session("acme/user-123"), keys, encsession.WithTTL(24*time.Hour),
//		encsession.WithObserver(encsession.LogDrops(slog.Default())))
//
// Each tenant is made by [Store.Create], gets a new key by [Store.Rotate], and is
// erased by [Store.Destroy]. The rest of the table's life is [Store.Retire],
// [Store.Rewrap], [Store.Ledger] and [Store.Reapply].
//
// # Time
//
// No process drops what another has sealed, and a destroyed key is soon used by
// nobody. Both rest on one number in the database, the bound: no process uses a
// key for longer without asking again ([WithMaxAge]). A new key becomes current
// when the bound and 60 seconds have passed since it could be seen. Destroy
// returns the time at which the bound has passed.
//
// The database's clock decides, not those of the processes, which may be wrong
// by hours. A process measures only how long ago it asked, by its monotonic
// clock. What must hold is this: the database's clock does not jump by more than
// 60 seconds within the bound, not in a failover either; the clock of a process
// runs at the right speed, within 60 seconds a day; and all processes read the
// primary, not a replica that lags. SQLite has the clock of its machine.
//
// # Failures
//
// An outage of database or KMS is an error of the call. It is never a drop and
// never a new key, and never an [encsession.ErrKeyDestroyed]: only a tombstone
// in the table is. docs/keys.md of the repository has the operator's side.
package keystore
