package sqlstore

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/encsession/encsession"
)

// TestPythonsDatabase works on a copy of a file that Python has written: see
// testdata/README.md.
func TestPythonsDatabase(t *testing.T) {
	current, err := encsession.ParseKey("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=")
	require.NoError(t, err)
	former, err := encsession.ParsePythonKey("last year's secret")
	require.NoError(t, err)
	onEach(t, func(t *testing.T, b backend) {
		original, err := os.ReadFile("testdata/python-sqlite.db")
		require.NoError(t, err)
		path := filepath.Join(t.TempDir(), "python.db")
		require.NoError(t, os.WriteFile(path, original, 0o600))
		store, err := New(b.open(t, path), SQLite)
		require.NoError(t, err)
		require.NoError(t, store.CreateTables(t.Context()))
		require.ElementsMatch(t, []string{"user-123", "user-456", "user-789"}, sessionIDs(t, store))

		for _, test := range []struct {
			id               string
			stored, readable int
		}{{"user-123", 56, 56}, {"user-456", 13, 12}, {"user-789", 8, 8}} {
			raw := store.Session(test.id)
			before, err := raw.GetItems(t.Context(), 0)
			require.NoError(t, err)
			require.Len(t, before, test.stored)
			s, err := encsession.New(raw, encsession.Keyring{Current: current, Older: []encsession.Key{former}}, encsession.WithTTL(encsession.NoExpiry), encsession.WithPlaintext())
			require.NoError(t, err)
			items, err := s.GetItems(t.Context(), 0)
			require.NoError(t, err)
			require.Len(t, items, test.readable)

			added := Item(`{"role":"user","content":"from Go"}`)
			add(t, s, added)
			requireItems(t, s, append(items, added)...)
			popped, err := s.PopItem(t.Context())
			require.NoError(t, err)
			require.Equal(t, string(added), string(popped))
			popped, err = s.PopItem(t.Context())
			require.NoError(t, err)
			require.Equal(t, string(items[len(items)-1]), string(popped))
			requireItems(t, s, items[:len(items)-1]...)

			after, err := raw.GetItems(t.Context(), 0)
			require.NoError(t, err)
			require.Len(t, after, test.stored-1)
			require.Subset(t, texts(before), texts(after), "Python's rows are as they were")
		}
	}, SQLite)
}
