package sqlstore

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/encsession/encsession"
	"github.com/encsession/encsession/sessiontest"
)

// TestSuite runs the conformance suite over the store, and over an
// EncryptedSession on top of it. It uses our tables and those that Python
// makes:
//
//   - The tables of SQLiteSession are left out, because they are like ours. So are
//     those in utf8mb4_general_ci: utf8mb4_unicode_ci takes more IDs for equal.
//   - Most tables of Python are used with the store alone.
//   - In MySQL, the EncryptedSession is on the tables in latin1 alone. They hold
//     envelopes, but not every item as it is.
//   - The moreBackends, and the second driver of SQLite, get our tables and the
//     store alone.
func TestSuite(t *testing.T) {
	key, err := encsession.ParseKey(encsession.GenerateKey())
	require.NoError(t, err)
	onEachOf(t, slices.Concat(backends, moreBackends), func(t *testing.T, b backend) {
		for _, by := range append([]tablesOf{ours}, madeByPython[b.dialect]...) {
			other := b.name == "mattn" || !slices.Contains(backends, b)
			if by.name == bySQLiteSession.name || by.name == inGeneralCI.name || other && by.name != ours.name {
				continue
			}
			t.Run(by.name, func(t *testing.T) {
				t.Parallel()
				f := newFixture(t, b, by)
				encrypt := func(t *testing.T, store encsession.Session) encsession.Session {
					session, err := encsession.New(store, key)
					require.NoError(t, err)
					return session
				}
				t.Run("store", func(t *testing.T) {
					if by.name == inLatin1.name {
						t.Skip("the suite adds items with other characters")
					}
					store := f.Store
					sessiontest.Run(t, func(t *testing.T, sessionID string) encsession.Session {
						return store.Session(sessionID)
					}, sessiontest.WithSessions(f.Sessions), sessiontest.WithReopen(func(*testing.T) {
						if store != f.Store {
							require.NoError(t, store.db.Close())
						}
						store = f.secondHandle(t)
					}))
				})
				forEnvelopes := ours.name
				if b.dialect == MySQL {
					forEnvelopes = inLatin1.name
				}
				if other || by.name != forEnvelopes {
					return
				}
				t.Run("encrypted", func(t *testing.T) {
					sessiontest.Run(t, func(t *testing.T, sessionID string) encsession.Session {
						return encrypt(t, f.Session(sessionID))
					})
				})
				t.Run("secrets", func(t *testing.T) {
					sessiontest.RunEncrypted(t, func(t *testing.T, sessionID string) (decorator, store encsession.Session) {
						return encrypt(t, f.Session(sessionID)), f.Session(sessionID)
					})
				})
			})
		}
	})
}
