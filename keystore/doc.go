// Package keystore keeps a master key for each tenant in a SQL table, wrapped
// by a key management service (KMS), and erases it on demand.
//
// # The keys
//
//	wrapping key      in the KMS; never leaves it
//	  └ tenant's key  in the table, wrapped; in memory while sessions use it
//	      └ session's key   derived by encsession; seals the items
//
// A [Store] is an [encsession.KeySource], so a session looks its keys up at
// each call:
//
//	keys, err := keystore.New(db, keystore.PostgreSQL,
//		keystore.NamedWrapper{Name: "kms-2026", Wrapper: keeper}, // a *secrets.Keeper of gocloud.dev
//		keystore.WithTenant(func(sessionID string) string { tenant, _, _ := strings.Cut(sessionID, "/"); return tenant }))
//	err = keys.CreateTables(ctx)
//	session, err := encsession.New(store.Session("acme/user-123"), keys, encsession.WithTTL(24*time.Hour),
//		encsession.WithObserver(encsession.LogDrops(slog.Default())))
//
// [Store.Create] makes the first key of a tenant, [Store.Rotate] adds a new
// one, and [Store.Destroy] erases them all. Other methods for operators are
// [Store.Retire], [Store.Rewrap], [Store.Tenants], [Store.Ledger] and
// [Store.Reapply].
//
// # Time
//
// A rotation drops nothing: no process seals under a key that another process
// does not know yet. And soon after Destroy, no process uses the destroyed
// keys. Both promises rest on one number in the database, the bound. It is the
// longest time for which a process may use a key without asking again
// ([WithMaxAge]).
//
//   - A new key becomes current when the bound and 60 seconds have passed since
//     other processes could first see it.
//   - Destroy returns the time at which the bound has passed.
//
// The database's clock decides when a key is current. The clocks of the
// processes may be wrong by hours. A process only measures how long ago it
// asked: by its monotonic clock, or by its wall clock if that shows more.
//
// Three conditions must hold:
//
//   - The database's clock jumps by at most 60 seconds within the bound, also
//     in a failover.
//   - The clock of each process runs at the right speed, within 60 seconds a
//     day.
//   - All processes read the primary, not a replica that lags.
//
// SQLite uses the clock of its machine.
//
// # Failures
//
// An outage of the database or the KMS is an error of the call. It never drops
// an item and never makes a new key. It is never an
// [encsession.ErrKeyDestroyed] either: only a tombstone in the table gives that
// error. docs/keys.md in the repository is the guide for operators.
package keystore
