// Package fleet runs an operation over all sessions of a store: [Audit],
// [Rekey], [SealPlaintext], [Purge], [ClearIdle], [ClearDestroyed] and
// [DeleteItems].
//
// Each takes the listing of the store and a func that opens one session:
//
//	open := func(ctx context.Context, id string) (*encsession.EncryptedSession, error) {
//		return encsession.New(store.Session(id), keys, encsession.WithTTL(24*time.Hour),
//			encsession.WithObserver(encsession.LogDrops(slog.Default())))
//	}
//	summary, err := fleet.Audit(ctx, store.Sessions(ctx), open, fleet.WithWorkers(8))
//
// An operation ranges over the listing in the goroutine of the caller. The
// store must be able to open and change sessions while it lists them. If a
// session is added or cleared meanwhile, the operation may see it or not.
//
// # Sessions that fail
//
// An operation goes on past a session that fails. The error that it returns at
// the end holds a [*FailedError], with the number of such sessions and the
// first of their errors; [WithResults] gets all of them. If the key of a
// session was destroyed on purpose ([encsession.ErrKeyDestroyed]), the session
// is erased and has not failed.
//
// Items that nobody could judge are findings. A session with findings is
// finished all the same. The error of the operation then holds a
// [*encsession.SkippedError] that counts these items in all sessions. [Audit]
// reports findings without an error.
//
// An operation ends early if the context ends or if the listing has an error.
// It then waits for the sessions that are being worked on, and returns the
// Summary of the work that is done. Each operation can be run again at any
// time.
//
// If the func that opens a session, an observer, a match or a store panics, the
// same panic reaches the caller, after all other goroutines have ended. The
// same goes for [runtime.Goexit].
//
// # Memory
//
// An operation keeps one entry for each distinct key and the first ten errors.
// It keeps nothing for each session.
package fleet
