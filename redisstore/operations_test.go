package redisstore

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/encsession/encsession"
)

// TestOperations takes a store from plaintext to one key, then to another, and
// purges it. Elements that are not items lie in between.
func TestOperations(t *testing.T) {
	onEach(t, func(t *testing.T, s setup) {
		f := newFixture(t, s)
		former, current := newKey(t), newKey(t)
		const sessions, items = 3, 5
		for n := range sessions {
			id := fmt.Sprint("user-", n)
			add(t, f.Session(id), numbered(1, items)...)
			require.NoError(t, f.client.RPush(t.Context(), f.config.keys(id).messages, "not JSON").Err())
		}
		each := func(keys encsession.KeySource, opts []encsession.Option, do func(*encsession.EncryptedSession)) {
			ids := allIDs(t, f.Store)
			require.Len(t, ids, sessions)
			for _, id := range ids {
				session, err := encsession.New(f.Session(id), keys, opts...)
				require.NoError(t, err)
				do(session)
			}
		}
		count := func(key encsession.Key, items int) encsession.KeyCount {
			return encsession.KeyCount{Fingerprint: key.Fingerprint(), Items: items}
		}
		requireReport := func(s *encsession.EncryptedSession, want encsession.Report) {
			report, err := s.Audit(t.Context())
			require.NoError(t, err)
			want.Oldest, want.Newest = report.Oldest, report.Newest
			require.Equal(t, want, report)
		}

		each(former, []encsession.Option{encsession.WithPlaintext()}, func(s *encsession.EncryptedSession) {
			requireReport(s, encsession.Report{Items: items, Plaintext: items, Keys: []encsession.KeyCount{count(former, 0)}})
			n, err := s.SealPlaintext(t.Context())
			require.NoError(t, err)
			require.Equal(t, items, n)
		})
		both := encsession.Keyring{Current: current, Older: []encsession.Key{former}}
		each(both, nil, func(s *encsession.EncryptedSession) {
			requireReport(s, encsession.Report{Items: items, Readable: items, Keys: []encsession.KeyCount{count(current, 0), count(former, items)}})
			n, err := s.Rekey(t.Context())
			require.NoError(t, err)
			require.Equal(t, items, n)
			n, err = s.Rekey(t.Context())
			require.NoError(t, err)
			require.Zero(t, n)
		})
		each(current, nil, func(s *encsession.EncryptedSession) {
			requireReport(s, encsession.Report{Items: items, Readable: items, Keys: []encsession.KeyCount{count(current, items)}})
			requireItems(t, s, numbered(1, items)...)
			item, err := s.PopItem(t.Context()) // below an element that is not JSON
			require.NoError(t, err)
			require.Equal(t, string(numbered(items, items)[0]), string(item))
			n, err := s.Purge(t.Context(), time.Hour)
			require.NoError(t, err)
			require.Zero(t, n)
		})
		time.Sleep(1100 * time.Millisecond) // sealing times are in whole seconds
		each(current, nil, func(s *encsession.EncryptedSession) {
			n, err := s.Purge(t.Context(), 0)
			require.NoError(t, err)
			require.Equal(t, items-1, n)
			requireReport(s, encsession.Report{Keys: []encsession.KeyCount{count(current, 0)}})
			left := f.client.LRange(t.Context(), f.config.keys(s.SessionID()).messages, 0, -1).Val()
			require.Equal(t, []string{"not JSON"}, left)
		})
	})
}
